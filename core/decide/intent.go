package decide

import (
	"cmp"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// intentState is an intent and its place in the order of planning.
type intentState struct {
	model.Intent
	number uint64
	// stored: the store has it, so that trim could let go of some of it.
	stored bool
}

// plan scores a case and plans what is to be done about it.
func (m *Machine) plan(cs *caseState) {
	before := cs.notes
	planned := m.planNow(cs)
	for m.passOver(cs) {
		planned = m.planNow(cs) || planned
	}
	if planned || !slices.EqualFunc(before, cs.notes, sameNote) {
		m.write(cs)
	}
}

// planNow tells whether anything was planned.
func (m *Machine) planNow(cs *caseState) bool {
	rules, paused := m.active(m.names(cs.sum.rules))
	cs.limited, cs.late, cs.held, cs.credit, cs.paused = false, false, false, 0, len(paused) > 0
	if cs.found.Now != nil { // nothing is done about what has ended
		cs.notes = nil
		return false
	}
	if !m.planner.Responds(rules) {
		cs.notes = since(cs.notes, paused)
		return false
	}
	m.withdrawSame(cs)
	view := newView(m, cs)
	pending := view.pending()
	if notes, all := m.planner.Holds(rules, pending, m.at); all {
		cs.notes = since(cs.notes, append(paused, notes...))
		return false
	}
	p := m.planner.Plan(plan.Case{
		FirstID:   m.firstID(cs),
		Rules:     rules,
		Value:     view.value(),
		ChangedAt: cs.changedAt,
		Anew:      cs.found.Anew,
		Pending:   pending,
		Intents:   m.intentsOf(cs),
		Facts:     view,
		Score:     m.scoreTold(view),
		Told:      m.toldOf(view),
		Held:      m.heldNow,
		Paused:    m.pausedNow,
		Questions: m.questionsOf(cs),
		OnCall:    m.onCall(),
		Joins:     m.joins,
	}, m.at, m.counted)
	m.tell(view, p.Intents)
	cs.notes = since(cs.notes, append(paused, p.Notes...))
	cs.limited, cs.paused = p.Limited, cs.paused || p.Paused
	m.urge(cs, view, p.Intents)
	for _, q := range p.Questions {
		m.ask(q)
	}
	for i := range p.Intents {
		m.planIntent(p.Intents[i])
	}
	for _, a := range p.Asked {
		m.noteAsked(a)
	}
	for _, hold := range p.Waits {
		m.await(hold, m.firstID(cs))
	}
	return len(p.Intents)+len(p.Questions) > 0
}

func sameNote(a, b model.Note) bool {
	return a.Response == b.Response && a.Step == b.Step && a.Target == b.Target && a.Why == b.Why && a.At.Equal(b.At)
}

// since keeps the time of a note that was there before.
func since(old, notes []model.Note) []model.Note {
	for i := range notes {
		n := &notes[i]
		for _, o := range old {
			if o.Response == n.Response && o.Step == n.Step && o.Target == n.Target && o.Why == n.Why {
				n.At = o.At
			}
		}
	}
	return notes
}

func (m *Machine) planIntent(in model.Intent) {
	if m.intents[in.ID] != nil {
		return
	}
	m.gather(&in)
	m.keep(in)
	if counts(in) {
		m.recent[in.Verb] = append(m.recent[in.Verb], in.PlannedAt)
	}
	m.changed.intents[in.ID] = m.intents[in.ID]
	m.recordIntent(in)
	m.seek(m.intents[in.ID])
}

// counts tells whether an intent counts for its verb's limit: an undo does not, nor what
// needed no call, is only shown to who has to approve, or waits for others that are told
// with it.
func counts(in model.Intent) bool {
	return in.Undoes == "" && in.HeldBy == "" && !in.Preview && in.State != model.IntentGathered
}

// keep remembers a new intent.
func (m *Machine) keep(in model.Intent) {
	m.keepState(&intentState{Intent: in, number: m.numbers})
	m.numbers++
}

func (m *Machine) keepState(st *intentState) {
	m.intents[st.ID] = st
	m.byFirst[st.Case] = append(m.byFirst[st.Case], st)
}

// trim lets go of what the store has and planning never reads.
// The target of what is held is told again when it is undone.
func (st *intentState) trim() {
	st.stored, st.Parameters = true, nil
	if st.Hold == "" {
		st.Target.Known = nil
	}
}

// intentsOf are the intents under any of a case's names, as they were planned.
func (m *Machine) intentsOf(cs *caseState) []model.Intent {
	var states []*intentState
	for _, name := range cs.names {
		states = append(states, m.byFirst[name]...)
	}
	slices.SortFunc(states, func(a, b *intentState) int { return cmp.Compare(a.number, b.number) })
	intents := make([]model.Intent, len(states))
	for i, st := range states {
		intents[i] = st.Intent
	}
	return intents
}

// recently counts the intents of a verb that were planned in the last hour.
func (m *Machine) recently(verb string) int {
	times := m.recent[verb]
	i := 0
	for i < len(times) && !times[i].After(m.at.Add(-time.Hour)) {
		i++
	}
	m.recent[verb] = times[i:]
	return len(times) - i
}

// outcome takes what became of an intent. What is known for good stays; what was
// unknown may still become known.
func (m *Machine) outcome(o *model.Outcome) {
	in := m.intents[o.Intent]
	if in == nil || o.State == model.IntentPending {
		return
	}
	switch {
	case in.State == model.IntentPending, in.State == model.IntentUnknown && o.State != model.IntentUnknown:
	case o.State == model.IntentUndone && in.Hold == "" && (in.State == model.IntentDone || in.State == model.IntentAlready):
	default:
		return
	}
	from := in.State
	in.State, in.Attempts, in.Message = o.State, o.Attempts, o.Message
	in.Repeat = in.Repeat || o.Repeat
	if o.Reference != "" {
		in.Reference = o.Reference
	}
	if o.UndoToken != nil {
		in.UndoToken = slices.Clone(o.UndoToken)
	}
	m.recordOutcome(in, from)
	m.finished(in)
}

func (m *Machine) finished(in *intentState) {
	in.FinishedAt = m.at
	m.untold(in)
	m.changed.intents[in.ID] = in
	m.considerFirst(in.Case)
	m.delivered(in)
	m.settleHold(in)
	m.settleGathered(in)
}

// considerFirst has the case planned that was first opened under an id.
func (m *Machine) considerFirst(id string) {
	if first, ok := m.firsts[id]; ok {
		m.consider(m.cases[m.index.Group(first)])
	}
}

// resolvable are the states that a person may say an unknown intent has.
var resolvable = [...]model.IntentState{
	model.IntentDone, model.IntentAlready, model.IntentRefused, model.IntentFailed, model.IntentUndone,
}

// command takes a person's order. One that does not fit changes nothing.
func (m *Machine) command(c *model.Command) {
	switch c.Kind {
	case model.PauseActions:
		m.pauseActions(c)
	case model.ResumeActions:
		m.resumeActions(c)
	case model.PauseOf:
		m.pauseOf(c)
	case model.ResumeOf:
		m.resumeOf(c)
	case model.ResolveIntent:
		in := m.intents[c.Intent]
		if in == nil || in.State != model.IntentUnknown && !m.endedByHand(in, c.State) || !slices.Contains(resolvable[:], c.State) {
			return
		}
		from := in.State
		in.State, in.By = c.State, c.By
		if c.Because != "" {
			in.Message = c.Because
		}
		m.recordResolve(in, from, c)
		m.finished(in)
	case model.ReleaseHold:
		m.releaseHold(c)
	case model.ReleaseAll:
		m.releaseAll(c)
	case model.ExtendHold:
		m.extendHold(c)
	case model.MergeCases, model.SplitCase, model.NeverJoin:
		m.decideByHand(c)
	case model.UndoDecision:
		m.undoDecision(c)
	case model.EndCase:
		m.endCase(c)
	case model.ReopenCase:
		m.reopenCase(c)
	case model.Choose:
		m.moveCursor(c)
		m.choose(c)
	case model.AcceptProposal, model.RefuseProposal:
		m.endProposal(c)
	}
}
