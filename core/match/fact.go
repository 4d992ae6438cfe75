package match

import (
	"cmp"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Feed is a term of a rule over several that a pipeline's events are facts of.
type Feed struct {
	Rule string // its address
	Term int
	When *expr.Program // nil: every event
	// Ignores take events out of this rule alone.
	Ignores []Ignore
	Group   model.Grouping
	Keys    []*expr.Program // of Group.Names
	// Value is what a rule over distinct values or, if it is Numeric, over numbers reads;
	// nil: nothing. With Kind it is the event's observables of that kind.
	Value   *expr.Program
	Numeric bool
	Kind    string
}

// facts adds what a mapped event is to the rules over several that its pipeline feeds,
// and tells whether it is anything, and which ignore was the first to take it out of one.
func (w *Worker) facts(p *Pipeline, b *model.Batch, e *model.Event, at model.Position, m *model.Signal, res *model.MatchResult) (any bool, ignore string) {
	before, id := len(res.Facts), ""
	for i := range p.Feeds {
		f := &p.Feeds[i]
		if f.When != nil && w.truth(f.When) != expr.True {
			continue
		}
		if by := w.ignoredBy(f.Ignores, b); by != "" {
			ignore = cmp.Or(ignore, by)
			continue
		}
		named := make([]string, len(f.Keys))
		for j, k := range f.Keys {
			named[j] = expr.Scalar(w.eval(k), model.MaxKeyText)
		}
		keys := f.Group.Texts(m.Observables, named)
		if len(keys) == 0 {
			continue
		}
		if id == "" {
			id = model.FactID(b.Source, b.Maker, e.ID)
		}
		fact := model.Fact{
			Rule: f.Rule, Term: f.Term, ID: id, Position: at, Time: m.Time,
			Observables: m.Observables, Severity: m.Severity, Techniques: m.Techniques,
		}
		for n, v := range w.values(f, m) {
			if n > 0 { // each counts for itself
				fact.ID = fmt.Sprintf("%s/%d", id, n+1)
			}
			fact.Value, fact.Number = v.text, v.number
			for _, fact.Key = range keys {
				res.Facts = append(res.Facts, fact)
			}
		}
	}
	return len(res.Facts) > before, ignore
}

type value struct {
	text   string
	number int64
}

// values are what an event counts for: one, or for a rule over distinct values those
// that it has. Without any it is no fact.
func (w *Worker) values(f *Feed, m *model.Signal) []value {
	switch {
	case f.Kind != "":
		var all []value
		for _, o := range model.OfKind(m.Observables, f.Kind) {
			all = append(all, value{text: o.Value})
		}
		return all[:min(len(all), model.MaxValues)]
	case f.Value == nil:
		return []value{{number: model.OneFact}}
	case f.Numeric:
		n, ok := w.eval(f.Value).Fixed(3)
		if !ok || n > model.MaxNumber || n < -model.MaxNumber {
			return nil
		}
		return []value{{number: n}}
	}
	var all []value
	for _, text := range expr.Scalars(w.eval(f.Value), model.MaxValues, model.MaxKeyText) {
		all = append(all, value{text: text})
	}
	return all
}
