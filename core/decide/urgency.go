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
			if in.State != model.IntentPending || in.Undoes != "" {
				continue
			}
			if total := v.score().Total; in.Score != total {
				in.Score = total
				m.changed.intents[in.ID] = in
			}
		}
	}
}
