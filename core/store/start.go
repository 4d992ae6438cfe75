package store

import (
	"context"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/match"
)

// metaMatching holds match.State.
const metaMatching = "matching"

// At is decide's time at the last commit; zero before the first.
func (s *Store) At(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := s.getMeta(ctx, metaAt, &at)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return at, err
}

// Matching is what the run before left of matching; the zero value before the first.
func (s *Store) Matching(ctx context.Context) (match.State, error) {
	var state match.State
	err := s.getMeta(ctx, metaMatching, &state)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return state, err
}

// SaveMatching replaces it; durable when it returns.
func (s *Store) SaveMatching(ctx context.Context, state match.State) error {
	return s.transact(ctx, func(w *writer) error {
		w.meta(metaMatching, state)
		return nil
	})
}
