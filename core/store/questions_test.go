package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func aQuestion(n int, of string, state model.QuestionState, asked ...string) model.Question {
	q := model.Question{
		ID: model.QuestionID(of, "response.ask", "ask", n), Kind: model.QuestionChoice, Case: of, Response: "response.ask", Step: "ask",
		Round: n, State: state, OpenedAt: epoch0.Add(time.Duration(n) * time.Minute), Wait: 20 * time.Minute,
		Options: []model.Option{{Name: "ignore", NeedsReason: true}, {Name: "contain", Run: []string{"isolate"}}},
		Levels:  []model.Level{{To: asked}},
	}
	for _, a := range asked {
		q.Asked = append(q.Asked, model.Asked{Address: a, At: q.OpenedAt})
	}
	return q
}

// TestQuestions are found by id, case, state and address, and brought back with their case.
func TestQuestions(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	first := aQuestion(1, "c-1", model.QuestionOpen, "Kim@example.org", "ann@example.org")
	second := aQuestion(2, "c-2", model.QuestionAnswered, "kim@example.org")
	third := aQuestion(3, "c-1", model.QuestionTimedOut, "soc@example.org")
	mustCommit(t, s, decide.Changes{
		Position:  decide.Position{Seq: 1},
		Cases:     []model.Case{{ID: "c-1", FirstID: "c-1", State: model.CaseOpen}, {ID: "c-2", FirstID: "c-2", State: model.CaseOpen}},
		Settled:   []decide.Settled{{Case: "c-2", Doc: []byte("doc")}},
		Questions: []model.Question{first, second, third},
	})
	closed := first
	closed.State, closed.Choice, closed.By = model.QuestionAnswered, "contain", "kim"
	ids := func(all []model.Question, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, q := range all {
			text += fmt.Sprint(q.Round)
		}
		return text
	}
	ctx := t.Context()
	for name, c := range map[string]struct {
		got  string
		want string
	}{
		"all":         {ids(s.Questions(ctx, QuestionQuery{})), "123"},
		"a page":      {ids(s.Questions(ctx, QuestionQuery{Limit: 1})), "1"},
		"the rest":    {ids(s.Questions(ctx, QuestionQuery{After: first.ID})), "23"},
		"open":        {ids(s.Questions(ctx, QuestionQuery{State: model.QuestionOpen})), "1"},
		"answered":    {ids(s.Questions(ctx, QuestionQuery{State: model.QuestionAnswered})), "2"},
		"to somebody": {ids(s.Questions(ctx, QuestionQuery{Address: "KIM@example.org"})), "21"},
		"to nobody":   {ids(s.Questions(ctx, QuestionQuery{Address: "kim"})), ""},
		"of a case":   {ids(s.CaseQuestions(ctx, []string{"c-1", "c-0"})), "13"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 2}, Questions: []model.Question{closed}})
	got, err := s.Question(ctx, first.ID)
	if diff := cmp.Diff(closed, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if open := ids(s.Questions(ctx, QuestionQuery{State: model.QuestionOpen})); open != "" {
		t.Errorf("%q is open", open)
	}
	if _, err := s.Question(ctx, "q-0"); !errors.Is(err, ErrNotFound) {
		t.Errorf("err = %v", err)
	}
	if _, err := s.Questions(ctx, QuestionQuery{After: "q-0"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("err = %v", err)
	}
	found, err := s.FindQuestions(ctx, first.ID[:8], 8)
	if err != nil || len(found) != 1 || found[0] != first.ID {
		t.Errorf("found %v, %v", found, err)
	}
	back, err := s.Recall(ctx, decide.Wanted{Questions: []string{second.ID, "q-0"}})
	if err != nil || len(back.Cases) != 1 || string(back.Cases[0].Doc) != "doc" {
		t.Errorf("brought back %+v, %v", back, err)
	}
}
