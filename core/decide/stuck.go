package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// stuck tells whether the undo of a hold came to nothing, so that people are told of it
// and it is tried again.
func (m *Machine) stuck(h *holdState) bool {
	return m.settings != nil && m.settings.Plan.Stuck.Every > 0 && (h.State == model.HoldStuck || h.State == model.HoldUnknown)
}

// lookStuck tries undos again that have failed, and tells again what is still not known.
func (m *Machine) lookStuck() {
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		h := m.holds[id]
		if !m.stuck(h) || m.clock.Elapsed < h.Again {
			continue
		}
		if h.State == model.HoldStuck && !h.wanted() && len(h.Trying) == 0 {
			m.release(h, "", "its undo failed before, and is tried again") // who is told next is told of this
			continue
		}
		m.tellStuck(h)
		m.changedHold(h)
	}
	m.end.known = false
}

// tellStuck tells people that a hold may still be in force though nobody wants it.
func (m *Machine) tellStuck(h *holdState) {
	if !m.stuck(h) {
		return
	}
	h.Again = m.clock.Elapsed + m.settings.Plan.Stuck.Every
	if m.settings.Plan.Mode == plan.Off || m.settings.Plan.Mode == "" {
		return
	}
	undo, cs := m.intents[h.Undo], m.caseFirst(m.intents[h.Undo].Case)
	for i, in := range m.tellers(cs) {
		if i == 0 {
			h.Told, h.ToldAt = h.Told+1, m.at
		}
		in.Case, in.Response, in.Step, in.Verb, in.Round = undo.Case, "hold", "stuck", "notify", h.Told
		in.DryRun, in.Because = m.settings.Plan.Mode != plan.On, stuckText(h)
		in.PlannedAt, in.State, in.Score, in.Deadline = m.at, model.IntentPending, undo.Score, m.at
		// Each undo that comes to nothing is another thing to tell.
		in.ID = model.IntentID(undo.Case, in.Response+" "+in.Action, h.Undo, in.Verb, in.Target, in.Round)
		if cs != nil && m.settings.Plan.Notices(in.Action) {
			notice := newView(m, cs).Notice(sdk.Notice{Because: in.Because, DryRun: in.DryRun})
			in.Parameters, _ = json.Marshal(map[string]json.RawMessage{"notice": notice}) // raw JSON always is
		}
		m.planIntent(in)
	}
}

// mostTold bounds who is told of one hold.
const mostTold = 10

// tellers are the actions and addresses by which people are told of a hold that could not
// be ended: those of the configuration, or else those by which they were told of its case.
func (m *Machine) tellers(cs *caseState) []model.Intent {
	var all []model.Intent
	add := func(action string, to model.Target) {
		known := func(in model.Intent) bool { return in.Action == action && in.Target.Value == to.Value }
		if len(all) < mostTold && !slices.ContainsFunc(all, known) {
			all = append(all, model.Intent{Action: action, Target: model.Target{Kind: to.Kind, Value: to.Value}})
		}
	}
	s := m.settings.Plan.Stuck
	for _, to := range s.To {
		add(s.Via, model.Target{Kind: plan.AddressKind, Value: to})
	}
	if s.Via != "" || cs == nil {
		return all
	}
	for _, in := range m.intentsOf(cs) {
		if in.Verb == "notify" && in.State == model.IntentDone && m.settings.Plan.Acts(in.Action) {
			add(in.Action, in.Target)
		}
	}
	return all
}

func stuckText(h *holdState) string {
	what := fmt.Sprintf("%s of %s by %s", h.Verb, h.Target.Value, h.Action)
	if h.State == model.HoldUnknown {
		return fmt.Sprintf("Nobody knows whether %s has ended: %s. Find out, and say so: kelpie intent resolve %s done (or failed).", what, h.Message, h.Undo)
	}
	return fmt.Sprintf("%s could not be ended, and is still in force: %s. End it by hand and say so: kelpie intent resolve %s done; or try again: kelpie release %s.", what, h.Message, h.Undo, h.ID)
}
