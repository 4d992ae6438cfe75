package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// openLog opens the log, which needs not be read again below what was worked off.
func (k *Kelpie) openLog(ctx context.Context) error {
	s := k.settings
	needed, err := k.trimmable(ctx)
	if err != nil {
		return err
	}
	k.log, err = eventlog.Open(ctx, eventlog.Settings{
		Dir: filepath.Join(s.DataDir, logDir), Sync: s.Sync, SyncInterval: s.SyncInterval, Keep: s.Keep,
		EventsBytes: s.EventsBytes, InputsBytes: s.InputsBytes, RejectedBytes: s.RejectedBytes,
		RejectedQuota: s.RejectedQuota, Reserve: s.Reserve, Logger: s.Logger,
		Needed: needed, AcceptLoss: s.AcceptLoss,
	})
	if errors.Is(err, eventlog.ErrLost) {
		return k.damaged(ctx, err)
	}
	return err
}

// damaged says beside what is lost what that means, and what to do.
func (k *Kelpie) damaged(ctx context.Context, err error) error {
	at, positionErr := k.store.Position(ctx)
	flags, flagsErr := k.store.Flags(ctx)
	if positionErr != nil || flagsErr != nil {
		return errors.Join(err, positionErr, flagsErr)
	}
	return fmt.Errorf(`%w
What was decided stays: EVENTS up to %d, INPUTS up to %d. What is lost above
that, no rule or no case has seen.
Nothing was changed. Look at the disk. Put back a backup of the whole of
  %s
since the log, the database and the checkpoints belong together; or go on
without what is lost: "kelpie run --accept-loss"`, err, flags.Events.Low, at.Seq, k.settings.DataDir)
}

// rematch has match see again what it has answered for and decide does not know: its
// answers were lost. Decide passes over what it knows.
func (k *Kelpie) rematch(ctx context.Context, st eventlog.Stats, low uint64) error {
	if st.EventsAcked <= low {
		return nil
	}
	return k.log.Rematch(ctx, low+1)
}

// mostLosses is how many losses status lists.
const mostLosses = 5

func lossTroubles(all []eventlog.Damage) []api.Trouble {
	var troubles []api.Trouble
	for i, d := range all {
		if i == mostLosses {
			troubles = append(troubles, api.Trouble{What: fmt.Sprintf("the log has lost more: %d stretches in all", len(all))})
			break
		}
		troubles = append(troubles, api.Trouble{
			What: "the log has lost what it had acknowledged: " + d.String(),
			Do:   "look at the disk; a source that keeps its past can be read again with \"kelpie run --rewind\"",
		})
	}
	return troubles
}
