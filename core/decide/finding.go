package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// found is what people found a case to be.
type found struct {
	// Now is nil while it is open.
	Now *model.Finding `json:"now,omitempty"`
	// Worked is what was done about it by when it ended.
	Worked *model.Worked `json:"worked,omitempty"`
	// Again is when it was last opened again; nil: it never was.
	Again *model.Reopening `json:"again,omitempty"`
	// Anew is from when on people are told of it as if they never had been.
	Anew time.Time `json:"anew,omitzero"`
}

func (f found) none() bool { return f.Now == nil && f.Again == nil }

// caseFirst is the case that was first opened under an id; nil: it is not there.
func (m *Machine) caseFirst(id string) *caseState {
	n, ok := m.firsts[id]
	if !ok {
		return nil
	}
	return m.cases[m.index.Group(n)]
}

// endCase takes what a person says that a case has turned out to be. To say it again is
// to correct it. A subject of the case, who could end what is asked about it, can't say it.
func (m *Machine) endCase(c *model.Command) {
	cs := m.caseFirst(c.Case)
	if cs == nil || c.Finding == nil {
		return
	}
	if why := m.subjectIn(cs, c.By); why != "" {
		m.recordFinding(cs, model.Record{By: c.By, Because: "it does not count: " + why, To: string(c.Finding.Kind)})
		return
	}
	f := *c.Finding
	f.By = c.By
	m.endAs(cs, f)
}

// subjectIn says why somebody is a subject of a case; empty: it is nobody, or is none.
func (m *Machine) subjectIn(cs *caseState, who string) string {
	if who == "" || m.settings == nil {
		return ""
	}
	why, subject := plan.Reader(&m.settings.Plan, newView(m, cs).value(), who)
	if !subject {
		return ""
	}
	return why
}

// endAs ends a case: nothing more is planned for it, and nobody is asked about it any
// more. What it holds stays until it is let go of or its time is over. A finding that
// makes no sense changes nothing.
func (m *Machine) endAs(cs *caseState, f model.Finding) {
	f.At = m.at
	if !slices.Contains(model.FindingKinds(), f.Kind) || m.settings == nil {
		return
	}
	f.Notes = clipTo(f.Notes, model.MostFindingNotes)
	f.Minutes, f.Loss = min(max(f.Minutes, 0), model.MostMinutes), min(max(f.Loss, 0), model.MostLoss)
	before := ""
	if cs.found.Now != nil {
		if before = string(cs.found.Now.Kind); sameFinding(*cs.found.Now, f) {
			return
		}
	}
	cs.found.Now = &f
	m.withdrawAll(cs, "its case has ended: it was found to be "+strings.ReplaceAll(string(f.Kind), "_", " "))
	m.recordFinding(cs, model.Record{By: f.By, From: before, To: string(f.Kind), Message: f.Notes, Reference: f.Question})
	m.findPast(cs, &f)
	cs.found.Worked = m.worked(cs)
	m.touch(cs)
}

func sameFinding(a, b model.Finding) bool {
	a.At = b.At
	return a == b
}

// worked is what was done about a case.
func (m *Machine) worked(cs *caseState) *model.Worked {
	w := &model.Worked{}
	for _, in := range m.intentsOf(cs) {
		if in.DryRun || in.Preview || in.Undoes != "" {
			continue
		}
		switch in.State {
		case model.IntentDone, model.IntentAlready, model.IntentUndone:
		default:
			continue
		}
		switch {
		case plan.Tells(in.Verb):
			w.Told++
		case in.ChosenBy == "" && in.By == "":
			w.Steps++
		}
	}
	for _, q := range m.statesOf(cs) {
		if len(q.Asked) == 0 || !m.answersFor(cs, q.Case) {
			continue
		}
		w.Asked++
		if took := q.ClosedAt.Sub(q.OpenedAt); q.State == model.QuestionAnswered && (w.Chosen == 0 || took < w.Chosen) {
			w.Chosen = took
		}
	}
	return w
}

// reopenCase takes a person's order that a case that has ended goes on.
func (m *Machine) reopenCase(c *model.Command) {
	if cs := m.caseFirst(c.Case); cs != nil && cs.found.Now != nil {
		m.reopen(cs, c.By, clip(c.Because))
		cs.found.Anew = m.at
	}
}

// reopen has a case that has ended go on.
func (m *Machine) reopen(cs *caseState, by, because string) {
	was := *cs.found.Now
	cs.found.Now, cs.found.Worked, cs.found.Again = nil, nil, &model.Reopening{Was: was, At: m.at, By: by, Because: because}
	m.recordFinding(cs, model.Record{By: by, Because: because, From: string(was.Kind)})
	m.findPast(cs, nil)
	m.touch(cs)
}

// openFor opens a case again that has ended, since a signal of it is new: what ended is
// what was known then. A repeat says nothing new.
func (m *Machine) openFor(cs *caseState, in *model.Signal, what int) {
	if cs.found.Now == nil {
		return
	}
	news := "a new signal"
	if what == revisedSignal {
		news = "a later revision of a signal"
	}
	m.reopen(cs, "", clip(fmt.Sprintf("%s came: %s, %s", news, in.ID, in.Title)))
	cs.found.Anew = m.at
}

