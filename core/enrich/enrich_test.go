package enrich

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestSingleFlightAndCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		v := &vendor{answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			time.Sleep(time.Second)
			return known(asks), nil
		}}
		d.ask(feed, "10.0.0.1", "10.0.0.1")
		g := begin(t, d, v, source(nil))
		synctest.Wait()
		d.ask(feed, "10.0.0.1", "10.0.0.2") // during the call
		g.Wake()
		time.Sleep(3 * time.Second)
		d.ask(feed, "10.0.0.1") // from the cache
		g.Wake()
		synctest.Wait()
		g.stop()
		want := map[string]string{"a-0": "known", "a-1": "known", "a-2": "known", "a-3": "known", "a-4": "known"}
		if diff := cmp.Diff(want, d.states()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([][]string{{"10.0.0.1"}, {"10.0.0.2"}}, v.calls); diff != "" {
			t.Error(diff)
		}
		if r := d.of("a-4")[0]; !r.AnsweredAt.Equal(d.of("a-0")[0].AnsweredAt) || !r.Expires.Equal(r.AnsweredAt.Add(time.Hour)) {
			t.Errorf("a cached answer has another time: %+v", r)
		}
		if s := g.Stats()[0]; s.Hits != 1 || s.Calls != 2 || s.Waiting != 0 {
			t.Errorf("stats %+v", s)
		}
		// A restart keeps what was paid for.
		g = begin(t, d, v, source(nil))
		d.ask(feed, "10.0.0.2")
		g.Wake()
		synctest.Wait()
		g.stop()
		if v.count() != 2 || d.states()["a-5"] != "known" {
			t.Errorf("%d calls, want 2; %v", v.count(), d.states())
		}
	})
}

// TestLifetime: what a source has nothing about is asked again earlier than what it
// knows, and an answer's own lifetime goes before the source's.
func TestLifetime(t *testing.T) {
	benign := &model.Verdict{Disposition: sdk.Benign}
	bad := &model.Verdict{Disposition: sdk.Malicious}
	for name, c := range map[string]struct {
		answer Answer
		state  model.AnswerState
		ttl    time.Duration
	}{
		"nothing":                 {Answer{}, model.Unknown, time.Minute},
		"nothing, for long":       {Answer{TTL: 2 * time.Hour}, model.Unknown, time.Minute},
		"nothing, for a moment":   {Answer{TTL: time.Second}, model.Unknown, time.Second},
		"an asset":                {Answer{Answers: []model.Answer{{Asset: &model.Asset{}}}}, model.Known, time.Hour},
		"an asset, for long":      {Answer{Answers: []model.Answer{{Asset: &model.Asset{}}}, TTL: 9 * time.Hour}, model.Known, 9 * time.Hour},
		"benign":                  {Answer{Answers: []model.Answer{{Verdict: benign}}}, model.Clean, time.Hour},
		"benign, and a network":   {Answer{Answers: []model.Answer{{Verdict: benign}, {Network: &model.Network{}}}}, model.Clean, time.Hour},
		"benign to one of two":    {Answer{Answers: []model.Answer{{Verdict: benign}, {Verdict: bad}}}, model.Known, time.Hour},
		"only other observables":  {Answer{Found: []model.Found{{}}}, model.Known, time.Hour},
		"only another name of it": {Answer{Aliases: []sdk.Observable{{}}}, model.Known, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				v := &vendor{answer: func(context.Context, int, []model.Ask) ([]Answer, error) { return []Answer{c.answer}, nil }}
				d.ask(feed, "10.0.0.1")
				g := begin(t, d, v, source(nil))
				synctest.Wait()
				r := d.of("a-0")[0]
				if r.State != c.state || time.Until(r.Expires) != c.ttl {
					t.Errorf("%s for %v, want %s for %v", r.State, time.Until(r.Expires), c.state, c.ttl)
				}
				time.Sleep(c.ttl - time.Millisecond)
				d.ask(feed, "10.0.0.1")
				g.Wake()
				synctest.Wait()
				before := v.count()
				time.Sleep(time.Millisecond)
				d.ask(feed, "10.0.0.1")
				g.Wake()
				synctest.Wait()
				g.stop()
				if before != 1 || v.count() != 2 {
					t.Errorf("asked %d times before its end and %d in all, want 1 and 2", before, v.count())
				}
			})
		})
	}
}

