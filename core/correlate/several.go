package correlate

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Reports is what a rule over several reports of a set of facts, in whatever order
// they are given: each report as it is in the end, by key, then period. Of the
// settled kinds it has the hits up to complete.
//
// It compares every fact with every other: Windows gives the same and is fast.
func Reports(w Watch, facts []Fact, complete time.Time) []Report {
	w = w.normal()
	type id struct {
		term    int
		key, id string
	}
	seen := map[id]bool{}
	groups := map[string]evidence{}
	for _, f := range facts {
		n := id{f.Term, f.Key, f.ID}
		if f.Watch != w.Rule || f.Term < 0 || f.Term >= w.Terms || seen[n] {
			continue
		}
		seen[n] = true
		groups[f.Key] = append(groups[f.Key], f)
	}
	var all []Report
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[key].reports(&w, ticks(complete))...)
	}
	return all
}

// evidence are the facts of one key.
type evidence []Fact

// hit is one that a fact makes.
type hit struct {
	at      int64
	number  int64
	members evidence
}

func (e evidence) reports(w *Watch, complete int64) []Report {
	slices.SortFunc(e, func(a, b Fact) int {
		return cmp.Or(cmp.Compare(instant(a.Time), instant(b.Time)), strings.Compare(a.ID, b.ID), cmp.Compare(a.Term, b.Term))
	})
	periods := map[int64][]hit{}
	for _, f := range e {
		h, ok := e.hit(w, f)
		if !ok || !w.eager() && h.at > complete {
			continue
		}
		p := w.period(h.at)
		periods[p] = append(periods[p], h)
	}
	var reports []Report
	for _, p := range slices.Sorted(maps.Keys(periods)) {
		reports = append(reports, e.report(w, p, periods[p]))
	}
	return reports
}

// report joins the hits of a period.
func (e evidence) report(w *Watch, period int64, hits []hit) Report {
	r := Report{Watch: w.Rule, Key: e[0].Key, Bucket: fromTicks(w.periodStart(period))}
	r.Time, r.Number = fromTicks(hits[0].at), hits[0].number
	isMember := map[string]bool{}
	term := map[string]map[int]bool{}
	for _, h := range hits {
		if at := fromTicks(h.at); at.Before(r.Time) {
			r.Time = at
		}
		r.Number = max(r.Number, h.number)
		for _, f := range h.members {
			isMember[f.ID] = true
			if term[f.ID] == nil {
				term[f.ID] = map[int]bool{}
			}
			term[f.ID][f.Term] = true
		}
	}
	techniques := map[string]bool{}
	observables := map[sdk.Observable]bool{}
	listed := map[string]bool{}
	for _, f := range e {
		if !isMember[f.ID] || !term[f.ID][f.Term] {
			continue
		}
		for _, o := range f.Observables {
			if len(observables) < MaxObservables {
				observables[o] = true
			}
		}
		for _, t := range f.Techniques {
			if len(techniques) < MaxObservables {
				techniques[t] = true
			}
		}
		r.Severity = max(r.Severity, f.Severity)
		at := fromTicks(instant(f.Time))
		if r.Size == 0 {
			r.First = at
		}
		r.Last = at
		if listed[f.ID] {
			continue
		}
		listed[f.ID] = true
		r.Size++
		if len(r.Members) < MaxMembers {
			r.Members = append(r.Members, FactRef{ID: f.ID, Seq: f.Seq, Index: f.Index, Term: f.Term, Time: at})
		}
	}
	r.Observables = slices.SortedFunc(maps.Keys(observables), byValue)
	r.Techniques = slices.Sorted(maps.Keys(techniques))
	return r
}

func byValue(a, b sdk.Observable) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Value, b.Value), strings.Compare(string(a.Role), string(b.Role)))
}

// interval returns the facts of the interval that ends with f, cut by those of the
// term that must not come, and without them.
func (e evidence) interval(w *Watch, f Fact) evidence {
	var in evidence
	for _, g := range e {
		if t := instant(g.Time); t > instant(f.Time) || !w.inside(t, instant(f.Time)) {
			continue
		}
		if !w.cuts() || g.Term != w.Terms-1 {
			in = append(in, g)
		}
	}
	if w.cuts() {
		for _, u := range e {
			if u.Term == w.Terms-1 && instant(u.Time) <= instant(f.Time) {
				in = slices.DeleteFunc(in, func(g Fact) bool { return instant(g.Time) <= instant(u.Time) })
			}
		}
	}
	return in
}

