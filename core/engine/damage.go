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
	needed, err := k.trimmable(ctx, false)
	if err != nil {
		return err
	}
	k.log, err = eventlog.Open(ctx, eventlog.Settings{
		Dir: filepath.Join(s.DataDir, logDir), Sync: s.Sync, SyncInterval: s.SyncInterval, Keep: s.Keep,
		EventsBytes: s.EventsBytes, InputsBytes: s.InputsBytes, RejectedBytes: s.RejectedBytes,
		RejectedQuota: s.RejectedQuota, Reserve: s.Reserve, Logger: s.Logger,
		Needed: needed, AcceptLoss: s.AcceptLoss, Look: s.Look,
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

// resume brings EVENTS in step with what is decided, when all of INPUTS is: no sequence
// and no event's number is given twice, and what match has answered for and decide does
// not know comes again.
func (k *Kelpie) resume(ctx context.Context) error {
	flags, err := k.store.Flags(ctx)
	if err != nil {
		return err
	}
	sources, err := k.store.Sources(ctx)
	if err != nil {
		return err
	}
	if _, err := k.log.Fill(ctx, eventlog.Positions{Events: flags.Events.High()}); err != nil {
		return err
	}
	for _, s := range sources {
		was, err := k.log.Advance(ctx, s.Source, s.Total)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Source, err)
		}
		if was < s.Total {
			k.logger.Error("the log has lost the end of a source; it goes on from the last batch that is left, and its events are counted on",
				"source", s.Source, "events_in_log", was, "events_decided", s.Total)
		}
	}
	st, err := k.log.Stats(ctx)
	if err != nil {
		return err
	}
	return k.rematch(ctx, st, flags.Events.Low)
}

// rematch has match see again what it has answered for and decide does not know: its
// answers were lost. Decide passes over what it knows.
func (k *Kelpie) rematch(ctx context.Context, st eventlog.Stats, low uint64) error {
	if st.EventsAcked <= low {
		return nil
	}
	return k.log.Rematch(ctx, low+1)
}

// whole refuses to write into a log that was opened to be looked at, and has lost
// something.
func (k *Kelpie) whole() error {
	if lost := k.log.Lost(); k.settings.Look && len(lost) > 0 {
		return k.damaged(context.Background(), &eventlog.DamageError{Dir: filepath.Join(k.settings.DataDir, logDir), Damages: lost})
	}
	return nil
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
