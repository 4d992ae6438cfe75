package sdk

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a source whose first Fetch comes back, and whose second never does, whatever
// its context says, until it is let go.
type stuck struct {
	calls int
	let   chan struct{}
}

func (s *stuck) Interval() time.Duration { return time.Minute }

func (s *stuck) Fetch(context.Context, []byte) (Page, error) {
	if s.calls++; s.calls > 1 {
		<-s.let
	}
	return Page{}, nil
}

func TestPulseOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(nil, 0, 0, &secrets{})
		s.pulse = 10 * time.Second
		out := pumped(t, s)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := len(out.said()); n != 7 { // the first status, and six signs of life
			t.Errorf("%d statuses in a minute, want 7", n)
		}
		s.livesUntil(time.Now().Add(25 * time.Second))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(out.said()) - 7; n != 2 {
			t.Errorf("%d signs of life of one that was to live for 25 s, want 2", n)
		}
		s.livesUntil(time.Time{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(out.said()) - 9; n < 6 {
			t.Errorf("%d signs of life in a minute of one that is alive again", n)
		}
	})
}

func TestNoPulseWhereNoneIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := pumped(t, newSession(nil, 0, 0, &secrets{}))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(out.said()); n != 1 {
			t.Errorf("%d statuses, want the first alone", n)
		}
	})
}

func TestStuckPollerGivesNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(nil, 0, 0, &secrets{})
		s.pulse = 10 * time.Second
		out := pumped(t, s)
		source := &stuck{let: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = (&poller{fetcher: source, log: slog.New(slog.DiscardHandler), livesUntil: s.livesUntil}).Detect(ctx, Start{}, s)
		}()
		time.Sleep(fetchLimit) // a slow source is none that is stuck
		synctest.Wait()
		if n := len(out.said()); n < 29 {
			t.Errorf("%d signs of life in %s", n, fetchLimit)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before := len(out.said())
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(out.said()) - before; n > 0 {
			t.Errorf("%d signs of life of a poller that is stuck", n)
		}
		close(source.let)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(out.said()) - before; n < 5 {
			t.Errorf("%d signs of life of one that goes on", n)
		}
		cancel()
		<-ended
	})
}
