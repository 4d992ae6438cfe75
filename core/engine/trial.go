package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/kelpie-sec/kelpie/core/match"
)

// trial is match's, with the mark in the store that tells a crash from a stop.
type trial struct {
	*match.Trial
	k      *Kelpie
	logger *slog.Logger
	begun  bool
}

// trialStop bounds the wait for a store that can't be written when all stops.
const trialStop = 2 * time.Second

// trial tells match whether the run before ended as it should. From begin to end a run
// counts as one that did not.
func (k *Kelpie) trial(ctx context.Context) (*trial, error) {
	before, err := k.store.Matching(ctx)
	if err != nil {
		return nil, err
	}
	return &trial{Trial: match.NewTrial(k.store, before, k.logger), k: k, logger: k.logger}, nil
}

// begin marks that something may be under way.
func (t *trial) begin(ctx context.Context) error {
	t.begun = true
	return t.k.store.SaveMatching(ctx, t.State(true))
}

// end marks a run that has ended as it should. Without room for the mark the next
// start is only more careful than it has to be.
func (t *trial) end() {
	if !t.begun {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), trialStop)
	defer cancel()
	if err := t.k.store.SaveMatching(ctx, t.State(false)); err != nil {
		t.logger.Warn("the end of this run can't be noted", "error", err)
	}
}