// TestPatience: an asker is told once that it failed, and of a late answer all the
// same.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		v := &vendor{answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			time.Sleep(25 * time.Second)
			return known(asks), nil
		}}
		d.ask(feed, "10.0.0.1")
		g := begin(t, d, v, source(func(s *Source) { s.Timeout = time.Minute }))
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if got := d.states(); len(got) != 0 {
			t.Errorf("before the end of patience: %v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if r := d.of("a-0"); len(r) != 1 || r[0].State != model.Failed || r[0].Reason != "no answer within 10s" {
			t.Errorf("replies %+v", r)
		}
		if s := g.Stats()[0]; s.Waiting != 0 || s.Late != 1 {
			t.Errorf("stats %+v", s)
		}
		time.Sleep(time.Minute)
		g.stop()
		if got := d.states()["a-0"]; got != "failed known" {
			t.Errorf("told %q", got)
		}
		if s := g.Stats()[0]; s.Waiting != 0 || s.Late != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestFailures: what passes is asked again, what does not is not.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(n int, asks []model.Ask) ([]Answer, error)
		told   string
		calls  int
		after  time.Duration // of the last call
	}{
		"a call that fails, then works": {
			func(n int, asks []model.Ask) ([]Answer, error) {
				if n < 3 {
					return nil, errors.New("no connection")
				}
				return known(asks), nil
			}, "known", 3, 3 * time.Second,
		},
		"a call that never works": {
			func(int, []model.Ask) ([]Answer, error) { return nil, errors.New("no connection") }, "failed", maxTries, 15 * time.Second,
		},
		"denied": {
			func(int, []model.Ask) ([]Answer, error) { return nil, &Failure{Reason: "denied"} }, "failed", 1, 0,
		},
		"one question that fails, then works": {
			func(n int, asks []model.Ask) ([]Answer, error) {
				if n < 3 {
					return []Answer{{Err: &Failure{Retry: true, Reason: "later"}}}, nil
				}
				return known(asks), nil
			}, "known", 3, 3 * time.Second,
		},
		"retry after": {
			func(n int, asks []model.Ask) ([]Answer, error) {
				if n == 1 {
					return nil, &Failure{Retry: true, RetryAfter: 7 * time.Second, Reason: "too many"}
				}
				return known(asks), nil
			}, "known", 2, 7 * time.Second,
		},
		"too few answers, then enough": {
			func(n int, asks []model.Ask) ([]Answer, error) {
				if n == 1 {
					return nil, nil
				}
				return known(asks), nil
			}, "known", 2, time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				v := &vendor{answer: func(_ context.Context, n int, asks []model.Ask) ([]Answer, error) { return c.answer(n, asks) }}
				d.ask(feed, "10.0.0.1")
				began := time.Now()
				g := begin(t, d, v, source(nil))
				time.Sleep(10 * time.Minute)
				g.stop()
				if got := d.states()["a-0"]; got != c.told || v.count() != c.calls {
					t.Errorf("told %q after %d calls, want %q after %d", got, v.count(), c.told, c.calls)
				}
				if took := v.at[len(v.at)-1].Sub(began); took != c.after {
					t.Errorf("the last call came after %v, want %v", took, c.after)
				}
			})
		})
	}
}

