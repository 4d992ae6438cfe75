package decide

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// value is "case" in expressions.
func (v *view) value() expr.Value { return expr.Record(v) }

// unscored is a case while it is being scored: its score is null.
type unscored struct{ *view }

// Field is null for the score.
func (u unscored) Field(name string) expr.Value {
	if name == "score" {
		return expr.Value{}
	}
	return u.view.Field(name)
}

// Names are the fields of "case", sorted.
func (v *view) Names() []string { return slices.Sorted(maps.Keys(caseFields)) }

// Field makes one field of "case".
func (v *view) Field(name string) expr.Value {
	if value, ok := v.known[name]; ok {
		return value
	}
	f, ok := caseFields[name]
	if !ok {
		return expr.Value{}
	}
	value := f.make(v)
	v.known[name] = value
	return value
}

type caseField struct {
	shape *expr.Shape
	make  func(*view) expr.Value
}

var (
	text    = &expr.Shape{Kind: expr.StringKind}
	number  = &expr.Shape{Kind: expr.NumberKind}
	boolean = &expr.Shape{Kind: expr.BoolKind}
	texts   = listOf(text)
	free    = &expr.Shape{}
)

func listOf(elem *expr.Shape) *expr.Shape { return &expr.Shape{Kind: expr.ListKind, Elem: elem} }

func object(fields map[string]*expr.Shape) *expr.Shape {
	return &expr.Shape{Kind: expr.ObjectKind, Fields: fields}
}

func documented(doc string, s *expr.Shape) *expr.Shape {
	d := *s
	d.Doc = doc
	return &d
}

// said are the fields of every answer, beside its own.
func said(doc string, own map[string]*expr.Shape) *expr.Shape {
	fields := map[string]*expr.Shape{
		"source":     documented("The enrichment's address.", text),
		"observable": documented("The value that it was said of.", text),
		"about":      documented("It with its kind: `domain:evil.example`.", text),
		"at":         documented("When the source said it, RFC 3339.", text),
		"subject":    documented("Whether that is a subject of the case.", boolean),
		"details":    documented("Everything else that the source said.", free),
	}
	maps.Copy(fields, own)
	return documented(doc, object(fields))
}

var observableShape = object(map[string]*expr.Shape{
	"kind":  documented("`host`, `ip`, `user` and so on.", text),
	"value": documented("It in its canonical form.", text),
	"role":  documented("`subject` or `indicator`.", text),
})

var signalShape = object(map[string]*expr.Shape{
	"id":       documented("Its id.", text),
	"rule":     documented("The address of the pipeline or rule that reported it.", text),
	"source":   documented("The address of the detector whose event it is.", text),
	"title":    documented("What it is, in a line.", text),
	"severity": documented("0 to 100.", number),
	"time":     documented("When it happened, RFC 3339.", text),
	"stopped":  documented("Did the control already block it?", boolean),
})

var verdictShape = said("", map[string]*expr.Shape{
	"kind":        documented("The kind of what it was said of.", text),
	"value":       documented("What it was said of.", text),
	"disposition": documented("`unknown`, `benign`, `suspicious` or `malicious`.", text),
	"score":       documented("How bad, 0 to 100.", number),
	"confidence":  documented("How sure, 0 to 100.", number),
	"labels":      documented("The source's own words for it.", texts),
	"link":        documented("A page about it at the source.", text),
	"state":       documented("`known`, or `clean` if all that the source says is benign.", text),
})

