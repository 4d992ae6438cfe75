package decide

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// questionState is a question and its place in the order of asking.
type questionState struct {
	model.Question
	number uint64
}

// ask opens a question that was planned.
func (m *Machine) ask(q model.Question) {
	if m.questions[q.ID] != nil {
		return
	}
	if q.State != model.QuestionOpen && q.Why == "" {
		q.Why = "there is nobody, or are not enough people, who may be asked"
	}
	m.keepQuestion(&questionState{Question: q, number: m.numbers})
	m.numbers++
	m.changedQuestion(m.questions[q.ID])
	m.recordQuestion(m.questions[q.ID], "")
}

func (m *Machine) keepQuestion(q *questionState) {
	m.questions[q.ID] = q
	m.questionsBy[q.Case] = append(m.questionsBy[q.Case], q)
	if q.Open() {
		m.open[q.ID] = q
	}
}

// changedQuestion has a question's row written with the next Changes.
func (m *Machine) changedQuestion(q *questionState) {
	m.changed.questions[q.ID], m.end.known = q, false
}

// statesOf are the questions under any of a case's names, as they were asked.
func (m *Machine) statesOf(cs *caseState) []*questionState {
	var states []*questionState
	for _, name := range cs.names {
		states = append(states, m.questionsBy[name]...)
	}
	slices.SortFunc(states, func(a, b *questionState) int { return cmp.Compare(a.number, b.number) })
	return states
}

func (m *Machine) questionsOf(cs *caseState) []model.Question {
	var all []model.Question
	for _, q := range m.statesOf(cs) {
		all = append(all, q.Question)
	}
	return all
}

// answersFor tells whether a case has the signal of a first id, of all that have the name.
func (m *Machine) answersFor(cs *caseState, name string) bool {
	n, ok := m.firsts[name]
	return ok && m.index.Group(n) == cs.group
}

// asking tells whether a question about a case waits for an answer, so that it must not
// leave the memory.
func (m *Machine) asking(cs *caseState) bool {
	for _, name := range cs.names {
		open := slices.ContainsFunc(m.questionsBy[name], func(q *questionState) bool { return q.Open() })
		if open && m.answersFor(cs, name) {
			return true
		}
	}
	return false
}

// caseOf is the case that a question is about now; nil: it is not in memory.
func (m *Machine) caseOf(q *questionState) *caseState {
	n, ok := m.firsts[q.Case]
	if !ok {
		return nil
	}
	return m.cases[m.index.Group(n)]
}

// noteAsked notes that somebody is asked by a plan, or would be and can't.
func (m *Machine) noteAsked(a plan.Asking) {
	q := m.questions[a.Of]
	if q == nil || !q.Open() || q.Asks(a.Address) != nil {
		return
	}
	q.Asked = append(q.Asked, a.Asked)
	m.changedQuestion(q)
	to := "asked"
	if a.Failed {
		to = "failed"
	}
	m.recordAsked(q, &q.Asked[len(q.Asked)-1], to)
}

// delivered draws the consequences of what became of an intent that asks somebody. Where
// nobody knows whether it came, who is next is asked as well.
func (m *Machine) delivered(in *intentState) {
	q := m.questions[in.Question]
	if in.Question == "" || q == nil {
		return
	}
	at := slices.IndexFunc(q.Asked, func(a model.Asked) bool { return a.Intent == in.ID })
	if at < 0 {
		return
	}
	a := &q.Asked[at]
	switch in.State {
	case model.IntentDone, model.IntentAlready:
		a.Accepted, a.Failed = m.at, false
		m.recordAsked(q, a, "accepted")
		if q.Open() && q.AcceptedAt.IsZero() && q.decides(a) {
			q.AcceptedAt = m.at
			if q.Wait > 0 {
				q.Until = m.at.Add(q.Wait)
			}
		}
	case model.IntentPending, model.IntentGathered:
		return
	default:
		if !a.Accepted.IsZero() || a.Failed {
			return
		}
		a.Failed = true
		m.recordAsked(q, a, "failed")
	}
	m.changedQuestion(q)
	if q.Open() && m.nobody(q) {
		m.nextLevel(q)
	}
	m.considerFirst(q.Case)
}

// decides tells whether the choice of who is asked may count: not that of a subject,
// where others are asked together with it.
func (q *questionState) decides(a *model.Asked) bool {
	return !a.Subject || !slices.ContainsFunc(q.Asked, func(o model.Asked) bool { return o.Level == a.Level && !o.Subject })
}

// nobody tells whether the level that is asked now has come to nothing: each of it was
// not reached, or could not be asked.
func (m *Machine) nobody(q *questionState) bool {
	if q.Level >= len(q.Levels) {
		return true
	}
	return !slices.ContainsFunc(q.Levels[q.Level].To, func(address string) bool {
		a := q.Asks(address)
		return a == nil || !a.Failed && (a.Accepted.IsZero() || q.decides(a))
	})
}

// nextLevel has who is next asked at once. Where nobody is, and nobody was reached, the
// question has failed.
func (m *Machine) nextLevel(q *questionState) {
	if !q.Last() {
		q.Level++
		q.Next = 0
		m.changedQuestion(q)
		return
	}
	under := slices.ContainsFunc(q.Asked, func(a model.Asked) bool { return a.Accepted.IsZero() && !a.Failed })
	if q.AcceptedAt.IsZero() && !under {
		q.Why = "it reached nobody"
		m.closeQuestion(q, model.QuestionFailed)
	}
}