// TestDeadFeedIsNotHammered: a whole call that fails holds back all questions, so that
// their tries are not used up at once.
func TestDeadFeedIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		back := time.Now().Add(5 * time.Minute)
		v := &vendor{answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			if time.Now().Before(back) {
				return nil, errors.New("no connection")
			}
			return known(asks), nil
		}}
		for i := range 200 {
			d.ask(feed, fmt.Sprint("10.0.0.", i))
		}
		g := begin(t, d, v, source(nil))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := v.count(); n > 4*maxCalls+12 {
			t.Errorf("%d calls in 5 minutes", n)
		}
		if s := g.Stats()[0]; s.LastError != "no connection" || s.Late < 180 || s.Since.IsZero() {
			t.Errorf("stats %+v", s)
		}
		if r := d.of("a-150")[0]; r.Reason != "no answer within 10s: no connection" {
			t.Errorf("reason %q", r.Reason)
		}
		time.Sleep(10 * time.Minute)
		g.stop()
		late := 0
		for _, told := range d.states() {
			if told == "failed known" {
				late++
			}
		}
		if late < 180 {
			t.Errorf("%d of 200 heard of the late answer", late)
		}
		if s := g.Stats()[0]; s.LastError != "" || !s.Since.IsZero() {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestLimits: never more than the source's limits, whatever is restarted or can't be
// written meanwhile; and everything gets its turn.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, v := newDesk(), &vendor{answer: always}
		limited := source(func(s *Source) { s.PerMinute, s.PerDay, s.Patience = 6, 20, 48*time.Hour })
		var values []string
		for i := range 30 {
			values = append(values, fmt.Sprintf("10.0.0.%02d", i))
		}
		d.ask(feed, values...)
		for range 10 { // restarts within the first minute
			g := begin(t, d, v, limited)
			time.Sleep(2 * time.Second)
			g.stop()
		}
		if n := v.asked(); n != 6 {
			t.Errorf("asked about %d in the first minute, want 6", n)
		}
		d.with(func() { d.full = true })
		g := begin(t, d, v, limited)
		time.Sleep(5 * time.Minute)
		if n := v.asked(); n != 6 {
			t.Errorf("asked about %d though it could not be written down", n-6)
		}
		d.with(func() { d.full = false })
		time.Sleep(time.Hour)
		if n := v.asked(); n != 20 {
			t.Errorf("asked about %d in the first day, want 20", n)
		}
		s := g.Stats()[0]
		if s.Waiting != 10 || !s.Limited.After(time.Now().Add(20*time.Hour)) {
			t.Errorf("stats %+v", s)
		}
		if s.Day != (Room{20, 0}) || s.Minute != (Room{6, 6}) || s.Asking != 0 ||
			!strings.HasPrefix(s.HeldBecause, "its limit is used up until ") || !s.HeldUntil.Equal(s.Limited) {
			t.Errorf("what is left: %+v", s)
		}
		time.Sleep(25 * time.Hour)
		if s := g.Stats()[0]; s.Day != (Room{20, 10}) || s.HeldBecause != "" || !s.HeldUntil.IsZero() {
			t.Errorf("what is left the next day: %+v", s)
		}
		g.stop()
		if diff := cmp.Diff(values, v.values()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLimitIsTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, v := newDesk(), &vendor{answer: always}
		d.ask(feed, "10.0.0.1", "10.0.0.2")
		g := begin(t, d, v, source(func(s *Source) { s.PerMinute = 1 }))
		time.Sleep(2 * time.Minute)
		g.stop()
		r := d.of("a-1")
		if len(r) != 2 || r[0].State != model.Failed || r[1].State != model.Known ||
			!strings.HasPrefix(r[0].Reason, "no answer within 10s: its limit is used up until 2000-01-01 00:01:00") {
			t.Errorf("replies %+v", r)
		}
	})
}

func TestLimitWindows(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	s := source(func(s *Source) { s.PerMinute, s.PerDay = 4, 10 })
	var u Used
	for _, c := range []struct {
		after      time.Duration // since the last step
		want, n    int
		againAfter time.Duration
	}{
		{0, 3, 3, 0},
		{time.Second, 3, 1, 0},
		{time.Second, 3, 0, 58 * time.Second},
		{-time.Hour, 3, 0, time.Minute}, // a clock set back gives nothing away
		{time.Minute, 5, 4, 0},          // the next minute
		{time.Minute, 5, 2, 0},          // the day's rest
		{time.Minute, 5, 0, 24*time.Hour - 3*time.Minute},
		{24 * time.Hour, 5, 4, 0},
	} {
		now = now.Add(c.after)
		n, again := u.limit(&s, c.want, now)
		u.add(n)
		if n != c.n || (n == 0 && again.Sub(now) != c.againAfter) {
			t.Errorf("%v later: %d, again in %v; want %d in %v", c.after, n, again.Sub(now), c.n, c.againAfter)
		}
	}
}

// TestBigBacklog: a hundred thousand asks of a feed that answers nothing are told so,
// with little of them in memory at once.
func TestBigBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		v := &vendor{answer: func(ctx context.Context, _ int, _ []model.Ask) ([]Answer, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		const n = 100_000
		var values []string
		for i := range n {
			values = append(values, fmt.Sprint(i))
		}
		d.ask(feed, values...)
		d.ask("enrichment.other", "10.0.0.1")
		g := begin(t, d, v, source(nil), source(func(s *Source) { s.Address = "enrichment.other" }))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		states := d.states()
		failed := 0
		for _, s := range states {
			if s == "failed" {
				failed++
			}
		}
		if failed != n+1 {
			t.Errorf("%d of %d were told", failed, n+1)
		}
		if s := g.Stats()[0]; s.Late > maxLookups {
			t.Errorf("stats %+v", s)
		}
		if d.reads > 2*n/maxWaiting+40 {
			t.Errorf("the backlog was read %d times", d.reads)
		}
		g.stop()
	})
}

