package decide

import (
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// Traced is a case as the machine has it, and why its responses did what they did.
type Traced struct {
	Case      model.Case
	Intents   []model.Intent // in the order of planning
	Responses []plan.Followed
}

// CaseOf is the id of the case that a signal is in; empty: the machine has no such signal.
func (m *Machine) CaseOf(signal string) string {
	if s, known := m.index.Signal(signal); known {
		if cs := m.cases[m.index.Group(s)]; cs != nil {
			return cs.id
		}
	}
	return ""
}

// Trace says what the case of a signal is; false: the machine has no such signal. It
// changes nothing that decides.
func (m *Machine) Trace(signal string, why expr.Conditions) (Traced, bool) {
	s, known := m.index.Signal(signal)
	if !known || m.settings == nil {
		return Traced{}, false
	}
	cs := m.cases[m.index.Group(s)]
	if cs == nil {
		return Traced{}, false
	}
	view := newView(m, cs)
	t := Traced{Case: m.row(cs), Intents: m.intentsOf(cs)}
	t.Responses = m.planner.Follow(plan.Case{
		FirstID: m.firstID(cs), Rules: m.names(cs.sum.rules), Value: view.value(), ChangedAt: cs.changedAt,
		Pending: view.pending(), Intents: t.Intents, Facts: view, Held: m.heldNow,
	}, cs.notes, m.at, why)
	return t, true
}
