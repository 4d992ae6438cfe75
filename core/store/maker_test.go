package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// TestMakers: who did what is held, or may have done what is pending, is needed; who was in
// force when an undo was claimed is not, nor is who was only asked what would be done.
func TestMakers(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	held, doubtful, failed, undo, dry := anIntent(1, "c-1", epoch0), anIntent(2, "c-1", epoch0), anIntent(3, "c-1", epoch0), anIntent(4, "c-1", epoch0), anIntent(5, "c-1", epoch0)
	undo.Undoes, dry.DryRun = held.ID, true
	mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: 1}, Intents: []model.Intent{held, doubtful, failed, undo, dry}}))
	if _, err := s.NextEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in    model.Intent
		maker string
		state model.IntentState
	}{
		{held, "first", model.IntentDone},
		{doubtful, "second", model.IntentUnknown},
		{failed, "third", model.IntentFailed},
		{undo, "fourth", model.IntentUnknown},
		{dry, "fifth", model.IntentUnknown},
	} {
		a := attempt(c.in.ID, 1, 1)
		a.Maker = respond.Maker{Instance: c.maker, Config: "then"}
		if err := s.Claim(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		a.State = c.state
		if err := s.SaveAttempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	held.State = model.IntentDone
	mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 2}, Intents: []model.Intent{held}, Holds: []model.Hold{
		{ID: "h-1", Action: held.Action, Intent: held.ID, State: model.HoldInForce, Since: epoch0},
	}})
	got, err := s.Makers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Maker{
		{held.Action, respond.Maker{Instance: "second", Config: "then"}}, {held.Action, respond.Maker{Instance: "first", Config: "then"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	called, err := s.Called(t.Context(), held.Action)
	if err != nil || len(called) != 3 {
		t.Errorf("called: %+v, %v", called, err)
	}
}