// TestStopKeepsAnswers that come while all stops.
func TestStopKeepsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		v := &vendor{answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			time.Sleep(2 * time.Second)
			return known(asks), nil
		}}
		d.ask(feed, "10.0.0.1")
		g := begin(t, d, v, source(nil))
		synctest.Wait()
		g.stop()
		if len(d.replies) != 0 || len(d.cache) != 1 {
			t.Errorf("%d replies, %d kept", len(d.replies), len(d.cache))
		}
		g = begin(t, d, v, source(nil))
		synctest.Wait()
		g.stop()
		if d.states()["a-0"] != "known" || v.count() != 1 {
			t.Errorf("%v after %d calls", d.states(), v.count())
		}
	})
}

// TestSickLog: answers wait until they can be reported.
func TestSickLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, v := newDesk(), &vendor{answer: always}
		d.report = errors.New("the log is sick")
		d.ask(feed, "10.0.0.1")
		g := begin(t, d, v, source(nil))
		time.Sleep(time.Hour)
		d.with(func() { d.report = nil })
		time.Sleep(2 * time.Second)
		g.stop()
		if d.states()["a-0"] != "known" || v.count() != 1 {
			t.Errorf("%v after %d calls", d.states(), v.count())
		}
	})
}

// TestOrphans: who asked an enrichment that is gone does not wait for ever.
func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, v := newDesk(), &vendor{answer: always}
		for i := range maxWaiting + 10 {
			d.ask("enrichment.gone", fmt.Sprint(i))
		}
		d.ask(feed, "10.0.0.1")
		g := begin(t, d, v, source(nil))
		synctest.Wait()
		d.ask("enrichment.gone", "late")
		time.Sleep(rescan)
		synctest.Wait()
		g.stop()
		states := d.states()
		if len(states) != maxWaiting+12 || states["a-0"] != "failed" || states[fmt.Sprint("a-", maxWaiting+10)] != "known" || states[fmt.Sprint("a-", maxWaiting+11)] != "failed" {
			t.Errorf("%d were told", len(states))
		}
		if r := d.of("a-0"); r[0].Reason != "enrichment.gone is not configured any more" {
			t.Errorf("reason %q", r[0].Reason)
		}
	})
}

// TestOwnNamesAreNotToldAfterAChange: what an internal source was asked is not told the one
// that has its address when that is not internal, whether it was asked before, waits in the
// queue, or is to be asked again.
func TestOwnNamesAreNotToldAfterAChange(t *testing.T) {
	own := func(o sdk.Observable) bool { return strings.HasPrefix(o.Value, "10.") }
	d, release := newDesk(), make(chan struct{})
	v := &vendor{answer: func(_ context.Context, n int, asks []model.Ask) ([]Answer, error) {
		if n <= maxCalls {
			<-release
			return nil, &Failure{Retry: true, Reason: "replaced"}
		}
		return known(asks), nil
	}}
	inside := source(func(s *Source) { s.Internal, s.BatchLimit = true, 1 })
	var values []string
	for i := range 2 * maxCalls {
		values = append(values, fmt.Sprintf("10.0.0.%d", i))
	}
	d.ask(feed, append(values, "198.51.100.7")...)
	g := begin(t, d, v, inside)
	defer g.stop()
	until(t, "calls", func() bool { return v.count() == maxCalls })
	outside := inside
	outside.Internal = false
	if err := g.Apply(t.Context(), Settings{Sources: []Source{outside}, Own: own}); err != nil {
		t.Fatal(err)
	}
	d.ask(feed, "10.0.0.99")
	g.Wake()
	close(release)
	until(t, "all answers", func() bool { return len(d.states()) == 2*maxCalls+2 })
	for i, c := range v.calls[maxCalls:] {
		if slices.ContainsFunc(c, func(value string) bool { return strings.HasPrefix(value, "10.") }) {
			t.Errorf("call %d after the change is about %v", i, c)
		}
	}
	for ask, state := range d.states() {
		if want := map[bool]string{true: "known", false: "failed"}[ask == fmt.Sprintf("a-%d", 2*maxCalls)]; state != want {
			t.Errorf("%s: %s, want %s", ask, state, want)
		}
	}
}
