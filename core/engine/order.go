package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

// orderTimeout bounds the wait for decide; an order that was logged holds all the
// same.
const orderTimeout = 30 * time.Second

var errStopping = &api.Error{Code: http.StatusConflict, Text: "kelpie is stopping; give the order again when it has"}

// Order writes a person's command into INPUTS and waits until it is decided. Where
// Kelpie does not run, decide runs for as long as that takes. A command without an id
// gets one.
func (k *Kelpie) Order(ctx context.Context, c model.Command) error {
	if c.ID == "" {
		c.ID = rand.Text()
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	k.mu.Lock()
	f, stopping := k.running, k.stopping
	k.mu.Unlock()
	if stopping {
		return errStopping
	}
	if f != nil {
		seq, err := f.people.input(ctx, model.Input{Command: &c})
		if errors.Is(err, eventlog.ErrClosed) {
			return errStopping
		}
		if err != nil {
			return err
		}
		return k.decided(ctx, seq)
	}
	return k.orderAlone(ctx, c)
}

func (k *Kelpie) orderAlone(ctx context.Context, c model.Command) (err error) {
	if err := k.whole(); err != nil {
		return err
	}
	if err := k.fill(ctx); err != nil {
		return err
	}
	j, err := k.log.Joiner(ctx, "people")
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), joinerStop)
		defer cancel()
		err = errors.Join(err, j.Close(closing))
	}()
	seq, err := reporter{joiner: j, now: k.clock.now}.input(ctx, model.Input{Command: &c})
	if err != nil {
		return err
	}
	d := newDecider(k, func(decide.Changes) {})
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	deciding := start(context.WithoutCancel(ctx), fail, d.run)
	err = k.decided(failed, seq)
	if failed.Err() != nil && ctx.Err() == nil {
		err = nil // decide has failed, which tells why
	}
	return errors.Join(err, d.finish(deciding))
}

// decided waits until the store has an INPUTS message.
func (k *Kelpie) decided(ctx context.Context, seq uint64) error {
	t := time.NewTicker(lookInterval)
	defer t.Stop()
	for {
		at, err := k.store.Position(ctx)
		if err != nil {
			return err
		}
		if at.Seq >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the order is logged and not decided yet: %w", context.Cause(ctx))
		case <-t.C:
		}
	}
}

// Plugins that run; none if Kelpie does not.
func (k *Kelpie) Plugins() []host.Status {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.host.Status()
}

// Matching is how events are matched by the configuration in force; nil if Kelpie does not
// run.
func (k *Kelpie) Matching() *match.Settings {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f == nil {
		return nil
	}
	return &f.changes.generation().Config.Match
}

// Uses are what rules and pipelines have taken since the start; empty if Kelpie does not
// run.
func (k *Kelpie) Uses() []match.Use {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.meter.Uses()
}

// RestartPlugin starts one that has failed.
func (k *Kelpie) RestartPlugin(_ context.Context, name string) error {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f == nil {
		return &api.Error{Code: http.StatusConflict, Text: "kelpie is not running, and so no plugin is"}
	}
	return f.host.Restart(name)
}