var assetShape = said("What internal enrichments know of the machine or thing; null if none does.", map[string]*expr.Shape{
	"name":        documented("Its name.", text),
	"fqdn":        documented("Its full name in the DNS.", text),
	"ips":         documented("Its addresses.", texts),
	"macs":        documented("Its hardware addresses.", texts),
	"os":          documented("Its operating system.", text),
	"os_version":  documented("The version of that.", text),
	"roles":       documented("What it is for, such as `domain_controller`.", texts),
	"owner":       documented("Who answers for it: an address or a name.", text),
	"team":        documented("The owner's team.", text),
	"criticality": documented("How much depends on it, 0 to 100; null if it is not rated.", number),
	"tags":        documented("Other words for it.", texts),
	"patches":     documented("How many are missing, by severity: `patches.critical`.", free),
	"protection": documented("The state of its own protection.", object(map[string]*expr.Shape{
		"installed": documented("Is there any?", boolean),
		"running":   documented("Does it run?", boolean),
		"current":   documented("Is it up to date?", boolean),
	})),
	"managed": documented("Is it looked after by the organisation?", boolean),
	"seen_at": documented("When the source saw it last, RFC 3339.", text),
})

var identityShape = said("What internal enrichments know of the person or account; null if none does.", map[string]*expr.Shape{
	"name":         documented("The name to sign in with, or the person's.", text),
	"upn":          documented("The user principal name.", text),
	"mail":         documented("The mail address.", text),
	"sid":          documented("The security identifier.", text),
	"title":        documented("What the person does.", text),
	"department":   documented("Where.", text),
	"manager":      documented("For whom.", text),
	"groups":       documented("Groups of the account.", texts),
	"privileged":   documented("Does it have more rights than most?", boolean),
	"state":        documented("Such as `enabled` or `disabled`.", text),
	"last_logon":   documented("RFC 3339.", text),
	"password_set": documented("When the password was changed last, RFC 3339.", text),
})

var networkShape = said("Where the address belongs; null if no internal enrichment knows.", map[string]*expr.Shape{
	"country":      documented("The country.", text),
	"city":         documented("The city.", text),
	"asn":          documented("The number of the autonomous system.", number),
	"organisation": documented("Who has the address.", text),
	"kind":         documented("What it is used for, such as `hosting` or `vpn`.", text),
})

// caseFields are the fields of "case" in expressions, and how each is made.
var caseFields = map[string]caseField{
	"id":       {documented("Its id, as `kelpie explain` takes it.", text), func(v *view) expr.Value { return expr.String(v.cs.id) }},
	"title":    {documented("The title of its most severe signal.", text), func(v *view) expr.Value { return expr.String(v.title()) }},
	"severity": {documented("The highest of its signals, 0 to 100.", number), func(v *view) expr.Value { return expr.Int(int64(v.cs.sum.severity)) }},
	"stopped": {documented("True: the controls blocked all of it; false: something was not blocked; null: not known.", boolean), func(v *view) expr.Value {
		if s := v.cs.sum.allStopped(); s != nil {
			return expr.Bool(*s)
		}
		return expr.Value{}
	}},
	"size":       {documented("How many signals it has.", number), func(v *view) expr.Value { return expr.Int(int64(v.m.index.Size(v.cs.group))) }},
	"signals":    {documented("Its signals by time.", listOf(signalShape)), (*view).signals},
	"first_at":   {documented("When its first signal happened, RFC 3339.", text), func(v *view) expr.Value { return expr.Time(v.cs.sum.firstAt) }},
	"last_at":    {documented("When its last signal happened, RFC 3339.", text), func(v *view) expr.Value { return expr.Time(v.cs.sum.lastAt) }},
	"rules":      {documented("The addresses of the pipelines and rules that reported it.", texts), func(v *view) expr.Value { return expr.Strings(v.m.names(v.cs.sum.rules)) }},
	"sources":    {documented("The addresses of the detectors whose events it has.", texts), func(v *view) expr.Value { return expr.Strings(v.m.names(v.cs.sum.sources)) }},
	"techniques": {documented("ATT&CK techniques of its signals, such as `T1110`.", texts), func(v *view) expr.Value { return expr.Strings(v.m.techniques(&v.cs.sum)) }},
	"hosts":      {documented("Names of the hosts that are affected.", texts), func(v *view) expr.Value { return v.affected(sdk.Host) }},
	"users":      {documented("Names of the users and accounts that are affected.", texts), func(v *view) expr.Value { return v.affected(sdk.User, sdk.Account) }},
	"subjects":   {documented("All that is affected.", listOf(observableShape)), func(v *view) expr.Value { return observableList(v.subjects(math.MaxInt)) }},
	"indicators": {documented("The evidence.", listOf(observableShape)), func(v *view) expr.Value { return observableList(v.indicators(math.MaxInt)) }},
	"verdicts": {documented("What enrichments think of what is in it.", listOf(verdictShape)), func(v *view) expr.Value {
		return v.answers(false, func(a *answerLists) []expr.Value { return a.verdicts })
	}},
	"networks": {documented("Where its addresses belong.", listOf(networkShape)), func(v *view) expr.Value {
		return v.answers(false, func(a *answerLists) []expr.Value { return a.networks })
	}},
	"assets": {documented("The machines and things in it, as internal enrichments know them.", listOf(assetShape)), func(v *view) expr.Value {
		return v.answers(true, func(a *answerLists) []expr.Value { return a.assets })
	}},
	"identities": {documented("The people and accounts in it, as internal enrichments know them.", listOf(identityShape)), func(v *view) expr.Value {
		return v.answers(true, func(a *answerLists) []expr.Value { return a.identities })
	}},
	"history": {documented("Which of its values were in earlier cases; of more than 50 the first.", listOf(pastShape)), func(v *view) expr.Value { return pastValues(v.history(), v.m.names(v.cs.sum.rules)) }},
	"score": {
		documented("What the `score` block makes of it.", object(map[string]*expr.Shape{
			"total": documented("0 to 100.", number),
			"upper": documented("What the total could become by what is not known yet.", number),
		})),
		func(v *view) expr.Value {
			s := v.score()
			return expr.Object(map[string]expr.Value{"total": points(s.Total), "upper": points(s.Upper)})
		},
	},
}