func (e evidence) hit(w *Watch, f Fact) (hit, bool) {
	at := instant(f.Time)
	if w.cuts() && f.Term == w.Terms-1 {
		return hit{}, false
	}
	switch w.Kind {
	case Absence:
		return e.absent(w, f)
	case First:
		for _, g := range e {
			before := instant(g.Time) < at && uint64(at)-uint64(instant(g.Time)) <= uint64(w.Within)
			equal := instant(g.Time) == at && (g.ID < f.ID || g.ID == f.ID && g.Term < f.Term)
			if before || equal {
				return hit{}, false
			}
		}
		return hit{at, 1000, evidence{f}}, true
	case Spike:
		return e.spike(w, f)
	}
	in := e.interval(w, f)
	if len(in) == 0 {
		return hit{}, false
	}
	switch w.Kind {
	case Sequence:
		return in.sequence(w, f)
	case All:
		n := w.steps()
		return hit{at, int64(n) * 1000, in}, in.matches(0, n, nil)
	case Count:
		return hit{at, int64(len(in)) * 1000, in}, len(in) >= w.Least
	case Distinct:
		values := map[string]bool{}
		for _, g := range in {
			values[g.Value] = true
		}
		return hit{at, int64(len(values)) * 1000, in}, len(values) >= w.Least
	case Sum:
		n := in.sum()
		return hit{at, n, in}, n >= w.Above
	case Average:
		sum := new(big.Int)
		for _, g := range in {
			sum.Add(sum, big.NewInt(g.Number))
		}
		// Div rounds down, so that the mean is at least Above if what it gives is.
		n := sum.Div(sum, big.NewInt(int64(len(in)))).Int64()
		return hit{at, n, in}, len(in) >= w.Least && n >= w.Above
	case Percentile:
		var numbers []int64
		for _, g := range in {
			numbers = append(numbers, g.Number)
		}
		slices.Sort(numbers)
		rank := max((len(numbers)*w.Percent+99)/100, 1)
		n := numbers[rank-1]
		return hit{at, n, in}, len(in) >= w.Least && n >= w.Above
	}
	return hit{}, false
}

// sum adds the numbers, those below 0 as 0.
func (e evidence) sum() (n int64) {
	for _, f := range e {
		n = plus(n, max(f.Number, 0))
	}
	return n
}

// matches tells whether terms from, from+1, … up to end have a fact each, all of
// different events, none of which is used.
func (e evidence) matches(from, end int, used []string) bool {
	if from == end {
		return true
	}
	for _, f := range e {
		if f.Term == from && !slices.Contains(used, f.ID) && e.matches(from+1, end, append(slices.Clip(used), f.ID)) {
			return true
		}
	}
	return false
}

// chains tells whether terms from, from+1, … up to end have facts in this order.
func (e evidence) chains(from, end int, after int64, used []string) bool {
	if from == end {
		return true
	}
	for _, f := range e {
		if f.Term == from && instant(f.Time) >= after && !slices.Contains(used, f.ID) &&
			e.chains(from+1, end, instant(f.Time), append(slices.Clip(used), f.ID)) {
			return true
		}
	}
	return false
}

func (e evidence) sequence(w *Watch, f Fact) (hit, bool) {
	last := w.steps() - 1
	if f.Term != last || !e.chains(0, last, instant(e[0].Time), []string{f.ID}) {
		return hit{}, false
	}
	h := hit{at: instant(f.Time), number: int64(last+1) * 1000}
	for _, g := range e {
		if g.Term == last {
			if g.ID == f.ID {
				h.members = append(h.members, g)
			}
			continue
		}
		before := slices.DeleteFunc(slices.Clone(e), func(b Fact) bool { return instant(b.Time) > instant(g.Time) })
		if before.ordered(0, g.Term, instant(e[0].Time)) && e.ordered(g.Term+1, last, instant(g.Time)) {
			h.members = append(h.members, g)
		}
	}
	return h, true
}

// ordered is chains where one event may be of several terms.
func (e evidence) ordered(from, end int, after int64) bool {
	if from == end {
		return true
	}
	for _, f := range e {
		if f.Term == from && instant(f.Time) >= after && e.ordered(from+1, end, instant(f.Time)) {
			return true
		}
	}
	return false
}

func (e evidence) absent(w *Watch, f Fact) (hit, bool) {
	if f.Term != 0 {
		return hit{}, false
	}
	for _, g := range e {
		if d := instant(g.Time) - instant(f.Time); g.Term == 1 && g.ID != f.ID && instant(g.Time) >= instant(f.Time) && uint64(d) <= uint64(w.Within) {
			return hit{}, false
		}
	}
	return hit{later(instant(f.Time), w.Within), 1000, evidence{f}}, true
}

func (e evidence) spike(w *Watch, f Fact) (hit, bool) {
	in := e.interval(w, f)
	if len(in) < w.Least || w.Within == 0 {
		return hit{}, false
	}
	n := w.past()
	slot := floorDiv(instant(f.Time), int64(w.Within))
	var past evidence
	for _, g := range e {
		if s := floorDiv(instant(g.Time), int64(w.Within)); s <= slot-2 && s >= slot-1-n {
			past = append(past, g)
		}
	}
	number := in.sum()
	return hit{instant(f.Time), number, in}, above(number, w.Factor, past.sum(), n)
}

// above tells whether number is more than factor, in thousandths, times sum / n.
func above(number, factor, sum, n int64) bool {
	left := new(big.Int).Mul(big.NewInt(number), big.NewInt(n))
	left.Mul(left, big.NewInt(1000))
	return left.Cmp(new(big.Int).Mul(big.NewInt(factor), big.NewInt(sum))) > 0
}
