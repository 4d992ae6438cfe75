package decide

import (
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/correlate"
)

// grouping is what the configuration in force and the decisions that stand say of
// which signals are one case.
func (m *Machine) grouping() correlate.Settings {
	s := m.settings.Correlate
	s.Decisions = m.decisions
	return s
}

// regroup makes the index anew by the settings in force and the decisions that stand.
// Numbers of signals and values stay, and so do the cases that have the signals and the
// values that they had.
func (m *Machine) regroup() {
	old := m.index
	m.index = old.Regrouped(m.grouping())
	if refs := m.sameRefs(); refs != nil { // who is who goes by the new settings
		m.index = m.index.RegroupedBy(m.grouping(), refs)
	}
	before := m.cases
	m.cases = make(map[correlate.GroupNum]*caseState, len(before))
	kept := m.unmoved(old)
	var joined []*caseState
	parts := map[*caseState][]*caseState{} // what the joined ones were, in order
	for n := range correlate.SignalNum(m.index.SignalRoom()) {
		if m.index.ID(n) == "" {
			continue
		}
		g, from := m.index.Group(n), before[old.Group(n)]
		cs := m.cases[g]
		switch {
		case kept[g]:
			from.group = g
			m.cases[g] = from
			continue
		case cs == nil:
			cs = &caseState{group: g}
			m.cases[g] = cs
			joined = append(joined, cs)
			m.stale(cs)
		}
		if !slices.Contains(parts[cs], from) {
			parts[cs] = append(parts[cs], from)
		}
		for _, name := range from.names {
			cs.names = insert(cs.names, name)
		}
		cs.late, cs.held, cs.waiting = cs.late || from.late, cs.held || from.held, cs.waiting || from.waiting
		if from.changedAt.After(cs.changedAt) {
			cs.changedAt = from.changedAt
		}
		if !from.gone {
			from.gone = true
			m.unshelve(from)
		}
	}
	clear(m.named)
	for _, cs := range m.cases {
		m.nameAll(cs.names, 1)
	}
	m.touched = slices.DeleteFunc(m.touched, func(cs *caseState) bool { return cs.gone })
	m.changed.cases = slices.DeleteFunc(m.changed.cases, func(cs *caseState) bool { return cs.gone })
	// The numbers of signals and groups are others in another memory: what is told goes by ids.
	slices.SortFunc(joined, func(a, b *caseState) int {
		return strings.Compare(m.index.ID(m.index.Earliest(a.group)), m.index.ID(m.index.Earliest(b.group)))
	})
	for _, cs := range joined {
		all := parts[cs]
		slices.SortFunc(all, func(a, b *caseState) int { return strings.Compare(a.id, b.id) })
		cs.found = all[0].found
		for _, from := range all[1:] {
			m.sumUp(cs)
			m.findTogether(cs, from, all[0].id)
		}
	}
}

// unmoved are the groups that are what one of the old index was.
func (m *Machine) unmoved(old *correlate.Index) map[correlate.GroupNum]bool {
	kept := map[correlate.GroupNum]bool{}
	for g := range m.index.Groups() {
		from, same := correlate.GroupNum(0), true
		first := true
		for n := range m.index.Members(g) {
			if first {
				from, first = old.Group(n), false
				same = old.Size(from) == m.index.Size(g)
			}
			if same = same && old.Group(n) == from && slices.Equal(old.Refs(n), m.index.Refs(n)); !same {
				break
			}
		}
		kept[g] = same
	}
	return kept
}
