package decide

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// askStory draws what may happen to questions, in any order, on top of what happens to
// holds: choices that fit and that do not, by whatever road, deliveries, ticks, cases that
// come together and apart, configurations with and without the steps, restarts.
type askStory struct {
	*holdStory
	orders int
}

var askConfigs = []string{"base asks", "base asks", "base approves", "base asks narrow", "base asks dry", "base held"}

func (s *askStory) step() {
	t := s.t
	switch rapid.IntRange(0, 9).Draw(t, "what is asked") {
	case 0, 1:
		s.alert(rapid.IntRange(1, 2).Draw(t, "host"), rapid.IntRange(0, 7).Draw(t, "place"))
	case 2, 3, 4:
		var all []string
		for _, id := range slices.Sorted(maps.Keys(s.tables.intents)) {
			if in := s.tables.intents[id]; in.State == model.IntentPending || in.State == model.IntentUnknown {
				all = append(all, id)
			}
		}
		if len(all) > 0 {
			s.outcome(rapid.SampledFrom(all).Draw(t, "intent"), rapid.SampledFrom([]model.IntentState{
				model.IntentDone, model.IntentDone, model.IntentFailed, model.IntentRefused, model.IntentUnknown,
			}).Draw(t, "outcome"))
		}
	case 5, 6:
		s.choose()
	case 7:
		s.tick(time.Duration(rapid.IntRange(0, 25).Draw(t, "minutes")) * time.Minute)
	case 8:
		switch rapid.IntRange(0, 3).Draw(t, "upset") {
		case 0:
			s.restart()
		case 1:
			s.boot++
			s.uptime = 0
			s.now = s.now.Add(time.Duration(rapid.IntRange(-50, 50).Draw(t, "hours off")) * time.Hour)
			s.tick(time.Minute)
		case 2:
			s.config(rapid.SampledFrom(askConfigs).Draw(t, "config"))
		case 3:
			if c := drawDecision(t, s.m, len(s.parts)); c != nil {
				s.give(model.Input{Command: c})
			}
		}
	case 9:
		s.holdStory.step()
	}
}

// choose orders a choice, which may be wrong in any part.
func (s *askStory) choose() {
	if len(s.tables.questions) == 0 {
		return
	}
	t := s.t
	s.orders++
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(s.tables.questions))).Draw(t, "question")
	people := []string{"kim", "ann", "lee", "joe", "rik", "eve", "kim@example.org", "ann.c@example.org", "soc@example.org", ""}
	s.give(model.Input{Command: &model.Command{
		Kind: model.Choose, ID: fmt.Sprint("order-", s.orders-rapid.IntRange(0, 1).Draw(t, "again")), Question: id,
		By: rapid.SampledFrom(people).Draw(t, "who"), Address: rapid.SampledFrom(people).Draw(t, "where"),
		Option:  rapid.SampledFrom([]string{"contain", "ignore", "escalate", "not_mine", "approve", "approve", "refuse", "reboot"}).Draw(t, "option"),
		Because: rapid.SampledFrom([]string{"", "expected: so", "false_alarm", "duplicate"}).Draw(t, "reason"),
		Road:    rapid.SampledFrom([]model.Road{"", model.RoadLink, model.RoadAnswers, model.RoadCommand}).Draw(t, "road"),
	}})
}

// holds what must be true of questions, whatever has happened.
func (s *askStory) consistent(before map[string]model.Question) {
	t := s.t
	for id, q := range s.tables.questions {
		was, there := before[id]
		switch {
		case there && !was.Open() && (q.State != was.State || q.Choice != was.Choice || q.By != was.By || !q.ClosedAt.Equal(was.ClosedAt)):
			t.Fatalf("what was over goes on: %+v, then %+v", was, q)
		case q.State == model.QuestionTimedOut && q.AcceptedAt.IsZero():
			t.Fatalf("it reached nobody and timed out: %+v", q)
		case q.State == model.QuestionFailed && !q.AcceptedAt.IsZero():
			t.Fatalf("it reached somebody and failed: %+v", q)
		case q.Open() != (s.m.open[id] != nil):
			t.Fatalf("open is told otherwise: %+v", q)
		case q.Level > len(q.Levels):
			t.Fatalf("at level %d: %+v", q.Level, q)
		}
		s.chosen(&q)
		if q.Open() && s.m.caseOf(s.m.open[id]) == nil {
			t.Fatalf("the case of an open question has left: %+v", q)
		}
	}
	for _, in := range s.tables.intents {
		if in.Verb != "isolate_host" || in.Undoes != "" || in.Preview || in.ChosenBy == "" {
			continue
		}
		chosen := slices.ContainsFunc(slices.Collect(maps.Values(s.tables.questions)), func(q model.Question) bool {
			return q.State == model.QuestionAnswered && q.By == in.ChosenBy && (q.Choice == "contain" || q.Choice == model.OptionApprove)
		})
		if !chosen {
			t.Fatalf("%s has not chosen %+v", in.ChosenBy, in)
		}
	}
}

