package decide

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
)

// underway is a group that is being committed while the next one is applied.
type underway struct {
	changes Changes
	left    map[uint64]bool // hashes of what has left memory with it
	err     error           // set when done is closed
	done    chan struct{}
}

// commit writes the group. For want of room it tries again until ctx ends: decide
// waits, and so does everything before it.
func (l *Loop) commit(ctx context.Context) error {
	if err := l.handOver(ctx); err != nil {
		return err
	}
	return l.wait()
}

// handOver has the group written while the next one is applied. It waits for the one
// before it, since they are written in their order.
func (l *Loop) handOver(ctx context.Context) error {
	if err := l.wait(); err != nil {
		return err
	}
	if l.group == 0 || !l.machine.Position().After(l.committed) {
		return nil
	}
	// Of an input that is being applied in steps: without what is particular to it.
	u := &underway{changes: l.machine.Changes(), left: l.left, done: make(chan struct{})}
	l.left, l.away, l.group, l.under = map[uint64]bool{}, 0, 0, u
	fault.Point(fault.InputsLogged)
	go func() {
		defer close(u.done)
		u.err = l.write(ctx, u.changes)
	}()
	return nil
}

// wait until the group that is being committed is.
func (l *Loop) wait() error {
	u := l.under
	if u == nil {
		return nil
	}
	<-u.done
	if u.err != nil {
		return u.err
	}
	l.under, l.committed = nil, u.changes.Position
	return nil
}

func (l *Loop) write(ctx context.Context, c Changes) error {
	for told := false; ; {
		err := l.Store.Commit(ctx, c)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !l.Full(err) {
			return fmt.Errorf("commit of inputs to %d.%d: %w", c.Position.Seq, c.Position.Part, err)
		}
		if !told {
			l.Log.Error("what was decided can't be written; deciding waits until the disk takes it", "error", err)
			told = true
		}
		if err := l.pause(ctx); err != nil {
			return err
		}
	}
	l.Wake(c)
	return nil
}

func (l *Loop) pause(ctx context.Context) error {
	wait := l.Retry
	if wait == 0 {
		wait = defaultRetry
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// known has the store know all that is wanted: what may have left memory since its last
// commit is committed first.
func (l *Loop) known(ctx context.Context, w *Wanted) error {
	switch {
	case w.among(l.left):
		return l.commit(ctx)
	case l.under != nil && w.among(l.under.left):
		return l.wait()
	}
	return nil
}

// among tells whether some of what is wanted may be among what has left.
func (w *Wanted) among(left map[uint64]bool) bool {
	if len(left) == 0 {
		return false
	}
	if len(w.Intents)+len(w.Asks)+len(w.Questions) > 0 {
		return true // their hashes are not there
	}
	for _, ids := range [...][]string{w.Signals, w.Names, w.Plans} {
		if slices.ContainsFunc(ids, func(id string) bool { return left[hashOf(id)] }) {
			return true
		}
	}
	for _, o := range w.Lookups {
		if left[hashOf(o.Key())] {
			return true
		}
	}
	return slices.ContainsFunc(w.Values, func(hash uint64) bool { return left[hash] })
}

// backAlready are the rows of cases that are back in memory, which the store still has.
func (l *Loop) backAlready() []int64 {
	numbers := l.machine.changed.recalled
	if l.under != nil {
		numbers = slices.Concat(l.under.changes.Recalled, numbers)
	}
	return slices.Clone(numbers)
}
