package decide

import (
	"maps"
	"slices"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// signalView is one signal with what is known about it, as if it were a case alone.
func (m *Machine) signalView(n correlate.SignalNum) *view {
	cs := &caseState{group: m.index.Group(n)}
	m.add(&cs.sum, n)
	return newView(m, cs)
}

// feed gives a signal to the rules that read it.
func (m *Machine) feed(w *waiter) {
	n, here := m.index.Signal(w.ID)
	if !here {
		return // it was brought back before this, so it is in no case at all
	}
	v := m.signalView(n)
	cs := m.cases[m.index.Group(n)]
	m.sumUp(cs)
	scope := &m.several.scope
	scope.Set("signal", expr.Record(fedSignal{signalFields{m, n}, v}))
	scope.Set("case", newView(m, cs).value())
	for _, f := range m.several.feeds[w.Source] {
		t := &f.rule.Terms[f.term]
		if t.When != nil && t.When.Truth(scope) != expr.True {
			continue
		}
		if f.rule.Single {
			m.several.singles = append(m.several.singles, m.single(f.rule, n))
			continue
		}
		m.putSignal(f, w, v, n)
	}
}

// putSignal makes a signal the fact of a term, once for each key that it has.
func (m *Machine) putSignal(f feedOf, w *waiter, v *view, n correlate.SignalNum) {
	t, st := &f.rule.Terms[f.term], &m.signals[n]
	observables, grouping := v.forRules(w.Key, t.Group.Kinds)
	named := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		named[i] = expr.Scalar(k.Eval(&m.several.scope), model.MaxKeyText)
	}
	fact := correlate.Fact{
		Watch: f.rule.Address, Term: f.term, ID: w.ID, Time: m.index.Time(n), Seq: st.position.Seq, Index: st.position.Index,
		Observables: observables, Severity: int(st.severity), Techniques: splitTechniques(m.texts.text(st.technique)),
	}
	keys := t.Group.Texts(grouping, named)
	for i, value := range m.valuesOf(t, v) {
		if i > 0 {
			fact.ID = w.ID + "/" + expr.Int(int64(i+1)).Text()
		}
		fact.Value, fact.Number = value.text, value.number
		for _, key := range keys {
			one := fact
			one.Key = key
			m.put(&one)
		}
	}
}

// forRules are the observables that a signal has for rules: those of its key where a rule
// over several reported it, and else its own. Where it has none of a kind that facts are
// grouped by, what internal enrichments named stands in.
func (v *view) forRules(key []sdk.Observable, kinds []string) (observables, grouping []sdk.Observable) {
	var own, named []sdk.Observable
	all := v.values()
	for i := range all {
		s := &all[i]
		o := v.m.index.Observable(s.value)
		switch {
		case s.subject:
			o.Role = sdk.Subject
		case s.indicator:
			o.Role = sdk.Indicator
		}
		if s.reported {
			own = append(own, o)
		} else if v.namedInside(s.value) {
			named = append(named, o)
		}
	}
	observables = key
	if len(key) == 0 {
		observables = own
	}
	grouping = slices.Clone(observables)
	for _, kind := range kinds {
		for _, from := range [][]sdk.Observable{observables, own, named} {
			if of := model.OfKind(from, kind); len(of) > 0 {
				grouping = append(grouping, of...)
				break
			}
		}
	}
	return observables, grouping
}

// namedInside tells whether an internal enrichment named a value from another one of the
// view.
func (v *view) namedInside(value correlate.ValueNum) bool {
	return slices.ContainsFunc(v.m.parents[value], func(p correlate.ValueNum) bool {
		return v.find(p) != nil && slices.ContainsFunc(v.lookups(p), func(l *lookup) bool {
			return l.internal() && slices.Contains(l.named, value)
		})
	})
}

type factValue struct {
	text   string
	number int64
}

// valuesOf are what a signal counts for, as match has it for events.
func (m *Machine) valuesOf(t *Term, v *view) []factValue {
	var texts []string
	switch {
	case t.Kind != "":
		own, _ := v.forRules(nil, nil)
		for _, o := range model.OfKind(own, t.Kind) {
			texts = append(texts, o.Value)
		}
		texts = texts[:min(len(texts), model.MaxValues)]
	case t.Value == nil:
		return []factValue{{number: model.OneFact}}
	case t.Numeric:
		n, ok := t.Value.Eval(&m.several.scope).Fixed(3)
		if !ok || n > model.MaxNumber || n < -model.MaxNumber {
			return nil
		}
		return []factValue{{number: n}}
	default:
		texts = expr.Scalars(t.Value.Eval(&m.several.scope), model.MaxValues, model.MaxKeyText)
	}
	all := make([]factValue, len(texts))
	for i, text := range texts {
		all[i].text = text
	}
	return all
}

