package decide

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/correlate"
)

// regroup makes the index anew by the settings in force. Numbers of signals and
// values stay.
func (m *Machine) regroup() {
	old := m.index
	m.index = old.Regrouped(m.settings.Correlate)
	before := m.cases
	m.cases = map[correlate.GroupNum]*caseState{}
	for n := range correlate.SignalNum(m.index.SignalRoom()) {
		if m.index.ID(n) == "" {
			continue
		}
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
		cs.late, cs.held, cs.waiting = cs.late || from.late, cs.held || from.held, cs.waiting || from.waiting
		if from.changedAt.After(cs.changedAt) {
			cs.changedAt = from.changedAt
		}
		from.gone = true
		m.unshelve(from)
	}
	clear(m.named)
	for _, cs := range m.cases {
		m.nameAll(cs.names, 1)
	}
	m.touched = slices.DeleteFunc(m.touched, func(cs *caseState) bool { return cs.gone })
	m.changed.cases = slices.DeleteFunc(m.changed.cases, func(cs *caseState) bool { return cs.gone })
}
