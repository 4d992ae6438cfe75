package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
)

const (
	lookInterval     = 50 * time.Millisecond
	progressInterval = 250 * time.Millisecond
)

// ErrUnread means that a source could not be read to its end.
var ErrUnread = errors.New("not read to its end")

// wait returns when the run is to be stopped: when ctx ends or, with Once, when all
// work is done.
func (f *flow) wait(ctx context.Context, detecting *stage) error {
	if !f.options.Once {
		<-ctx.Done()
		return nil
	}
	if err := f.until(ctx, func() (bool, error) {
		select {
		case <-detecting.done:
			return true, nil
		default:
			return false, nil
		}
	}); err != nil {
		return err
	}
	if err := f.until(ctx, func() (bool, error) {
		st, err := f.k.log.Stats(ctx)
		return err == nil && st.Waiting == 0, nil // a sick log is opened again
	}); err != nil {
		return err
	}
	if _, err := f.people.input(ctx, model.Input{Ended: &model.Ended{}}); err != nil {
		return err
	}
	if err := f.until(ctx, func() (bool, error) { return f.settled(ctx) }); err != nil {
		return err
	}
	return f.unread()
}

// settled tells whether everything in the log is decided, and nothing that was
// decided waits. Steps that are paused do not count.
func (f *flow) settled(ctx context.Context) (bool, error) {
	end, err := f.k.log.InputsEnd(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // a sick log is opened again
	}
	at, err := f.k.store.Position(ctx)
	if err != nil || at.Seq < end {
		return false, err
	}
	c, err := f.k.store.Counts(ctx)
	if err != nil {
		return false, err
	}
	flags, err := f.k.store.Flags(ctx)
	if err != nil {
		return false, err
	}
	if c.IntentsPending > 0 && !flags.Paused {
		return false, nil
	}
	return c.AsksPending == 0 || f.unasked(ctx), nil
}

// unasked tells whether all pending lookups are of enrichments that the configuration
// has no more: nobody answers them, and no decision waits for them.
func (f *flow) unasked(ctx context.Context) bool {
	for _, s := range f.enricher.Settings.Sources {
		asks, err := f.k.store.PendingAsks(ctx, s.Address, enrich.Place{}, 1)
		if err != nil || len(asks) > 0 {
			return false
		}
	}
	return true
}

// unread names the sources that did not come to their end.
func (f *flow) unread() error {
	var all []string
	for _, r := range f.detector.Reports() {
		if r.State != detect.Ended {
			all = append(all, r.Instance+" ("+r.Message+")")
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnread, strings.Join(all, ", "))
}

// until looks again and again, tells the progress meanwhile, and returns when done
// says so or ctx ends.
func (f *flow) until(ctx context.Context, done func() (bool, error)) error {
	t := time.NewTicker(lookInterval)
	defer t.Stop()
	var told time.Time
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if now := time.Now(); now.Sub(told) >= progressInterval {
			f.progress(ctx)
			told = now
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

func (f *flow) progress(ctx context.Context) {
	if f.options.Progress == nil {
		return
	}
	var p Progress
	for _, r := range f.detector.Reports() {
		p.Sources++
		p.Events += r.Total
		if r.State == detect.Ended {
			p.Ended++
		}
	}
	if st, err := f.k.log.Stats(ctx); err == nil {
		p.Unmatched = st.Waiting
	}
	if c, err := f.k.store.Counts(ctx); err == nil {
		p.Answers, p.Steps = c.AsksPending, c.IntentsPending
	}
	f.options.Progress(p)
}
