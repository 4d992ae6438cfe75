package engine

import (
	"context"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/store"
)

// claimingStore commits what decide changed together with the claims of what the
// responder has workers for, so that the way to a call has one wait for the disk less.
type claimingStore struct {
	*store.Store
	responder *respond.Responder
}

func (s claimingStore) Commit(ctx context.Context, c decide.Changes) error {
	reserved := s.responder.Reserve(c.Planned())
	written, err := s.CommitClaiming(ctx, c, reserved.Attempts())
	if err != nil {
		reserved.Release()
		return err
	}
	reserved.Carry(written)
	s.responder.Committed(c.Intents, c.Planned(), store.Place(c.Position))
	return nil
}
