package decide

import (
	"maps"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// holdState is a hold that is in force or may be, or one that an intent is tried for.
// What is released is forgotten: the store has it.
type holdState struct {
	model.Hold // without State before it was in force
	// Trying are the intents for it whose outcome is awaited, Unknown those that a person
	// has to say it of, and Already those that found it so meanwhile.
	Trying  []string `json:"trying,omitempty"`
	Unknown []string `json:"unknown,omitempty"`
	Already []string `json:"already,omitempty"`
	// Waiting are the first ids of cases that are planned again when it changes, sorted.
	Waiting []string `json:"waiting,omitempty"`
	// Again is when something is done again about its undo that came to nothing, in the
	// time that decide has seen pass.
	Again time.Duration `json:"again,omitempty"`
}

// inForce tells whether the target is contained, as far as is known.
func (h *holdState) inForce() bool { return h.State == model.HoldInForce || h.State == model.HoldStuck }

// wanted tells whether an owner has not let go.
func (h *holdState) wanted() bool { return slices.ContainsFunc(h.Owners, model.Owner.Wants) }

// heldNow says for plan how a hold is.
func (m *Machine) heldNow(id string) plan.Held {
	h := m.holds[id]
	switch {
	case h == nil:
	case h.inForce():
		return plan.Held{InForce: true, By: h.Intent, Why: "held by Kelpie since " + h.Since.Format(time.DateTime)}
	case len(h.Trying) > 0:
		return plan.Held{Waits: true, Why: "waits for what becomes of " + h.Trying[0] + ", which does the same"}
	case h.State == model.HoldReleasing:
		return plan.Held{Waits: true, Why: "waits for what becomes of its release, " + h.Undo}
	}
	// Free, or nobody knows whether its undo took effect: it is to be tried.
	return plan.Held{}
}

// await has a case planned again when a hold changes.
func (m *Machine) await(hold, firstID string) {
	h := m.holds[hold]
	if h == nil {
		return
	}
	if at, found := slices.BinarySearch(h.Waiting, firstID); !found {
		h.Waiting = slices.Insert(h.Waiting, at, firstID)
		m.awaiting[firstID]++
	}
}

// seek notes that an intent was planned that will be held.
func (m *Machine) seek(in *intentState) {
	if in.Hold == "" {
		return
	}
	h := m.holdOf(in)
	if in.State == model.IntentPending {
		h.Trying = append(h.Trying, in.ID)
		return
	}
	m.own(h, in)
}

// holdOf is the hold of what an intent does.
func (m *Machine) holdOf(in *intentState) *holdState {
	h := m.holds[in.Hold]
	if h == nil {
		h = &holdState{Hold: model.Hold{ID: in.Hold, Action: in.Action, Verb: in.Verb, Target: in.Target}}
		m.holds[in.Hold] = h
	}
	return h
}

// settleHold draws the consequences of what became of an intent.
func (m *Machine) settleHold(in *intentState) {
	if in.Hold == "" {
		return
	}
	if in.Undoes != "" {
		if h := m.holds[in.Hold]; h != nil && h.Undo == in.ID {
			m.undone(h, in)
		}
		return
	}
	h := m.holdOf(in)
	h.Trying, h.Unknown = without(h.Trying, in.ID), without(h.Unknown, in.ID)
	switch {
	case in.State == model.IntentDone:
		m.enforce(h, in)
	case in.State == model.IntentAlready && h.State == model.HoldUnknown:
		// It is contained: the undo that nobody knew of did nothing.
		m.enforce(h, in)
	case in.State == model.IntentAlready && h.State != "":
		m.own(h, in)
	case in.State == model.IntentAlready && len(h.Unknown) > 0:
		h.Already = append(h.Already, in.ID) // it may be Kelpie's
	case in.State == model.IntentUnknown:
		h.Unknown = append(h.Unknown, in.ID)
		if h.inForce() {
			m.own(h, in)
		}
	}
	m.look(h)
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(ids, func(other string) bool { return other == id })
}

// enforce notes that an intent has put a hold into force. One that is in force already
// keeps the token of the first, which knows how it was before. Whoever may have done it
// as well, or found it so, wants it too.
func (m *Machine) enforce(h *holdState, in *intentState) {
	from := h.State
	if from == "" || from == model.HoldUnknown {
		h.State, h.Since, h.Undo, h.Tries, h.Message = model.HoldInForce, m.at, "", 0, ""
		h.Intent, h.Target = in.ID, in.Target
		if from == "" || len(in.UndoToken) > 0 {
			h.UndoToken = in.UndoToken
		}
	}
	m.own(h, in)
	for _, id := range slices.Concat(h.Unknown, h.Already) {
		m.own(h, m.intents[id])
	}
	h.Already = nil
}

// own makes an intent an owner of a hold. Who comes while it is being released comes
// too late, and lets go at once: what is under way can't be stopped.
func (m *Machine) own(h *holdState, in *intentState) {
	if slices.ContainsFunc(h.Owners, func(o model.Owner) bool { return o.Intent == in.ID }) {
		return
	}
	o := model.Owner{Intent: in.ID, Case: in.Case, Since: m.at, After: in.UndoAfter}
	if o.After > 0 {
		o.Until = m.at.Add(o.After)
	}
	switch h.State {
	case model.HoldStuck:
		h.State, h.Message, h.Told = model.HoldInForce, "", 0
	case model.HoldReleasing:
		o.LetGoAt, o.Because = m.at, "it was being released already"
	}
	h.Owners = append(h.Owners, o)
	m.changedHold(h)
	m.recordHold(model.RecordHold, h, o)
}

// letGo ends what an owner wants; by is empty if its time is over.
func (m *Machine) letGo(h *holdState, o *model.Owner, by, because string) {
	o.LetGoAt, o.By, o.Because = m.at, by, because
	m.changedHold(h)
	m.recordHold(model.RecordRelease, h, *o)
}

// look draws the consequences of a change of a hold: it is released if nobody wants it,
// forgotten if nothing came of it, and who waits for it is planned again.
func (m *Machine) look(h *holdState) {
	switch {
	case len(h.Trying) > 0: // it is wanted, or may be
	case h.State == "" && len(h.Unknown) == 0:
		delete(m.holds, h.ID)
	case h.State == model.HoldInForce && !h.wanted():
		last := slices.MaxFunc(h.Owners, func(a, b model.Owner) int { return a.LetGoAt.Compare(b.LetGoAt) })
		m.release(h, last.By, last.Because)
	}
	for _, id := range h.Waiting {
		if m.awaiting[id]--; m.awaiting[id] == 0 {
			delete(m.awaiting, id)
		}
		m.considerFirst(id)
	}
	h.Waiting = nil
}

// release plans the undo of a hold that nobody wants.
func (m *Machine) release(h *holdState, by, because string) {
	done := m.intents[h.Intent]
	h.Tries++
	h.State, h.Undo, h.Message = model.HoldReleasing, model.UndoID(h.Intent, h.Tries), ""
	h.By, h.Because = by, because
	if by != "" {
		because = "released by " + by + ": " + because
	}
	undo := model.Intent{
		ID: h.Undo, Case: done.Case, Response: done.Response, Step: done.Step,
		Action: h.Action, Verb: h.Verb, Target: h.Target, Round: done.Round,
		Hold: h.ID, Undoes: h.Intent, UndoToken: h.UndoToken,
		Because: because, PlannedAt: m.at, State: model.IntentPending,
		Score: done.Score, Deadline: m.at, // somebody waits to be let go
	}
	m.keep(undo)
	m.changed.intents[undo.ID] = m.intents[undo.ID]
	m.recordIntent(undo)
	m.changedHold(h)
	m.considerFirst(undo.Case)
}

// undone draws the consequences of what became of an undo.
func (m *Machine) undone(h *holdState, undo *intentState) {
	switch undo.State {
	case model.IntentDone, model.IntentAlready, model.IntentUndone:
		h.State, h.Message = model.HoldReleased, ""
		for _, o := range h.Owners {
			m.undo(o)
			h.Unknown = without(h.Unknown, o.Intent)
		}
		m.changedHold(h)
		// What is tried for it already, since its undo was unknown, begins anew.
		h.Hold = model.Hold{ID: h.ID, Action: h.Action, Verb: h.Verb, Target: h.Target}
	case model.IntentFailed, model.IntentRefused:
		h.State, h.Message = model.HoldStuck, undo.Message
		m.tellStuck(h)
	case model.IntentUnknown:
		h.State, h.Message = model.HoldUnknown, undo.Message
		m.tellStuck(h)
	}
	m.changedHold(h)
	m.look(h)
}

// undo makes an owner's intent one that is undone.
func (m *Machine) undo(o model.Owner) {
	in := m.intents[o.Intent]
	switch in.State {
	case model.IntentDone, model.IntentAlready, model.IntentUnknown: // whatever it did is undone
	default:
		return
	}
	from := in.State
	in.State, in.FinishedAt = model.IntentUndone, m.at
	m.changed.intents[in.ID] = in
	m.recordOutcome(in, from)
	m.considerFirst(in.Case)
}

// releaseHold takes a person's order to let go. Where nobody wants the hold any more and
// its undo came to nothing, or nobody knows, the order is to try once more. A subject of
// a case that would let go can't order it.
func (m *Machine) releaseHold(c *model.Command) {
	h := m.holds[c.Hold]
	if h == nil || h.State == "" || h.State == model.HoldReleasing {
		return
	}
	if why := m.ownRelease(h, c); why != "" {
		m.record(model.Record{
			Kind: model.RecordRelease, Subject: h.ID, Case: c.Case, Action: h.Action, Verb: h.Verb,
			Target: h.Target.Kind + ":" + h.Target.Value, To: string(h.State),
			By: c.By, Because: c.Because, Message: "it does not count: " + why,
		})
		return
	}
	for i := range h.Owners {
		if o := &h.Owners[i]; o.Wants() && (c.Case == "" || m.sameCase(o.Case, c.Case)) {
			m.letGo(h, o, c.By, c.Because)
		}
	}
	again := h.State == model.HoldStuck || h.State == model.HoldUnknown
	if again && c.Case == "" && len(h.Trying) == 0 {
		m.release(h, c.By, c.Because)
		return
	}
	m.look(h)
}

// ownRelease says why an order to let go is that of a subject of a case that holds, or held,
// what is to be let go; empty: it is not.
func (m *Machine) ownRelease(h *holdState, c *model.Command) string {
	for _, o := range h.Owners {
		cs := m.caseFirst(o.Case)
		if cs == nil || c.Case != "" && !m.sameCase(o.Case, c.Case) {
			continue
		}
		if why := m.subjectIn(cs, c.By); why != "" {
			return why
		}
	}
	return ""
}

// releaseAll takes a person's order to let go of everything, but of what the person is a
// subject of.
func (m *Machine) releaseAll(c *model.Command) {
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		one := *c
		one.Hold, one.Case = id, ""
		m.releaseHold(&one)
	}
}