// CaseShape is what expressions may read of "case".
func CaseShape() *expr.Shape {
	fields := map[string]*expr.Shape{}
	for name, f := range caseFields {
		fields[name] = f.shape
	}
	return documented("The case: the signals that belong together, and what is known of them.", object(fields))
}

// TargetShape is what expressions may read of "target", in protect and in the
// parameters of a step.
func TargetShape() *expr.Shape {
	return documented("The target that something is about to be done to.", object(map[string]*expr.Shape{
		"kind":  documented("`host`, `ip`, `user` and so on.", text),
		"value": documented("It in its canonical form.", text),
		"asset": assetShape, "identity": identityShape, "network": networkShape,
	}))
}

func observableList(list []sdk.Observable) expr.Value {
	items := make([]expr.Value, len(list))
	for i, o := range list {
		items[i] = expr.Object(map[string]expr.Value{
			"kind": expr.String(o.Kind), "value": expr.String(o.Value), "role": expr.String(string(o.Role)),
		})
	}
	return expr.List(items)
}

func (v *view) title() string { return v.m.texts.text(v.m.signals[v.cs.sum.lead-1].title) }

// affected are the values of subjects of these kinds.
func (v *view) affected(kinds ...string) expr.Value {
	var items []expr.Value
	for _, o := range v.subjects(math.MaxInt) {
		if slices.Contains(kinds, o.Kind) {
			items = append(items, expr.String(o.Value))
		}
	}
	return expr.List(items)
}

// answers of one kind about the case. Two lookups often give the same asset or
// identity, by its name and by its address: it is one, the first.
func (v *view) answers(internalOnly bool, of func(*answerLists) []expr.Value) expr.Value {
	var items []expr.Value
	had := map[string]bool{}
	v.eachLookup(func(s *seen, l *lookup) {
		if l.lists == nil || internalOnly && !l.internal() {
			return
		}
		for _, a := range of(l.lists) {
			if internalOnly {
				key := sameAnswer(a)
				if had[key] {
					continue
				}
				had[key] = true
			}
			items = append(items, expr.Record(inCase{a, s.affected()}))
		}
	})
	return expr.List(items)
}

