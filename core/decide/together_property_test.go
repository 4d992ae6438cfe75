package decide

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// wholeStory has everything happen together: questions and approvals, what is told with
// others, holds, pauses, findings, cases that come together and apart, subjects who answer,
// configurations, restarts. Whatever it draws, what isolates needs people to agree.
type wholeStory struct {
	*askStory
	reload   bool
	suspects map[string]string // user by signal
	planned  map[string]bool
	text     string // of the configuration, but for its mode
}

var wholeConfigs = []string{
	"base asks together", "base asks together tells gather", "base held approves", "base held approves routed together",
	"base asks together told", "base held approves anyone tells gather digest",
}

func (s *wholeStory) step() {
	t := s.t
	before := maps.Clone(s.tables.questions)
	switch rapid.IntRange(0, 13).Draw(t, "what happens") {
	case 0, 1:
		s.alert(rapid.IntRange(1, 2).Draw(t, "host"), rapid.IntRange(0, 5).Draw(t, "place"))
	case 2:
		s.suspect(rapid.SampledFrom([]string{"kim", "ann", "joe"}).Draw(t, "suspect"))
	case 3, 4, 5:
		if all := s.waiting(); len(all) > 0 {
			s.outcome(rapid.SampledFrom(all).Draw(t, "intent"), rapid.SampledFrom([]model.IntentState{
				model.IntentDone, model.IntentDone, model.IntentDone, model.IntentFailed, model.IntentUnknown,
			}).Draw(t, "outcome"))
		}
	case 6, 7:
		s.answer()
	case 8, 9:
		s.tick(rapid.SampledFrom([]time.Duration{0, time.Second, 11 * time.Second, 10 * time.Minute, 31 * time.Minute, 3 * time.Hour}).Draw(t, "passes"))
	case 10:
		s.restart()
	case 11:
		s.give(model.Input{Command: s.anyPause()})
	case 12:
		if c := drawDecision(t, s.m, len(s.parts)); c != nil {
			s.give(model.Input{Command: c})
		}
	case 13:
		s.upset()
	}
	s.consistent(before)
	s.agreed()
}

func (s *wholeStory) upset() {
	t := s.t
	switch rapid.IntRange(0, 3).Draw(t, "upset") {
	case 0:
		c := &model.Command{Kind: model.ReopenCase, By: "lee", Because: "a slip"}
		if rapid.Bool().Draw(t, "ends") {
			c = &model.Command{Kind: model.EndCase, By: "lee", Finding: &model.Finding{Kind: rapid.SampledFrom(model.FindingKinds()).Draw(t, "finding")}}
		}
		if ids := slices.Sorted(maps.Keys(s.tables.cases)); len(ids) > 0 {
			c.Case = s.tables.cases[rapid.SampledFrom(ids).Draw(t, "case")].FirstID
			s.give(model.Input{Command: c})
		}
	case 1:
		var unknown []string
		for _, id := range slices.Sorted(maps.Keys(s.tables.intents)) {
			if s.tables.intents[id].State == model.IntentUnknown && s.tables.intents[id].Hold == "" {
				unknown = append(unknown, id)
			}
		}
		if len(unknown) > 0 {
			s.give(model.Input{Command: &model.Command{
				Kind: model.ResolveIntent, By: "lee", Intent: rapid.SampledFrom(unknown).Draw(t, "intent"),
				State: rapid.SampledFrom([]model.IntentState{model.IntentDone, model.IntentFailed}).Draw(t, "word"),
			}})
		}
	case 2:
		s.boot++
		s.uptime = 0
		s.tick(time.Minute)
	case 3:
		if s.reload {
			text := rapid.SampledFrom(wholeConfigs).Draw(t, "config")
			s.text = text
			s.config(text + rapid.SampledFrom([]string{"", "", " dry", " off"}).Draw(t, "mode"))
		}
	}
}