// chosen holds the choices of a question against what it came to.
func (s *askStory) chosen(q *model.Question) {
	counting, approvals, refused := map[string]bool{}, 0, 0
	for _, ch := range q.Choices {
		switch {
		case !ch.Counts && ch.Why == "":
			s.t.Fatalf("nobody knows why it does not count: %+v", ch)
		case !ch.Counts:
			refused++
			continue
		case counting[ch.By]:
			s.t.Fatalf("%s counts twice: %+v", ch.By, q)
		}
		counting[ch.By] = true
		if ch.Option == model.OptionApprove {
			approvals++
		}
	}
	switch {
	case q.State == model.QuestionAnswered && !counting[q.By]:
		s.t.Fatalf("%s answered and did not: %+v", q.By, q)
	case q.State == model.QuestionAnswered && q.Choice == model.OptionApprove && approvals < q.People:
		s.t.Fatalf("%d of %d have approved: %+v", approvals, q.People, q)
	case refused > model.MostRefused:
		s.t.Fatalf("%d choices that do not count are kept", refused)
	}
}

// TestQuestionsInAnyOrder: whatever comes, and whatever restarts, the same inputs give the
// same rows and the same memory, and the same rows with another; what is over stays so; nothing times out that reached
// nobody; and nobody counts twice.
func TestQuestionsInAnyOrder(t *testing.T) {
	seen := map[model.QuestionState]int{}
	rapid.Check(t, func(t *rapid.T) {
		lateness := drawLateness(t)
		compile := within(Limits{}, lateness)
		if rapid.Bool().Draw(t, "little memory") {
			compile = within(drawLimits(t), lateness)
		}
		s := &askStory{holdStory: &holdStory{t: t, compile: compile, m: New(compile), tables: newTables(), now: start, contained: map[string]containment{}}}
		s.config(rapid.SampledFrom(askConfigs[:3]).Draw(t, "first"))
		s.tick(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := maps.Clone(s.tables.questions)
			s.step()
			s.consistent(before)
		}
		for _, q := range s.tables.questions {
			seen[q.State]++
		}
		again, rows := New(compile), newTables()
		for i, p := range s.parts {
			apply(t, again, rows, p)
			if i%7 == 0 {
				rows.commit(again.Changes())
			}
		}
		rows.commit(again.Changes())
		if diff := cmp.Diff(s.tables.dump(), rows.dump()); diff != "" {
			t.Fatalf("replayed: %s", diff)
		}
		if !bytes.Equal(snapshot(t, s.m), snapshot(t, again)) {
			t.Fatal("replayed, the memory is another")
		}
		configs := 0
		for _, p := range s.parts {
			if p.in.Config != nil {
				configs++
			}
		}
		if configs > 1 {
			return // another configuration looks anew only at what is in memory
		}
		other, rows := New(within(drawLimits(t), lateness)), newTables()
		for _, p := range s.parts {
			apply(t, other, rows, p)
		}
		rows.commit(other.Changes())
		if diff := cmp.Diff(s.tables.dump(), rows.dump()); diff != "" {
			t.Fatalf("with another memory the rows are others: %s", diff)
		}
	})
	for _, state := range []model.QuestionState{
		model.QuestionOpen, model.QuestionAnswered, model.QuestionTimedOut, model.QuestionFailed, model.QuestionWithdrawn,
	} {
		if seen[state] == 0 {
			t.Errorf("no story has a question that is %s", state)
		}
	}
}