// extendHold takes a person's order to hold on for longer, or until somebody lets go.
func (m *Machine) extendHold(c *model.Command) {
	h := m.holds[c.Hold]
	if h == nil || !h.inForce() || c.For < 0 {
		return
	}
	for i := range h.Owners {
		o := &h.Owners[i]
		if !o.Wants() || o.After == 0 || c.Case != "" && !m.sameCase(o.Case, c.Case) {
			continue
		}
		if c.For == 0 {
			o.After, o.Ends, o.Until = 0, 0, time.Time{}
		} else {
			o.After, o.Until = o.After+c.For, o.Until.Add(c.For)
			if o.Ends > 0 {
				o.Ends += c.For
			}
		}
		m.changedHold(h)
		extended := *o
		extended.By, extended.Because = c.By, c.Because
		m.recordHold(model.RecordExtend, h, extended)
	}
}

// endedByHand tells whether a person says of an undo that came to nothing that it is
// done: what was stuck was ended without Kelpie.
func (m *Machine) endedByHand(in *intentState, state model.IntentState) bool {
	h := m.holds[in.Hold]
	return h != nil && h.State == model.HoldStuck && h.Undo == in.ID && state == model.IntentDone
}

// sameCase tells whether two first ids are of one case now.
func (m *Machine) sameCase(a, b string) bool {
	if a == b {
		return true
	}
	p, ok := m.firsts[a]
	q, also := m.firsts[b]
	return ok && also && m.index.Group(p) == m.index.Group(q)
}