// suspect reports a user with a host, in the place of some alert.
func (s *wholeStory) suspect(user string) {
	s.events++
	host, place := rapid.IntRange(1, 2).Draw(s.t, "host"), rapid.IntRange(0, 5).Draw(s.t, "place")
	g := sig(fmt.Sprintf("s-%d", s.events), minutes(50*place), 90, fmt.Sprintf("subject host:ws-%d", host), "subject user:"+user)
	g.Position = model.Position{Seq: s.events}
	s.suspects[g.ID] = user
	s.give(model.Input{Match: &model.MatchResult{
		Seq: s.events, Source: "detector.ids", Total: s.events, Count: 1, Counts: model.Counts{Matched: 1}, Signals: []model.Signal{g},
	}})
	for {
		var next *lookup
		for _, l := range s.m.asks {
			if l.pending() && (next == nil || l.ask < next.ask) {
				next = l
			}
		}
		if next == nil {
			return
		}
		s.give(model.Input{Reply: &model.Reply{Ask: next.ask, State: model.Unknown, AnsweredAt: s.now, Expires: s.now.Add(10000 * time.Hour)}})
	}
}

// waiting are the intents that wait for an outcome.
func (s *wholeStory) waiting() (all []string) {
	for _, id := range slices.Sorted(maps.Keys(s.tables.intents)) {
		if in := s.tables.intents[id]; in.State == model.IntentPending || in.State == model.IntentUnknown && in.Hold != "" {
			all = append(all, id)
		}
	}
	return all
}

// answer orders a choice, and looks whether a subject has decided.
func (s *wholeStory) answer() {
	counted := func() map[string]bool {
		all := map[string]bool{}
		for id, q := range s.tables.questions {
			for _, ch := range q.Choices {
				if ch.Counts {
					all[id+" "+ch.ID] = true
				}
			}
		}
		return all
	}
	before, closed := counted(), maps.Clone(s.tables.questions)
	s.choose()
	for id, q := range s.tables.questions {
		answered := q.State == model.QuestionAnswered && closed[id].State == model.QuestionOpen
		for _, ch := range q.Choices {
			if ch.Counts && (answered || !before[id+" "+ch.ID]) && s.accused(&q, ch.By) {
				s.t.Fatalf("%s is a subject of the case, and decides: %+v", ch.By, q)
			}
		}
	}
}

// accused tells whether a user is a subject of the case that a question is about.
func (s *wholeStory) accused(q *model.Question, user string) bool {
	of := q.Case
	if now, ok := s.tables.aliases[of]; ok && now != "" {
		of = now
	}
	for signal, id := range s.tables.members {
		if id == of && s.suspects[signal] == user {
			return true
		}
	}
	return false
}

// agreed: what isolates in earnest was chosen or approved by somebody, or those who were
// asked in earnest have kept silent.
func (s *wholeStory) agreed() {
	for id, in := range s.tables.intents {
		if s.planned[id] {
			continue
		}
		s.planned[id] = true
		cs := s.m.caseFirst(in.Case)
		if in.Verb != "isolate_host" || in.Undoes != "" || in.Preview || in.DryRun || cs == nil {
			continue
		}
		ok := slices.ContainsFunc(slices.Collect(maps.Values(s.tables.questions)), func(q model.Question) bool {
			if q.DryRun || !slices.Contains(cs.names, q.Case) || q.AcceptedAt.IsZero() && q.State == model.QuestionTimedOut {
				return false
			}
			if q.Kind == model.QuestionApproval {
				return q.State == model.QuestionAnswered && q.Choice == model.OptionApprove &&
					slices.ContainsFunc(q.Targets, func(t model.Target) bool { return t.Value == in.Target.Value })
			}
			return q.State == model.QuestionTimedOut || q.State == model.QuestionAnswered && q.Choice == "contain"
		})
		if !ok {
			s.t.Fatalf("nobody has agreed: %+v", in)
		}
	}
}

