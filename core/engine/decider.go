package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// checkpointDir holds decide's checkpoints.
const checkpointDir = "checkpoints"

// decider runs decide over the log and the store.
type decider struct {
	k    *Kelpie
	loop decide.Loop
}

// newDecider makes a decider; wake is told what was committed, and must not block.
func newDecider(k *Kelpie, wake func(decide.Changes)) *decider {
	return &decider{k: k, loop: decide.Loop{
		Compile: config.Compiler(k.tables.kept()),
		Open: func(ctx context.Context, from uint64) (decide.Inputs, error) {
			r, err := k.log.Inputs(ctx, from)
			if errors.Is(err, eventlog.ErrGap) {
				return nil, fmt.Errorf("%w; what came before was trimmed after a checkpoint, which is missing or damaged: put %s back as it was",
					err, filepath.Join(k.settings.DataDir, checkpointDir))
			}
			if err != nil {
				return nil, err
			}
			return decideInputs{r}, nil
		},
		End: func(ctx context.Context) (end uint64, err error) {
			err = k.patiently(ctx, k.logger, func() (err error) { end, err = k.log.InputsEnd(ctx); return err })
			return end, err
		},
		Store: k.store,
		Full: func(err error) bool {
			if !unwritable(err) {
				return false
			}
			k.unwritten.set(err)
			return true
		},
		Wake: func(c decide.Changes) {
			k.unwritten.clear()
			wake(c)
		},
		Dir: filepath.Join(k.settings.DataDir, checkpointDir),
		Log: k.logger,
	}}
}

// checkpointShare of INPUTS calls for a checkpoint: trimming begins when three
// quarters are full, and only what is below a checkpoint can go. So do checkpointBytes,
// which are what a start applies again: some forty thousand signals, a second's work. A
// memory that is larger is written as often as it is worth.
const (
	checkpointShare = 8
	checkpointBytes = 64 << 20
)

func (d *decider) run(ctx context.Context) error {
	var st eventlog.Stats
	err := d.k.patiently(ctx, d.k.logger, func() (err error) { st, err = d.k.log.Stats(ctx); return err })
	if err != nil {
		return err
	}
	d.loop.CheckpointMost = max(st.Inputs.MaxBytes/checkpointShare, 1)
	d.loop.CheckpointBytes = checkpointBytes
	return d.loop.Run(ctx)
}

// finish lets decide come to the end of the log, as far as that is quick, and stops it.
func (d *decider) finish(s *stage) error {
	ctx, cancel := context.WithTimeout(context.Background(), joinerStop)
	defer cancel()
	// What it does not come to now, it comes to after the next start; why it has failed,
	// the stage tells.
	_ = d.caughtUp(ctx, s)
	return end(s)
}

// caughtUp waits until the store has all of INPUTS that there is now, or deciding has
// ended.
func (d *decider) caughtUp(ctx context.Context, s *stage) error {
	end, err := d.k.log.InputsEnd(ctx)
	if err != nil {
		return err
	}
	t := time.NewTicker(lookInterval)
	defer t.Stop()
	for {
		at, err := d.k.store.Position(ctx)
		if err != nil {
			return err
		}
		if at.Seq >= end {
			return nil
		}
		select {
		case <-s.done:
			return s.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// decideInputs is INPUTS as decide sees it.
type decideInputs struct{ reader *eventlog.Reader }

func (i decideInputs) Next(ctx context.Context) (decide.Message, error) {
	in, err := i.reader.Next(ctx)
	if err == nil && len(in.Parts) == 0 {
		in.Parts = [][]byte{[]byte(lostInput)}
	}
	return decide.Message{Seq: in.Seq, Parts: in.Parts}, err
}

// lostInput stands for a message that a power cut has taken (see Kelpie.fill): no time
// passes and nothing is known.
const lostInput = `{"at":"0001-01-01T00:00:00Z","tick":{}}`

func (i decideInputs) Ready() bool { return i.reader.Ready() }
func (i decideInputs) Close()      { i.reader.Close() }

// trimmable says up to where neither the store nor the older of the two checkpoints
// needs the log: should the newer one be damaged, the start goes on from the older. Where
// there is hardly room, the newer one has to do.
func (k *Kelpie) trimmable(ctx context.Context, full bool) (eventlog.Positions, error) {
	at, err := k.store.Position(ctx)
	if err != nil {
		return eventlog.Positions{}, err
	}
	c, err := k.store.Checkpoint(ctx)
	if err != nil {
		return eventlog.Positions{}, err
	}
	flags, err := k.store.Flags(ctx)
	if err != nil {
		return eventlog.Positions{}, err
	}
	checkpoint := c.Before.Seq
	if full {
		checkpoint = c.Seq
	}
	// A message of which only some parts are committed is needed once more.
	return eventlog.Positions{Events: flags.Events.Low, Inputs: min(max(at.Seq, 1)-1, checkpoint)}, nil
}
