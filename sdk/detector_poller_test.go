package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// fetches is a Fetcher that follows a script, and notes when it is asked for what.
type fetches struct {
	script func(n int, cursor string) (Page, error)
	asked  []string
	at     []time.Time
}

func (f *fetches) Interval() time.Duration { return 10 * time.Second }

func (f *fetches) Fetch(ctx context.Context, cursor []byte) (Page, error) {
	if _, ok := ctx.Deadline(); !ok {
		return Page{}, errors.New("no deadline")
	}
	f.asked, f.at = append(f.asked, string(cursor)), append(f.at, time.Now())
	return f.script(len(f.asked), string(cursor))
}

// sends is a Sender that takes everything.
type sends struct {
	sent     []string
	statuses []string
}

func (s *sends) Send(_ context.Context, events []Event, cursor []byte) (Receipt, error) {
	s.sent = append(s.sent, fmt.Sprintf("%d to %s", len(events), cursor))
	return newReceipt(), nil
}

func (s *sends) Status(trouble error, behind int64, _ string) {
	s.statuses = append(s.statuses, fmt.Sprint(trouble, " ", behind))
}

// poll runs a poller until it returns or so much (fake) time has passed.
func poll(t *testing.T, start Start, limit time.Duration, script func(int, string) (Page, error)) (*fetches, *sends, error) {
	t.Helper()
	f, out := &fetches{script: script}, &sends{}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := (&poller{fetcher: f, log: slog.New(slog.DiscardHandler), livesUntil: func(time.Time) {}}).Detect(ctx, start, out)
	return f, out, err
}

func TestPollerFollowsPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, out, err := poll(t, Start{Cursor: []byte("0")}, 25*time.Second, func(n int, cursor string) (Page, error) {
			switch n {
			case 1, 2:
				return Page{Events: numbered(0, 2), Cursor: []byte(fmt.Sprint(n)), More: true, Behind: 7}, nil
			case 3:
				return Page{Events: numbered(0, 1), Cursor: []byte("3")}, nil
			}
			return Page{Cursor: []byte("3")}, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
		if want := []string{"0", "1", "2", "3", "3"}; !slices.Equal(f.asked, want) {
			t.Errorf("asked from %v, want %v", f.asked, want)
		}
		if want := []string{"2 to 1", "2 to 2", "1 to 3"}; !slices.Equal(out.sent, want) {
			t.Errorf("sent %v, want %v", out.sent, want)
		}
		if got := f.at[2].Sub(f.at[0]); got != 0 {
			t.Errorf("with more, it waited %v", got)
		}
		if got := f.at[3].Sub(f.at[2]); got < 9*time.Second || got > 11*time.Second {
			t.Errorf("without more, it waited %v, want about 10s", got)
		}
	})
}

func TestPollerWaitsAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, out, _ := poll(t, Start{}, 2*time.Hour, func(n int, _ string) (Page, error) {
			switch {
			case n == 1:
				return Page{}, &Error{Reason: Retry, Fault: FaultVendor, RetryAfter: time.Minute, Err: errors.New("busy")}
			case n < 15:
				return Page{}, errors.New("down")
			}
			return Page{}, nil
		})
		if got := f.at[1].Sub(f.at[0]); got < time.Minute || got > 66*time.Second {
			t.Errorf("after retry-after it waited %v", got)
		}
		for n := 2; n < 14; n++ { // the failure n+1 has a wait of 2^n s, at least half of it, at most 5 min
			full := min(time.Second<<n, backoffLast)
			if got := f.at[n+1].Sub(f.at[n]); got < full/2 || got > full {
				t.Errorf("after failure %d it waited %v, want %v to %v", n+1, got, full/2, full)
			}
		}
		if out.statuses[0] != "busy 0" || out.statuses[1] != "down 0" || out.statuses[14] != "<nil> 0" {
			t.Errorf("statuses %v", out.statuses)
		}
		if len(out.sent) > 0 {
			t.Errorf("sent %v", out.sent)
		}
	})
}

func TestPollerOnce(t *testing.T) {
	for name, c := range map[string]struct {
		script func(int, string) (Page, error)
		asked  int
		fails  bool
	}{
		"ends": {func(n int, _ string) (Page, error) {
			return Page{Events: numbered(0, 1), Cursor: []byte(fmt.Sprint(n)), More: n < 3}, nil
		}, 3, false},
		"is denied": {func(int, string) (Page, error) {
			return Page{}, &Error{Reason: Denied, Err: errors.New("no")}
		}, 1, true},
		"fails now and then": {func(n int, _ string) (Page, error) {
			if n < 3 {
				return Page{}, errors.New("no")
			}
			return Page{}, nil
		}, 3, false},
		"fails": {func(int, string) (Page, error) { return Page{}, errors.New("no") }, onceTries, true},
		"is to wait long": {func(int, string) (Page, error) {
			return Page{}, &Error{Reason: Retry, RetryAfter: time.Hour, Err: errors.New("no")}
		}, 1, true},
		"says more for ever": {func(int, string) (Page, error) { return Page{More: true}, nil }, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, err := poll(t, Start{Once: true}, 24*time.Hour, c.script)
				if (err != nil) != c.fails || errors.Is(err, context.DeadlineExceeded) || len(f.asked) != c.asked {
					t.Errorf("asked %d times and returned %v", len(f.asked), err)
				}
			})
		})
	}
}

func TestPollerDoesNotSpinOnAStuckSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := poll(t, Start{}, time.Minute, func(int, string) (Page, error) { return Page{More: true}, nil })
		if n := len(f.asked); n < 5 || n > 8 {
			t.Errorf("asked %d times in a minute, want one each ten seconds", n)
		}
	})
}

func TestPollerIsCancelledWhileItFetches(t *testing.T) {
	f := &fetches{}
	ctx, cancel := context.WithCancel(t.Context())
	f.script = func(int, string) (Page, error) {
		cancel()
		return Page{}, errors.New("cancelled")
	}
	out := &sends{}
	err := (&poller{fetcher: f, log: slog.New(slog.DiscardHandler), livesUntil: func(time.Time) {}}).Detect(ctx, Start{}, out)
	if !errors.Is(err, context.Canceled) || len(out.statuses) > 0 {
		t.Errorf("%v with %v", err, out.statuses)
	}
}

// fetchingInstance is a Fetcher behind the contract.
type fetchingInstance struct {
	config fakeConfig
	pages  int
}

func (f *fetchingInstance) Config() any             { return &f.config }
func (f *fetchingInstance) Interval() time.Duration { return f.config.Every }

func (f *fetchingInstance) Fetch(_ context.Context, cursor []byte) (Page, error) {
	n := len(cursor)
	return Page{Events: numbered(n, 1), Cursor: append(cursor, 'x'), More: n+1 < f.pages}, nil
}

func TestFetcherBehindTheContract(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance { return &fetchingInstance{pages: 3} }))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{Once: true})
	c.credit(10)
	n := 0
	for {
		b := c.batch()
		if n += len(b.GetEvents()); string(b.GetCursor()) == "xxx" {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}