// Holding tells which actions hold something, or may: each is needed for its undo.
func (m *Machine) Holding() []string {
	all := map[string]bool{}
	for _, h := range m.holds {
		if h.State != "" {
			all[h.Action] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// inHold tells whether a case has to do with a hold, so that it must not leave the
// memory: one of its intents owns it or is awaited for it, or it waits for it.
func (m *Machine) inHold(cs *caseState) bool {
	for _, id := range cs.names {
		for _, in := range m.byFirst[id] {
			if in.Hold != "" && m.holds[in.Hold] != nil {
				return true
			}
		}
		if m.awaiting[id] > 0 {
			return true
		}
	}
	return false
}

// changedHold has a hold's row written with the next Changes.
func (m *Machine) changedHold(h *holdState) {
	if h.State == "" {
		return // it never came into force
	}
	h.ChangedAt, m.end.known = m.at, false
	row := h.Hold
	row.Owners = slices.Clone(row.Owners)
	m.changed.holds[h.ID] = row
}

// recordHold adds to the audit who came to own a hold, or let go of it.
func (m *Machine) recordHold(kind model.RecordKind, h *holdState, o model.Owner) {
	m.record(model.Record{
		Kind: kind, Subject: h.ID, Case: o.Case, Action: h.Action, Verb: h.Verb,
		Target: h.Target.Kind + ":" + h.Target.Value, To: string(h.State),
		By: o.By, Because: o.Because, Until: o.Until, Reference: o.Intent,
	})
}

func (m *Machine) writeHolds(e *encoder) {
	e.uint(uint64(len(m.holds)))
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		e.json(m.holds[id])
	}
}

func (m *Machine) readHold(d *decoder) {
	h := &holdState{}
	if d.json(h); d.err != nil {
		return
	}
	named := slices.Concat(h.Trying, h.Unknown, h.Already)
	for _, o := range h.Owners {
		named = append(named, o.Intent)
	}
	if h.State != "" {
		named = append(named, h.Intent)
		if len(h.Owners) == 0 {
			d.fail("hold %s has no owner", h.ID)
			return
		}
	}
	if h.Undo != "" {
		named = append(named, h.Undo)
	}
	for _, id := range named {
		if m.intents[id] == nil {
			d.fail("hold %s is of intent %s, which is not there", h.ID, id)
			return
		}
	}
	m.holds[h.ID] = h
	for _, id := range h.Waiting {
		m.awaiting[id]++
	}
}