// single is the signal of a rule over single signals.
func (m *Machine) single(rule *ruleState, n correlate.SignalNum) model.Signal {
	st, id := &m.signals[n], m.index.ID(n)
	in := model.Signal{
		ID: model.SignalID(rule.Address, "", "", id), Rule: rule.Address, Source: rule.source(), Experimental: rule.Experimental, Position: st.position,
		Time: m.index.Time(n), Last: m.index.Time(n), Size: 1, Title: m.texts.text(st.title), Severity: int(st.severity),
		Techniques: withTechniques(splitTechniques(m.texts.text(st.technique)), rule.Techniques),
		Members:    []model.Member{{ID: id, Position: st.position, Time: m.index.Time(n)}},
	}
	for _, r := range m.index.Refs(n) {
		if r.Role == correlate.Same {
			continue
		}
		o := m.index.Observable(r.Value)
		o.Role = roleOf(r.Role)
		in.Observables = append(in.Observables, o)
	}
	if st.stopped != stoppedUnknown {
		stopped := st.stopped == stoppedYes
		in.Stopped = &stopped
	}
	if rule.Severity != nil {
		in.Severity = *rule.Severity
	}
	if rule.Title != nil {
		in.Title = clipTitle(rule.Title.Eval(&m.several.scope).Text())
	}
	in.Revision = revisionOf(&in)
	return in
}

// fedSignal is "signal" in the conditions of rules over signals.
type fedSignal struct {
	signalFields
	v *view
}

// viewFields are the fields of "signal" that are made as those of a case are.
var viewFields = []string{
	"techniques", "hosts", "users", "subjects", "indicators", "verdicts", "networks", "assets", "identities",
}

func (f fedSignal) Names() []string { return slices.Sorted(maps.Keys(SignalShape().Fields)) }

func (f fedSignal) Field(name string) expr.Value {
	switch {
	case slices.Contains(viewFields, name):
		return f.v.Field(name)
	case name == "answers":
		return f.v.states()
	}
	return f.signalFields.Field(name)
}

// states lists what was asked, and what became of it.
func (v *view) states() expr.Value {
	var items []expr.Value
	v.eachLookup(func(_ *seen, l *lookup) {
		o := v.m.index.Observable(l.value)
		items = append(items, expr.Object(map[string]expr.Value{
			"source": expr.String(v.m.shown(l.src.Address)), "kind": expr.String(o.Kind), "value": expr.String(o.Value),
			"state": expr.String(string(l.state)),
		}))
	})
	return expr.List(items)
}

// SignalShape is what conditions over signals may read of "signal".
func SignalShape() *expr.Shape {
	fields := maps.Clone(signalShape.Fields)
	docs := map[string]string{
		"techniques": "ATT&CK techniques, such as `T1110`.",
		"verdicts":   "What enrichments think of what is in it.",
		"networks":   "Where its addresses belong.",
		"assets":     "The machines and things in it, as internal enrichments know them.",
		"identities": "The people and accounts in it, as internal enrichments know them.",
		"hosts":      "Names of its hosts that are affected.",
		"users":      "Names of its users and accounts that are affected.",
		"subjects":   "All of it that is affected.",
		"indicators": "Its evidence.",
	}
	for _, name := range viewFields {
		fields[name] = documented(docs[name], caseFields[name].shape)
	}
	fields["answers"] = documented("What was asked about it, and what became of that.", listOf(object(map[string]*expr.Shape{
		"source": documented("The enrichment's address.", text),
		"kind":   documented("The kind of what it was asked about.", text),
		"value":  documented("What it was asked about.", text),
		"state":  documented("`known`, `clean`, `unknown` or `failed`.", text),
	})))
	return documented("What a pipeline or rule reported, and what is known about it.", object(fields))
}

// reportFields is "signal" in the title of a rule over several.
type reportFields struct {
	r        *correlate.Report
	severity int
}

func (f reportFields) Names() []string { return slices.Sorted(maps.Keys(ReportShape().Fields)) }

func (f reportFields) Field(name string) expr.Value {
	switch name {
	case "key":
		fields := map[string]expr.Value{}
		names, values := model.KeyParts(f.r.Key)
		for i := range names {
			fields[names[i]] = expr.String(values[i])
		}
		return expr.Object(fields)
	case "count":
		return expr.Int(int64(f.r.Size))
	case "number":
		return expr.Number(strconv.FormatInt(f.r.Number, 10) + "e-3")
	case "first_at":
		return expr.Time(f.r.First)
	case "last_at":
		return expr.Time(f.r.Last)
	case "severity":
		return expr.Int(int64(f.severity))
	}
	return expr.Value{}
}

// ReportShape is what the title of a rule over several may read of "signal".
func ReportShape() *expr.Shape {
	return documented("What the rule reports.", object(map[string]*expr.Shape{
		"key":      documented("What its events share, by the names of `by` and `key`: `signal.key.host`.", free),
		"count":    documented("How many events or signals are behind it.", number),
		"number":   documented("The highest that was counted or worked out.", number),
		"first_at": documented("When the first of them happened, RFC 3339.", text),
		"last_at":  documented("When the last of them happened, RFC 3339.", text),
		"severity": documented("0 to 100.", number),
	}))
}
