package decide

import "github.com/kelpie-sec/kelpie/core/model"

// urge gives planned intents, and those of the case that are still pending, the case's
// score: what waits goes by it.
func (m *Machine) urge(cs *caseState, v *view, planned []model.Intent) {
	for i := range planned {
		planned[i].Score = v.score().Total
	}
	for _, name := range cs.names {
		for _, in := range m.byFirst[name] {
			waits := in.State == model.IntentGathered && in.Gathered == ""
			if in.State != model.IntentPending && !waits || in.Undoes != "" || in.Response == "" {
				continue
			}
			if total := v.score().Total; in.Score != total {
				before := in.Score
				in.Score = total
				m.changed.intents[in.ID] = in
				if waits {
					m.regather(in, before)
				}
			}
		}
	}
}

// severityOf the case that a signal is in.
func (m *Machine) severityOf(signal string) int {
	n, known := m.index.Signal(signal)
	if !known {
		return 0
	}
	cs := m.cases[m.index.Group(n)]
	if cs == nil {
		return 0
	}
	return int(cs.sum.severity)
}
