package decide

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/sdk"
)

// regroup makes the index anew by the settings in force. Numbers of signals and
// values stay.
func (m *Machine) regroup() {
	old := m.index
	m.index = correlate.NewIndex(m.settings.Correlate)
	for v := range old.Values() {
		m.index.Value(old.Observable(correlate.ValueNum(v)))
	}
	for n := range correlate.SignalNum(old.Len()) {
		refs := old.Refs(n)
		observables := make([]sdk.Observable, len(refs))
		for i, r := range refs {
			observables[i] = old.Observable(r.Value)
			observables[i].Role = roleOf(r.Role)
		}
		m.index.Put(old.ID(n), old.Time(n), observables)
	}
	before := m.cases
	m.cases = map[correlate.GroupNum]*caseState{}
	for n := range correlate.SignalNum(m.index.Len()) {
		g, from := m.index.Group(n), before[old.Group(n)]
		cs := m.cases[g]
		if cs == nil {
			cs = &caseState{group: g}
			m.cases[g] = cs
			m.stale(cs)
		}
		for _, name := range from.names {
			cs.names = insert(cs.names, name)
		}
		cs.late = cs.late || from.late
		if from.changedAt.After(cs.changedAt) {
			cs.changedAt = from.changedAt
		}
		from.gone = true
	}
	m.touched = slices.DeleteFunc(m.touched, func(cs *caseState) bool { return cs.gone })
	m.changed.cases = slices.DeleteFunc(m.changed.cases, func(cs *caseState) bool { return cs.gone })
}
