package decide

import (
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// view is a case as it is now, for scoring and planning. What nobody reads of it
// is not made. It holds until the machine changes.
type view struct {
	m  *Machine
	cs *caseState

	all    []seen
	known  map[string]expr.Value // fields that were read
	scored *model.Score
}

// seen is a value of a case.
type seen struct {
	value   correlate.ValueNum
	subject bool // a detector reported it as one
	// indicator: a detector reported it as one, or an external enrichment named it.
	indicator bool
	reported  bool // a detector reported it, in whatever role
	// by are the values of the case that an internal enrichment named it from, and
	// that are subjects.
	by []correlate.ValueNum
}

func newView(m *Machine, cs *caseState) *view {
	return &view{m: m, cs: cs, known: map[string]expr.Value{}}
}

// values are those that its signals have and those that answers name, by key. A
// named value leads to no others, but through answers about itself.
func (v *view) values() []seen {
	if v.all != nil {
		return v.all
	}
	for _, r := range v.cs.sum.refs {
		if r.Role == correlate.Same {
			continue // it is there by the answer that names it
		}
		if n := len(v.all); n == 0 || v.all[n-1].value != r.Value {
			v.all = append(v.all, seen{value: r.Value, reported: true})
		}
		s := &v.all[len(v.all)-1]
		s.subject = s.subject || r.Role == correlate.Subject
		s.indicator = s.indicator || r.Role == correlate.Indicator
	}
	round := v.all
	for range maxDepth + 1 {
		round = v.follow(round)
		if len(round) == 0 {
			break
		}
	}
	return v.all
}

// follow adds the values that answers about these name, and returns those that
// became more by it.
func (v *view) follow(from []seen) []seen {
	var grown []correlate.ValueNum
	for _, s := range slices.Clone(from) {
		for _, l := range v.lookups(s.value) {
			for _, n := range l.named {
				if v.add(n, s, l.internal()) && !slices.Contains(grown, n) {
					grown = append(grown, n)
				}
			}
		}
	}
	out := make([]seen, 0, len(grown))
	for _, n := range grown {
		out = append(out, *v.find(n))
	}
	return out
}

func (v *view) add(n correlate.ValueNum, from seen, internal bool) (grew bool) {
	s := v.find(n)
	if s == nil {
		at, _ := v.search(n)
		v.all = slices.Insert(v.all, at, seen{value: n})
		s, grew = &v.all[at], true
	}
	affected := from.subject || len(from.by) > 0
	switch {
	case !internal && !s.indicator:
		s.indicator, grew = true, true
	case internal && affected && !slices.Contains(s.by, from.value):
		s.by, grew = append(s.by, from.value), true
	}
	return grew
}

func (v *view) search(n correlate.ValueNum) (int, bool) {
	key := v.m.index.Key(n)
	return slices.BinarySearchFunc(v.all, key, func(s seen, key string) int {
		return strings.Compare(v.m.index.Key(s.value), key)
	})
}

func (v *view) find(n correlate.ValueNum) *seen {
	if at, ok := v.search(n); ok {
		return &v.all[at]
	}
	return nil
}

// lookups about a value by the enrichments that the configuration has.
func (v *view) lookups(n correlate.ValueNum) []*lookup {
	all := v.m.lookupsOf(n)
	for _, l := range all {
		if l.src == nil {
			return slices.DeleteFunc(slices.Clone(all), func(l *lookup) bool { return l.src == nil })
		}
	}
	return all
}

// eachLookup goes over all lookups about the case, by value, then by enrichment.
func (v *view) eachLookup(f func(s *seen, l *lookup)) {
	all := v.values()
	for i := range all {
		for _, l := range v.lookups(all[i].value) {
			f(&all[i], l)
		}
	}
}

// affected tells whether a value is a subject of the case: reported as one, or
// named from one by an internal enrichment.
func (s *seen) affected() bool { return s.subject || len(s.by) > 0 }

// observables are at most so many of the values that are in a role.
func (v *view) observables(role sdk.Role, most int, is func(*seen) bool) []sdk.Observable {
	var list []sdk.Observable
	all := v.values()
	for i := range all {
		if is(&all[i]) && len(list) < most {
			o := v.m.index.Observable(all[i].value)
			o.Role = role
			list = append(list, o)
		}
	}
	return list
}

func (v *view) subjects(most int) []sdk.Observable {
	return v.observables(sdk.Subject, most, (*seen).affected)
}

// ranked are at most so many of the subjects: those that detectors reported before
// those that were only found, users before hosts before addresses before the rest.
// reported is how many of the first of them were reported.
func (v *view) ranked(most int) (list []sdk.Observable, reported int) {
	var ranks [2][subjectRanks][]correlate.ValueNum
	all := v.values()
	for i := range all {
		s := &all[i]
		if !s.affected() {
			continue
		}
		found := 0
		if !s.subject {
			found = 1
		}
		r := &ranks[found][subjectRank(v.m.index.Observable(s.value).Kind)]
		if len(*r) < most {
			*r = append(*r, s.value)
		}
	}
	for found := range ranks {
		for _, values := range ranks[found] {
			for _, n := range values[:min(len(values), most-len(list))] {
				o := v.m.index.Observable(n)
				o.Role = sdk.Subject
				list = append(list, o)
			}
		}
		if found == 0 {
			reported = len(list)
		}
	}
	return list, reported
}

const subjectRanks = 4

// subjectRank is how soon a person wants to read of a subject of that kind.
func subjectRank(kind string) int {
	switch kind {
	case sdk.User, sdk.Account:
		return 0
	case sdk.Host:
		return 1
	case sdk.IP, sdk.MAC:
		return 2
	}
	return 3
}

func (v *view) indicators(most int) []sdk.Observable {
	return v.observables(sdk.Indicator, most, func(s *seen) bool { return s.indicator })
}

// pending says what is not answered yet.
func (v *view) pending() (p plan.Pending) {
	if v.m.pending == 0 {
		return p
	}
	v.eachLookup(func(_ *seen, l *lookup) {
		if !l.pending() {
			return
		}
		if p.Count++; p.Count == 1 {
			p.First = "the answer of " + l.src.Address + " about " + v.m.index.Key(l.value)
		}
	})
	return p
}

// waits tells whether an answer about a case is pending.
func (m *Machine) waits(cs *caseState) bool {
	if m.pending == 0 {
		return false
	}
	more := false
	for _, r := range cs.sum.refs {
		if r.Role == correlate.Same {
			continue
		}
		for _, l := range m.lookupsOf(r.Value) {
			if l.src != nil && l.pending() {
				return true
			}
			more = more || len(l.named) > 0
		}
	}
	return more && newView(m, cs).pending().Count > 0
}

// maxUnknown bounds what is listed as unknown.
const maxUnknown = 50

// unknown says what counts nothing because it is not known, and how much that is.
func (v *view) unknown() (list []string, size int) {
	v.eachLookup(func(_ *seen, l *lookup) {
		if l.known() {
			return
		}
		if size++; len(list) < maxUnknown {
			list = append(list, v.unknownText(l))
		}
	})
	return list, size
}

func (v *view) unknownText(l *lookup) string {
	key := v.m.index.Key(l.value)
	switch l.state {
	case model.Failed:
		if l.reply != nil && l.reply.Reason != "" {
			return l.src.Address + " failed on " + key + ": " + l.reply.Reason
		}
		return l.src.Address + " failed on " + key
	case model.Pending:
		return l.src.Address + " has not answered yet about " + key
	}
	return l.src.Address + " knows nothing about " + key
}

// score is worked out when it is first asked for.
func (v *view) score() model.Score {
	if v.scored == nil {
		s := model.Score{}
		if v.m.scorer != nil {
			list, size := v.unknown()
			s = v.m.scorer.Score(expr.Record(unscored{v}), list, size)
		}
		v.scored = &s
	}
	return *v.scored
}