// inCase is an answer as a case has it.
type inCase struct {
	answer  expr.Value
	subject bool
}

func (a inCase) Field(name string) expr.Value {
	if name == "subject" {
		return expr.Bool(a.subject)
	}
	return a.answer.Attr(name)
}

func (a inCase) Names() []string {
	names := []string{"subject"}
	for name := range a.answer.Fields() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// signals of the case by time.
func (v *view) signals() expr.Value {
	order := v.inTime()
	items := make([]expr.Value, len(order))
	for i, n := range order {
		items[i] = expr.Record(signalFields{v.m, n})
	}
	return expr.List(items)
}

// signalFields is one of the case's signals in expressions.
type signalFields struct {
	m *Machine
	n correlate.SignalNum
}

func (f signalFields) Names() []string { return slices.Sorted(maps.Keys(signalShape.Fields)) }

func (f signalFields) Field(name string) expr.Value {
	st := &f.m.signals[f.n]
	switch name {
	case "id":
		return expr.String(f.m.index.ID(f.n))
	case "rule":
		return expr.String(f.m.shown(f.m.texts.text(st.rule)))
	case "source":
		return expr.String(f.m.shown(f.m.texts.text(st.source)))
	case "title":
		return expr.String(f.m.texts.text(st.title))
	case "severity":
		return expr.Int(int64(st.severity))
	case "time":
		return expr.Time(f.m.index.Time(f.n))
	case "stopped":
		if st.stopped != stoppedUnknown {
			return expr.Bool(st.stopped == stoppedYes)
		}
	}
	return expr.Value{}
}

// inTime are the case's signals by time, then id.
func (v *view) inTime() []correlate.SignalNum {
	return slices.SortedFunc(v.m.index.Members(v.cs.group), func(a, b correlate.SignalNum) int {
		if v.m.earlier(a, b) {
			return -1
		}
		return 1
	})
}

// sameAnswer is an answer without what it was said of, and when.
func sameAnswer(a expr.Value) string {
	fields := map[string]expr.Value{}
	for name, value := range a.Fields() {
		if name != "observable" && name != "about" && name != "at" {
			fields[name] = value
		}
	}
	return expr.Object(fields).String()
}

// points of hundredths.
func points(h model.Hundredths) expr.Value {
	return expr.Number(strconv.FormatInt(int64(h), 10) + "e-2")
}

// merged is one record of several of the same thing: of each field the first that
// is not empty; lists are joined, so that no role or group that one source knows
// is missing. An empty list is null: whether there is none, or nobody filled it
// in, cannot be told.
func merged(answers []expr.Value) expr.Value {
	if len(answers) == 0 {
		return expr.Value{}
	}
	fields := map[string]expr.Value{}
	for _, a := range answers {
		for name, value := range a.Fields() {
			old, ok := fields[name]
			switch {
			case value.IsNull() || value.Kind() == expr.ListKind && value.Len() == 0:
			case !ok:
				fields[name] = value
			case old.Kind() == expr.ListKind && value.Kind() == expr.ListKind:
				fields[name] = union(old, value)
			}
		}
	}
	return expr.Object(fields)
}

func union(a, b expr.Value) expr.Value {
	var items []expr.Value
	for _, list := range []expr.Value{a, b} {
		for item := range list.Items() {
			if !slices.ContainsFunc(items, item.Equal) {
				items = append(items, item)
			}
		}
	}
	return expr.List(items)
}

// about are the answers of internal enrichments about a value or naming it.
func (v *view) about(n correlate.ValueNum, of func(*answerLists) []expr.Value) []expr.Value {
	var answers []expr.Value
	take := func(from correlate.ValueNum, naming bool) {
		for _, l := range v.lookups(from) {
			if l.lists != nil && l.internal() && (!naming || slices.Contains(l.named, n)) {
				answers = append(answers, of(l.lists)...)
			}
		}
	}
	take(n, false)
	if s := v.find(n); s != nil {
		for _, by := range s.by {
			take(by, true)
		}
	}
	return answers
}
