package config

import (
	"math"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of a rule over several.
const (
	maxWithin = 90 * 24 * time.Hour
	minEvery  = time.Second
	maxCount  = 100_000
	maxGroups = 100_000_000
)

// severalKinds are the ways in which a rule is over several events.
var severalKinds = []struct {
	name  string
	kind  correlate.Kind
	block bool // it is one; else an attribute
}{
	{name: "sequence", kind: correlate.Sequence},
	{name: "all", kind: correlate.All},
	{name: "count", kind: correlate.Count},
	{name: "first", kind: correlate.First},
	{name: "absent", kind: correlate.Absence},
	{name: "distinct", kind: correlate.Distinct, block: true},
	{name: "sum", kind: correlate.Sum, block: true},
	{name: "average", kind: correlate.Average, block: true},
	{name: "percentile", kind: correlate.Percentile, block: true},
	{name: "spike", kind: correlate.Spike, block: true},
}

// onlySeveral are the attributes that mean something over several events alone.
var onlySeveral = []string{"by", "within", "every", "unless", "most"}

// severalKind is the way in which a rule is over several events; empty: it is not.
func (p *parser) severalKind(s *section) string {
	var kinds []string
	for _, k := range severalKinds {
		if k.block && s.one(k.name) != nil || !k.block && s.has(k.name) {
			kinds = append(kinds, k.name)
		}
	}
	switch {
	case len(kinds) > 1 && !s.broken:
		p.errorf(p.kindPlace(s, kinds[1]), "Two kinds of rule", "A rule has %q or %q, and not both. Make two rules, and a third that reads their signals.", kinds[0], kinds[1])
	case len(kinds) == 0:
		for _, name := range onlySeveral {
			if s.has(name) && !s.broken {
				p.errorf(s.attrs[name].NameRange, "Over one event", "%q is for a rule over several events, and this one reports each by itself. Write what it looks for in them: count, first, absent, distinct, sum, average, percentile, spike, or sequence or all instead of \"on\".", name)
				break
			}
		}
		return ""
	}
	return kinds[0]
}

func (p *parser) kindPlace(s *section, name string) hcl.Range {
	if inner := s.one(name); inner != nil {
		return inner.header()
	}
	return s.place(name)
}

// several reads a rule over several events or over signals.
func (p *parser) several(s *section, kind string, terms ruleTerms, severity *int) {
	if !s.broken && kind == "first" && !s.flag("first", true) {
		p.errorf(s.place("first"), "Without effect", "Write first = true, or leave it out.")
	}
	rule := decide.Rule{Address: p.identity(s), Name: s.name(), Severity: severity, Single: kind == "", Experimental: experimental(s)}
	if about := s.one("about"); about != nil {
		rule.Techniques = about.texts("technique")
	}
	in := p.severalPlace(s, terms)
	if kind == "" {
		rule.Title = p.program(s, "title", inSeveral, expr.Env{Want: expr.StringKind})
		if !s.has("when") {
			p.errorf(s.header(), "Missing attribute", "%s needs \"when\": which signals it reports.", sentence(s.title()))
		}
	} else {
		rule.Title = p.program(s, "title", inTitle, expr.Env{Want: expr.StringKind})
		rule.Watch = p.watch(s, kind, terms)
		p.by(s, terms)
	}
	if terms.signals > 0 {
		p.ignoredSignals(s, sourceOf(terms, true))
	}
	p.feed(s, kind, &rule, terms, in)
	p.config.Decide.Rules = append(p.config.Decide.Rules, rule)
}

// severalPlace is where the expressions of a rule stand: over events or over signals.
// What only feeds rules is not known as a signal, and the payload of a signal's event
// is not at hand any more, so that there is nothing to read of both.
func (p *parser) severalPlace(s *section, terms ruleTerms) place {
	if terms.events == 0 {
		return inSeveral
	}
	if terms.signals == 0 {
		return inRule
	}
	for name, e := range p.severalExpressions(s) {
		p.errorf(e.Range(), "Events and signals", "Of %s this would read the event, and of %s the signal that it reports. Write %s into the pipelines, or set alerts alike in all that this rule reads.",
			sourceOf(terms, false), sourceOf(terms, true), name)
		s.broken = true
		break
	}
	return inRule
}

// sourceOf is a source that reports signals, or one that does not.
func sourceOf(terms ruleTerms, signals bool) string {
	for _, term := range terms.all {
		for _, source := range term {
			if source.signals == signals {
				return source.section.address()
			}
		}
	}
	return ""
}

// severalExpressions are what a rule over several evaluates for each event.
func (p *parser) severalExpressions(s *section) map[string]hclsyntax.Expression {
	all := map[string]hclsyntax.Expression{}
	if e := s.expr("when"); e != nil {
		all["the condition"] = e
	}
	if k := s.one("key"); k != nil && len(all) == 0 {
		for _, a := range k.attrs {
			all["a map of its values"] = a.Expr
			break
		}
	}
	if e, _ := p.valueOf(s); e != nil && len(all) == 0 {
		all["a map of its values"] = e
	}
	return all
}

// valueOf is the expression that a rule over values reads of each event, or the kind of
// observable that it counts instead.
func (p *parser) valueOf(s *section) (e hclsyntax.Expression, kind string) {
	for _, k := range severalKinds {
		inner := s.one(k.name)
		if !k.block || inner == nil || inner.expr("of") == nil {
			continue
		}
		e = inner.expr("of")
		if text, ok := literalText(e); ok && k.name == "distinct" {
			if !slices.Contains(sdk.Kinds(), text) {
				p.errorf(e.Range(), "Unknown kind", "There is no kind of observable %q. %s", text, suggest(text, sdk.Kinds()))
				s.broken = true
			}
			return nil, text
		}
		return e, ""
	}
	return nil, ""
}

// watch is what a rule over several looks for.
func (p *parser) watch(s *section, kind string, terms ruleTerms) correlate.Watch {
	w := correlate.Watch{Rule: p.identity(s), Terms: len(terms.all), Unless: terms.unless, Lateness: p.config.Decide.Correlate.Lateness}
	for _, k := range severalKinds {
		if k.name == kind {
			w.Kind = k.kind
		}
	}
	if !s.has("within") && !s.broken {
		p.errorf(s.header(), "Missing attribute", "%s needs \"within\": the longest time between its events, such as \"30m\".", sentence(s.title()))
	}
	w.Within, w.Every = s.duration("within", time.Hour), s.duration("every", 0)
	if w.Within <= 0 || w.Within > maxWithin {
		p.errorf(s.place("within"), "Out of range", "\"within\" is more than 0 and at most 90 days.")
	}
	if s.has("every") && (w.Every < minEvery || w.Every > maxWithin) {
		p.errorf(s.place("every"), "Out of range", "\"every\" is one second at least and 90 days at most.")
	}
	if w.Most = s.integer("most", correlate.DefaultMostGroups); w.Most < 1 || w.Most > maxGroups {
		p.errorf(s.place("most"), "Out of range", "A rule keeps 1 to %d groups.", maxGroups)
	}
	if terms.unless && slices.Contains([]string{"first", "absent", "spike"}, kind) {
		p.errorf(s.place("unless"), "Without effect", "%q does not go with \"unless\": it is for what comes one after another, and for what is counted or added up.", kind)
	}
	if kind == "count" {
		if w.Least = s.integer("count", 2); w.Least < 2 || w.Least > maxCount {
			p.errorf(s.place("count"), "Threshold out of reach", "A rule counts 2 to %d events; for each by itself leave count out.", maxCount)
		}
	}
	if inner := s.one(kind); inner != nil {
		p.watchValues(s, inner, &w)
	}
	return w
}

// watchValues reads the block of a rule over values.
func (p *parser) watchValues(s, inner *section, w *correlate.Watch) {
	w.Least = inner.integer("least", 1)
	least := 1
	if w.Kind == correlate.Distinct {
		least = 2
		if _, kind := p.quietValueOf(s); kind != "" && slices.Equal(s.texts("by"), []string{kind}) {
			p.errorf(inner.place("of"), "Threshold out of reach", "All events of a group have the same %s, since \"by\" groups them by it.", kind)
		}
	}
	if w.Least < least || w.Least > maxCount {
		p.errorf(inner.place("least"), "Threshold out of reach", "\"least\" is %d to %d here.", least, maxCount)
	}
	if inner.has("above") {
		n, ok := inner.values["above"].Fixed(3)
		if w.Above = n; !ok || n <= 0 && w.Kind == correlate.Sum || n > math.MaxInt64/4 {
			p.errorf(inner.place("above"), "Out of range", "This is more than 0, with up to three decimals.")
		}
		if ok && w.Kind != correlate.Sum && n > model.MaxNumber {
			p.errorf(inner.place("above"), "Threshold out of reach", "Numbers beyond 1000000000 are not read.")
		}
	}
	if w.Percent = inner.integer("percent", 0); w.Percent < 0 || w.Percent > 100 {
		p.errorf(inner.place("percent"), "Out of range", "A rank is 0 to 100: 50 is the median.")
	}
	if w.Kind != correlate.Spike || inner.broken {
		return
	}
	n, ok := inner.values["factor"].Fixed(3)
	if w.Factor = n; !ok || n <= 0 || n > 1_000_000_000 {
		p.errorf(inner.place("factor"), "Out of range", "This is more than 0 and at most 1000000, with up to three decimals.")
	}
	if w.Past = inner.duration("past", 0); w.Past < w.Within || w.Past > maxWithin || w.Past/correlate.MaxPast > w.Within {
		p.errorf(inner.place("past"), "Out of range", "The past is as long as \"within\" at least, so that there is something to compare with; it is at most %d times as long, and 90 days.", correlate.MaxPast)
	}
}

func (p *parser) quietValueOf(s *section) (e hclsyntax.Expression, kind string) {
	before, broken := len(p.diags), s.broken
	defer func() { p.diags, s.broken = p.diags[:before], broken }()
	return p.valueOf(s)
}

// feed gives the rule its facts: from the pipelines that do not report themselves by
// match, and signals by decide.
func (p *parser) feed(s *section, kind string, rule *decide.Rule, terms ruleTerms, in place) {
	when := p.condition(s, "when", in, expr.Env{})
	group := model.Grouping{Kinds: s.texts("by")}
	var keys []*expr.Program
	if k := s.one("key"); k != nil {
		group.Names, keys = p.keys(k, in)
	}
	of, ofKind := p.valueOf(s)
	numeric := of != nil && kind != "distinct"
	var value *expr.Program
	if of != nil {
		env := expr.Env{}
		if numeric {
			env.Want = expr.NumberKind
		}
		var ok bool
		if value, ok = p.compile(of, env, in); !ok {
			s.broken = true
		}
	}
	for n, term := range terms.all {
		condition := when
		if terms.unless && n == len(terms.all)-1 || kind == "absent" && n > 0 {
			condition = nil // it says which events are looked for
		}
		t := decide.Term{When: condition, Group: group, Keys: keys, Value: value, Numeric: numeric, Kind: ofKind}
		for _, source := range term {
			if source.road != nil {
				for _, from := range source.road.from {
					t.Detectors = append(t.Detectors, p.identity(from))
				}
			}
			if source.signals {
				t.Signals = append(t.Signals, p.identity(source.section))
				continue
			}
			source.road.feeds = append(source.road.feeds, match.Feed{
				Rule: rule.Address, Term: n, When: condition, Ignores: p.ignoresOf(s), Group: group, Keys: keys, Value: value, Numeric: numeric, Kind: ofKind,
			})
		}
		rule.Terms = append(rule.Terms, t)
	}
}

// keys reads what events are grouped by besides observables.
func (p *parser) keys(k *section, in place) (names []string, programs []*expr.Program) {
	for _, a := range k.attrs {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		p.errorf(k.header(), "Nothing in it", "Write NAME = expression: what the events share.")
	}
	for _, name := range names {
		program, ok := p.compile(k.attrs[name].Expr, expr.Env{}, in)
		if !ok {
			k.broken = true
			continue
		}
		if _, constant := program.Constant(); constant {
			p.errorf(k.attrs[name].Expr.Range(), "Always the same", "All events share this. Write what they are grouped by.")
			continue
		}
		programs = append(programs, program)
	}
	return names, programs
}