// passOver goes on to who is next where nobody of a level could be asked. It tells whether
// the case has to be planned again.
func (m *Machine) passOver(cs *caseState) bool {
	if len(m.open) == 0 {
		return false
	}
	for _, q := range m.statesOf(cs) {
		if q.Open() && m.answersFor(cs, q.Case) && m.nobody(q) {
			level := q.Level
			if m.nextLevel(q); q.Level != level || !q.Open() {
				return true
			}
		}
	}
	return false
}

// closeQuestion ends a question. Who calls it has the case planned again.
func (m *Machine) closeQuestion(q *questionState, state model.QuestionState) {
	from := q.State
	q.State, q.ClosedAt, q.Next = state, m.at, 0
	delete(m.open, q.ID)
	m.changedQuestion(q)
	m.recordQuestion(q, from)
}

// withdraw ends a question that needs no answer any more.
func (m *Machine) withdraw(q *questionState, why string) {
	q.Why = why
	m.closeQuestion(q, model.QuestionWithdrawn)
	m.considerFirst(q.Case)
}

// withdrawAll ends all questions about a case.
func (m *Machine) withdrawAll(cs *caseState, why string) {
	for _, q := range m.statesOf(cs) {
		if q.Open() && m.answersFor(cs, q.Case) {
			m.withdraw(q, why)
		}
	}
}

// withdrawGone ends the questions whose steps the configuration has no more, or that were
// asked as a dry run and would be asked in earnest now.
func (m *Machine) withdrawGone() {
	for _, q := range m.openInOrder() {
		switch {
		case m.settings.Plan.Asking(&q.Question) == nil:
			m.withdraw(q, fmt.Sprintf("the configuration has no %s.%s that asks it", q.Response, q.Step))
		case q.DryRun && m.settings.Plan.Mode == plan.On:
			m.withdraw(q, "it was asked as a dry run, and nobody has seen it")
		}
	}
}

// withdrawSame ends the questions of a case that were answered already, by another name
// of it: cases that came together have asked the same.
func (m *Machine) withdrawSame(cs *caseState) {
	if len(m.open) == 0 || len(cs.names) < 2 {
		return
	}
	all := m.statesOf(cs)
	for _, q := range all {
		if !q.Open() || !m.answersFor(cs, q.Case) {
			continue
		}
		for _, other := range all {
			if other.State == model.QuestionAnswered && other.covers(q) && !cs.found.Anew.After(other.OpenedAt) {
				q.Why = fmt.Sprintf("%s chose %s in %s, which is of the same case", other.By, other.Choice, other.ID)
				m.closeQuestion(q, model.QuestionWithdrawn)
				break
			}
		}
	}
}

// covers tells whether an answer to one question answers another of the same case.
func (q *questionState) covers(other *questionState) bool {
	if q.DryRun != other.DryRun || q.Kind != other.Kind || q.Response != other.Response || q.Step != other.Step || q.Round != other.Round {
		return false
	}
	return !slices.ContainsFunc(other.Targets, func(t model.Target) bool {
		return !slices.ContainsFunc(q.Targets, func(o model.Target) bool { return o.Kind == t.Kind && o.Value == t.Value })
	})
}

func (m *Machine) openInOrder() []*questionState {
	all := make([]*questionState, 0, len(m.open))
	for _, id := range slices.Sorted(maps.Keys(m.open)) {
		all = append(all, m.open[id])
	}
	return all
}

func questionRecord(kind model.RecordKind, q *questionState) model.Record {
	return model.Record{Kind: kind, Subject: q.ID, Case: q.Case, Response: q.Response, Step: q.Step, Verb: q.Verb, Round: q.Round}
}

func (m *Machine) recordQuestion(q *questionState, from model.QuestionState) {
	r := questionRecord(model.RecordQuestion, q)
	r.From, r.To, r.By, r.Road, r.Because, r.Until = string(from), string(q.State), q.By, q.Road, q.Reason, q.Until
	switch {
	case q.Choice != "":
		r.Message = q.Choice
	case q.Why != "":
		r.Because = q.Why
	}
	m.record(r)
}

func (m *Machine) recordAsked(q *questionState, a *model.Asked, to string) {
	r := questionRecord(model.RecordAsked, q)
	r.Target, r.To, r.Reference = plan.AddressKind+":"+a.Address, to, a.Intent
	if a.Subject {
		r.Message = "a subject of the case"
	}
	m.record(r)
}

func (m *Machine) writeQuestions(e *encoder) {
	e.uint(uint64(len(m.questions)))
	byNumber := func(a, b *questionState) int { return cmp.Compare(a.number, b.number) }
	for _, q := range slices.SortedFunc(maps.Values(m.questions), byNumber) {
		e.uint(q.number)
		e.json(q.Question)
	}
}

func readQuestion(d *decoder) *questionState {
	q := &questionState{number: d.uint()}
	if d.json(&q.Question); d.err == nil && (q.Level < 0 || q.Level > len(q.Levels)) {
		d.fail("question %s is at level %d of %d", q.ID, q.Level, len(q.Levels))
	}
	return q
}
