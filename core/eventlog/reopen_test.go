package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Everything at once: two detectors, two workers that answer in INPUTS, a reader,
// a trimmer that leaves nothing lying about, and a log that is opened again and
// again meanwhile. Every batch reaches the reader, however often its session had
// to begin anew.
func TestFlowWhileTheLogIsReopened(t *testing.T) {
	const batches = 150
	set := small(t.TempDir())
	set.Keep = time.Nanosecond
	l := mustOpen(t, set)
	c := mustEvents(t, l)
	j := mustJoiner(t, l, "match")
	r := mustInputs(t, l, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	var wg sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		wg.Go(func() {
			if err := publishAll(ctx, l, name, batches); err != nil {
				t.Errorf("source %s: %v", name, err)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for {
				m, err := c.Next(ctx)
				if err != nil {
					return
				}
				part := ""
				if m.Count > 0 {
					part = fmt.Sprintf("%s %d", m.Instance, m.Total)
				}
				err = j.Add(ctx, []byte(part), func(_ uint64, err error) {
					if err != nil {
						_ = m.Nak()
					} else {
						_ = m.Ack() // what is lost comes again
					}
				})
				if err != nil {
					return
				}
			}
		})
	}
	var position, seen atomic.Uint64
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := l.Trim(ctx, Positions{Events: 1 << 40, Inputs: position.Load()})
			if errors.Is(err, ErrGap) || errors.Is(err, ErrDamaged) {
				t.Errorf("trim: %v", err)
			}
			time.Sleep(time.Millisecond) // it is a pace, not a wait
		}
	})
	wg.Go(func() {
		for n := uint64(1); n <= 3; n++ {
			for seen.Load() < n*batches/2 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := l.Reopen(context.WithoutCancel(ctx)); err != nil {
				t.Errorf("reopen: %v", err)
			}
		}
	})

	got := map[string]bool{}
	for len(got) < 2*batches {
		in, err := r.Next(ctx)
		if err != nil {
			t.Errorf("reader has %d batches: %v", len(got), err)
			break
		}
		for _, p := range in.Parts {
			if len(p) > 0 {
				got[string(p)] = true
			}
		}
		position.Store(in.Seq)
		seen.Store(uint64(len(got)))
	}
	cancel()
	c.Close()
	wg.Wait()
	for _, name := range []string{"a", "b"} {
		for total := 1; total <= batches; total++ {
			if !got[fmt.Sprintf("%s %d", name, total)] {
				t.Errorf("batch %d of %s is missing", total, name)
			}
		}
		if h, _, err := l.Last(t.Context(), name); err != nil || h.Total != batches {
			t.Errorf("last total of %s = %d, %v", name, h.Total, err)
		}
	}
}

// publishAll publishes until the source's total is n, as detect does: a session
// that cannot go on is followed by one from the log's cursor.
func publishAll(ctx context.Context, l *Log, name string, n uint64) error {
	for {
		s, err := l.Source(ctx, name)
		for err == nil {
			h := following(s, fmt.Sprintf("%s %d", name, s.Last().Total+1), 1)
			if h.Total > n {
				return nil
			}
			_, err = s.Publish(ctx, h, []byte(h.BatchID))
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return err
		}
	}
}
