package engine

import (
	"context"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// decider runs decide over the log and the store.
type decider struct {
	k    *Kelpie
	wake func()
}

func newDecider(k *Kelpie, wake func()) *decider { return &decider{k: k, wake: wake} }

// finish lets decide come to the end of the log, as far as that is quick, and stops it.
func (d *decider) finish(s *stage) {
	ctx, cancel := context.WithTimeout(context.Background(), joinerStop)
	defer cancel()
	if d.k.log != nil {
		_ = d.caughtUp(ctx)
	}
	s.end()
}

// caughtUp waits until the store has all of INPUTS that there is now.
func (d *decider) caughtUp(ctx context.Context) error {
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
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

func (d *decider) run(ctx context.Context) error {
	at, err := d.k.store.Position(ctx)
	if err != nil {
		return err
	}
	reader, err := d.k.log.Inputs(ctx, 1)
	if err != nil {
		return err
	}
	defer reader.Close()
	m := decide.New(config.Compile)
	for {
		in, err := reader.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for i, part := range in.Parts {
			v, err := model.DecodeInput(part)
			if err != nil {
				return err
			}
			if err := m.Apply(in.Seq, i, v); err != nil {
				return err
			}
		}
		if reader.Ready() && m.Signals() < 512 {
			continue
		}
		c := m.Changes()
		if in.Seq <= at.Seq {
			continue
		}
		fault.Point(fault.InputsLogged)
		for {
			err := d.k.store.Commit(ctx, c)
			if err == nil {
				break
			}
			if !errors.Is(err, store.ErrFull) || ctx.Err() != nil {
				return err
			}
			time.Sleep(time.Second)
		}
		d.wake()
	}
}

func (k *Kelpie) trimmable(context.Context) (eventlog.Positions, error) {
	return eventlog.Positions{}, nil
}
