package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestCountsFollowTheCases: how many cases there are, and how many of their signals
// wait, follows from the rows, however these change.
func TestCountsFollowTheCases(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	r := rand.New(rand.NewPCG(1, 2))
	all := map[string]model.Case{}
	for i := range 200 {
		c := decide.Changes{Position: decide.Position{Seq: uint64(i + 1)}}
		for range r.IntN(4) {
			k := model.Case{ID: fmt.Sprint("c-", r.IntN(30)), State: model.CaseOpen, Size: 1 + r.IntN(5), Pending: r.IntN(2)}
			if r.IntN(3) == 0 {
				k = model.Case{ID: k.ID, State: model.CaseMerged}
			}
			all[k.ID] = k
			c.Cases = append(c.Cases, k)
		}
		mustCommit(t, s, c)
		cases, waiting := 0, 0
		for _, k := range all {
			if k.State == model.CaseMerged {
				continue
			}
			cases++
			if k.Pending > 0 {
				waiting += k.Size
			}
		}
		if got, err := s.Counts(t.Context()); err != nil || got.Cases != cases || got.SignalsWaiting != waiting {
			t.Fatalf("after %d: %d cases, %d signals wait, want %d, %d: %v", i, got.Cases, got.SignalsWaiting, cases, waiting, err)
		}
	}
}

func TestAccount(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	empty, err := s.Account(t.Context(), time.Time{})
	if err != nil || empty.Sources != nil || empty.Hours != nil || empty.Checkpoint != 0 || empty.Position != (decide.Position{}) {
		t.Errorf("of nothing: %+v, %v", empty, err)
	}
	row := func(source string, hour int, n uint64) decide.Ledger {
		return decide.Ledger{Source: source, Hour: epoch0.Add(time.Duration(hour) * time.Hour), Tally: decide.Tally{Received: n, Passed: n}}
	}
	c := decide.Changes{
		Position: decide.Position{Seq: 7, Part: 2}, At: epoch0.Add(5 * time.Hour),
		Flags:  &decide.Flags{Events: decide.Spans{Low: 3, Above: []decide.Span{{From: 5, To: 9}}}},
		Ledger: []decide.Ledger{row("detector.b", 0, 1), row("detector.b", 3, 2), row("detector.a", 3, 4), row("detector.a", 5, 8)},
		Sources: []decide.SourceState{
			{Source: "detector.b", Total: 3, Counted: 3, Events: decide.Spans{Low: 3}, Sum: decide.Tally{Received: 3, Passed: 3}},
			{Source: "detector.a", Total: 12, Counted: 12, Events: decide.Spans{Low: 12}, Sum: decide.Tally{Received: 12, Passed: 12}},
		},
		Sums: &decide.Sums{
			Asks:    map[model.AnswerState]uint64{model.Pending: 2, model.Failed: 3, model.Known: 4},
			Intents: map[model.IntentState]uint64{model.IntentDone: 5, model.IntentAlready: 6, model.IntentUnknown: 7},
		},
	}
	mustCommit(t, s, c)
	if err := s.SaveCheckpoint(t.Context(), decide.Checkpoint{File: "f", Seq: 6}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Account(t.Context(), epoch0.Add(3*time.Hour+59*time.Minute)) // an hour is whole, or not there
	if err != nil {
		t.Fatal(err)
	}
	want := Account{
		Position: c.Position, At: c.At, Flags: *c.Flags, Checkpoint: 6,
		Sources: []decide.SourceState{c.Sources[1], c.Sources[0]},
		Hours:   []decide.Ledger{c.Ledger[2], c.Ledger[3], c.Ledger[1]},
		Counts: Counts{
			AsksPending: 2, AsksFailed: 3, IntentsUnknown: 7, IntentsDone: 11,
			Intents: map[model.IntentState]uint64{model.IntentDone: 5, model.IntentAlready: 6, model.IntentUnknown: 7},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all, err := s.Account(t.Context(), time.Time{}); err != nil || len(all.Hours) != 4 {
		t.Errorf("%d hours, %v", len(all.Hours), err)
	}
}
