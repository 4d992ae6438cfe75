package engine

import (
	"context"
	"errors"
	"time"
)

// stage is a part that runs until it is stopped, or fails.
type stage struct {
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
	err  error         // read after done
}

// start runs a stage. Its failure ends the run.
func start(ctx context.Context, fail context.CancelCauseFunc, run func(context.Context) error) *stage {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = run(ctx)
		if s.err != nil && ctx.Err() == nil {
			fail(s.err)
		}
	}()
	return s
}

// end stops stages, all at once, and waits for them. It returns why they failed,
// whenever that was; that they were told to stop is no failure.
func end(stages ...*stage) error {
	var errs []error
	for _, s := range stages {
		if s != nil {
			s.stop()
		}
	}
	for _, s := range stages {
		if s == nil {
			continue
		}
		if <-s.done; !errors.Is(s.err, context.Canceled) {
			errs = append(errs, s.err)
		}
	}
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
