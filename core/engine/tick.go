package engine

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

const (
	// tickInterval is how often decide is told the time when nothing is due.
	tickInterval = time.Minute
	// tickSpacing is the least time between two ticks, and the most that a hold outlasts
	// its time by.
	tickSpacing = 200 * time.Millisecond
	// tickRetry is the pause when the log takes no tick.
	tickRetry = time.Second
)

// processUptime stands in where the machine's own is not known: each process counts as
// a life of the machine.
func processUptime() func() (boot string, uptime time.Duration) {
	boot, began := "process-"+rand.Text(), time.Now()
	return func() (string, time.Duration) { return boot, time.Since(began) }
}

// dueAfter tells the ticker when the next tick is wanted, counted from the last; nil: when
// it comes. It does not block.
func (f *flow) dueAfter(due *time.Duration) {
	if due == nil {
		return
	}
	select {
	case <-f.due: // what was wanted before is out of date
	default:
	}
	select {
	case f.due <- *due:
	default:
	}
}

// tick passes time to decide: at once, then every minute, and whenever a hold's time has
// begun or is over.
func (f *flow) tick(ctx context.Context) error {
	next := time.NewTimer(0)
	defer next.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case due := <-f.due:
			if wait := max(due, tickSpacing) - time.Since(last); wait < tickInterval-time.Since(last) {
				next.Reset(max(wait, 0))
			}
			continue
		case <-next.C:
		}
		last = time.Now()
		next.Reset(tickInterval)
		if _, err := f.people.input(ctx, model.Input{Tick: f.k.tick()}); err != nil && ctx.Err() == nil {
			f.logger.Warn("time can't be told to the log; trying again", "error", err)
			next.Reset(tickRetry)
		}
	}
}

// tick is the time by all clocks there are.
func (k *Kelpie) tick() *model.Tick {
	boot, uptime := k.uptime()
	return &model.Tick{Boot: boot, Uptime: uptime, Wall: k.clock.machine().UTC()}
}