// findTogether says of a case what people have found, now that another is part of it.
// It has ended only if both have, as was said last. One that has just come, with its
// first signal, says nothing. Name is that of into for people.
func (m *Machine) findTogether(into, from *caseState, name string) {
	a, b := into.found, from.found
	if a.none() && b.none() {
		return
	}
	m.touch(into) // its row is another, whatever becomes of it
	switch {
	case from.id == "" && len(from.names) == 0: // and its signal is told by openFor
		return
	case into.id == "" && len(into.names) == 0:
		into.found = b
		return
	case a.Now != nil && b.Now != nil:
		if later(*b.Now, *a.Now) {
			into.found.Now = b.Now
		}
		into.found.Worked = a.Worked.And(b.Worked)
	case a.Now != nil:
		m.reopen(into, "", "it became one with "+m.nameOf(from)+", which had not ended")
	case b.Now != nil:
		m.reopen(from, "", "it became one with "+name+", which had not ended")
		b = from.found
	}
	if b.Anew.After(into.found.Anew) {
		into.found.Anew = b.Anew
	}
	if b.Again != nil && (into.found.Again == nil || b.Again.At.After(into.found.Again.At)) {
		into.found.Again = b.Again
	}
}

// later tells which of two findings holds for both cases: the one that was said last, or
// else the worse.
func later(a, b model.Finding) bool {
	if !a.At.Equal(b.At) {
		return a.At.After(b.At)
	}
	kinds := model.FindingKinds()
	return slices.Index(kinds, a.Kind) < slices.Index(kinds, b.Kind)
}

// nameOf is a case as people may find it.
func (m *Machine) nameOf(cs *caseState) string {
	if cs.id == "" {
		return strings.Join(cs.names[:min(len(cs.names), 1)], "")
	}
	return cs.id
}

// recordFinding adds to the audit that a case has ended, or goes on.
func (m *Machine) recordFinding(cs *caseState, r model.Record) {
	r.Kind, r.Subject = model.RecordFinding, m.nameOf(cs)
	if len(cs.names) > 0 {
		r.Case = cs.names[0]
	}
	if cs.id != "" {
		r.Case = m.firstID(cs)
	}
	m.record(r)
}

// foundPast is what people found of a spell of a value.
type foundPast struct {
	model.PastFinding
}

// maxPastRules bounds the rules that are remembered of an earlier case.
const maxPastRules = 20

// findPast notes with the values of a case what people found of it; nil: that they said
// holds no more. The rows of cases to which that is the past are made before.
func (m *Machine) findPast(cs *caseState, f *model.Finding) {
	var past *foundPast
	if f != nil {
		rules := m.names(cs.sum.rules)
		past = &foundPast{model.PastFinding{Kind: f.Kind, By: f.By, At: f.At, Rules: rules[:min(len(rules), maxPastRules)]}}
	}
	first, last := cs.sum.firstAt.UnixNano(), cs.sum.lastAt.UnixNano()
	for i, r := range cs.sum.refs {
		if i > 0 && cs.sum.refs[i-1].Value == r.Value {
			continue
		}
		p := m.history.values[m.index.Key(r.Value)]
		if p == nil {
			continue
		}
		for j := range p.spells {
			if s := &p.spells[j]; s.first <= last && s.last >= first && s.found != past {
				m.fixHistory(r.Value, s.last)
				s.found = past
			}
		}
	}
}

// foundBy counts the earlier cases that people found to be of a kind, and that one of
// these rules has reported.
func foundBy(p *model.Past, kind model.FindingKind, rules []string) expr.Value {
	n := 0
	for _, f := range p.Found {
		if f.Kind == kind && slices.ContainsFunc(f.Rules, func(rule string) bool { return slices.Contains(rules, rule) }) {
			n++
		}
	}
	return expr.Int(int64(n))
}

// foundText says for people what the earlier cases of a value were found to be; empty:
// nobody has said.
func foundText(p *model.Past) string {
	if len(p.Found) == 0 {
		return ""
	}
	words := map[model.FindingKind]string{
		model.TruePositive: "a true positive", model.Benign: "benign", model.FalsePositive: "a false positive",
	}
	same := slices.IndexFunc(p.Found, func(f model.PastFinding) bool { return f.Kind != p.Found[0].Kind })
	if same < 0 {
		same = len(p.Found)
	}
	var by []string
	for _, f := range p.Found[:same] {
		if !slices.Contains(by, f.By) {
			by = append(by, f.By)
		}
	}
	text := fmt.Sprintf("%s, by %s on %s", words[p.Found[0].Kind], strings.Join(by, " and "), p.Found[0].At.Format(time.DateOnly))
	if same == 1 {
		return "in an earlier case found to be " + text
	}
	return fmt.Sprintf("in %d earlier cases found to be %s", same, text)
}