// ends lets everything come to its end.
func (s *wholeStory) ends() {
	s.config(s.text) // with actions "off" nobody else is asked
	s.give(model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "lee"}})
	for _, of := range []string{"pipeline.ids", "response.contain"} {
		s.give(model.Input{Command: &model.Command{Kind: model.ResumeOf, By: "lee", Of: of}})
	}
	for range 12 {
		s.tick(13 * time.Hour)
		s.tick(time.Second)
		for _, id := range s.waiting() {
			s.outcome(id, model.IntentDone)
		}
	}
	for _, q := range s.tables.questions {
		if q.Open() {
			s.t.Fatalf("it is open for ever: %+v", q)
		}
	}
	if len(s.m.open)+len(s.m.gathering) > 0 {
		s.t.Fatalf("%d are asked and %d wait to be told for ever", len(s.m.open), len(s.m.gathering))
	}
	for id, in := range s.tables.intents {
		if in.Undoes == "" && in.Hold == "" && !in.State.Final() {
			s.t.Fatalf("%s is never done: %+v", id, in)
		}
	}
}

// otherRows shows the rows that are not in both.
func otherRows(a, b string) string {
	var all []string
	was, is := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, line := range was {
		if !slices.Contains(is, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			all = append(all, "+ "+line)
		}
	}
	return strings.Join(all, "\n")
}

// TestEverythingTogether: whatever happens together and in whatever order, the same inputs
// give the same rows and the same memory, restarts or not, and the same rows with another
// memory and in groups that are committed beside the next; nothing isolates that nobody has
// agreed to, no subject decides, and everything that is asked or told has an end.
func TestEverythingTogether(t *testing.T) {
	isolated, choices, gathered := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		lateness := drawLateness(t)
		compile := within(Limits{}, lateness)
		if rapid.Bool().Draw(t, "little memory") {
			compile = within(drawLimits(t), lateness)
		}
		s := &wholeStory{
			askStory: &askStory{holdStory: &holdStory{t: t, compile: compile, m: New(compile), tables: newTables(), now: start, contained: map[string]containment{}}},
			reload:   rapid.Bool().Draw(t, "reload"), suspects: map[string]string{}, planned: map[string]bool{},
		}
		s.text = rapid.SampledFrom(wholeConfigs).Draw(t, "first")
		s.config(s.text)
		s.tick(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s.step()
		}
		s.ends()
		for _, in := range s.tables.intents {
			if in.Verb == "isolate_host" && !in.Preview && in.Undoes == "" {
				isolated++
			}
			gathered += in.Gathers
		}
		for _, q := range s.tables.questions {
			choices += len(q.Choices)
		}

		again, rows := New(compile), newTables()
		for i, p := range s.parts {
			apply(t, again, rows, p)
			if i%7 == 0 {
				rows.commit(again.Changes())
			}
		}
		rows.commit(again.Changes())
		if diff := otherRows(s.tables.dump(), rows.dump()); diff != "" {
			t.Fatalf("replayed: %s", diff)
		}
		if !bytes.Equal(snapshot(t, s.m), snapshot(t, again)) {
			t.Fatal("replayed, the memory is another")
		}

		store := &memoryStore{rows: newTables()}
		if _, err := loop(compile, &inputLog{messages: messages(t, s.parts)}, store, "", io.Discard); err != nil {
			t.Fatal(err)
		}
		if diff := otherRows(s.tables.dump(), store.rows.dump()); diff != "" {
			t.Fatalf("in groups: %s", diff)
		}

		if s.reload {
			return // another configuration looks anew only at what is in memory
		}
		other, rows := New(within(drawLimits(t), lateness)), newTables()
		for _, p := range s.parts {
			apply(t, other, rows, p)
		}
		rows.commit(other.Changes())
		if diff := otherRows(s.tables.dump(), rows.dump()); diff != "" {
			t.Fatalf("with another memory the rows are others: %s", diff)
		}
	})
	if isolated == 0 || choices == 0 || gathered == 0 {
		t.Errorf("%d isolates, %d choices, %d told with others", isolated, choices, gathered)
	}
}
