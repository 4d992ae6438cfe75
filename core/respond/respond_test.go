package respond

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestCalls: what an action answers, call by call, and what is reported of it, when.
func TestCalls(t *testing.T) {
	done, failed, unknown := Result{State: model.IntentDone}, Result{State: model.IntentFailed}, Result{State: model.IntentUnknown}
	errLost := errors.New("the answer was lost")
	type answer struct {
		result Result
		err    error
	}
	for name, c := range map[string]struct {
		verb    string
		dryRun  bool
		calls   []answer
		checks  []answer
		want    model.Outcome
		after   time.Duration
		attempt int // of the last call
	}{
		"done": {
			verb: "plain", calls: []answer{{Result{State: model.IntentDone, Reference: "r", UndoToken: []byte("u"), Message: "m"}, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 1, Reference: "r", UndoToken: []byte("u"), Message: "m"}, attempt: 1,
		},
		"refused": {
			verb: "plain", calls: []answer{{Result{State: model.IntentRefused, Message: "no"}, nil}},
			want: model.Outcome{State: model.IntentRefused, Attempts: 1, Message: "no"}, attempt: 1,
		},
		"failed twice, then done": {
			verb: "plain", calls: []answer{{failed, nil}, {failed, nil}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 3}, after: 3 * time.Second, attempt: 1,
		},
		"the vendor's wish is kept": {
			verb: "plain", calls: []answer{{Result{State: model.IntentFailed, RetryAfter: 7 * time.Minute}, nil}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2}, after: 7 * time.Minute, attempt: 1,
		},
		"an endless wish is not": {
			verb: "plain", calls: []answer{{Result{State: model.IntentFailed, RetryAfter: 1e6 * time.Hour}, nil}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2}, after: longestRetry, attempt: 1,
		},
		"lost, and nothing tells": {
			verb: "plain", calls: []answer{{Result{}, errLost}},
			want: model.Outcome{State: model.IntentUnknown, Attempts: 1, Message: "the answer was lost"}, attempt: 1,
		},
		"lost, and it was done": {
			verb: "checked", calls: []answer{{Result{}, errLost}}, checks: []answer{{Result{State: model.IntentDone, Reference: "r"}, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 1, Reference: "r"}, after: time.Second, attempt: 1,
		},
		// Not done so far says nothing until nothing can come any more, at 10 s + 5 s.
		"lost, not yet done, then done": {
			verb: "checked", calls: []answer{{Result{}, errLost}}, checks: []answer{{failed, nil}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 1}, after: 15 * time.Second, attempt: 1,
		},
		"lost, not yet known, then not done, done the second time": {
			verb: "checked", calls: []answer{{Result{}, errLost}, {done, nil}}, checks: []answer{{unknown, nil}, {failed, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2}, after: 16 * time.Second, attempt: 1,
		},
		"lost, and the vendor can't tell": {
			verb: "checked", calls: []answer{{unknown, nil}}, checks: []answer{{unknown, nil}, {unknown, nil}},
			want: model.Outcome{State: model.IntentUnknown, Attempts: 1, Message: "attempt 1 has no answer, and nothing tells what became of it"}, after: 15 * time.Second, attempt: 1,
		},
		"a check that has no answer is asked again": {
			verb: "checked", calls: []answer{{Result{}, errLost}}, checks: []answer{{Result{}, errLost}, {Result{}, errLost}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 1}, after: 4 * time.Second, attempt: 1,
		},
		"one key once": {
			verb: "idempotent", calls: []answer{{Result{}, errLost}, {Result{}, errLost}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 3}, after: 3 * time.Second, attempt: 3,
		},
		"a notice is marked": {
			verb: Notify, calls: []answer{{Result{}, errLost}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2, Repeat: true}, after: time.Second, attempt: 2,
		},
		"a notice that was not sent is not": {
			verb: Notify, calls: []answer{{failed, nil}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2}, after: time.Second, attempt: 1,
		},
		"a dry run": {
			verb: "plain", dryRun: true, calls: []answer{{Result{}, errLost}, {done, nil}},
			want: model.Outcome{State: model.IntentDone, Attempts: 2}, after: time.Second, attempt: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := intent("i-1", c.verb)
				in.DryRun = c.dryRun
				j := newMemoryJournal(in)
				began := time.Now()
				var calls, checks []Call
				g := begin(t, j, caller{
					func(_ context.Context, call Call) (Result, error) {
						calls = append(calls, call)
						a := c.calls[len(calls)-1]
						return a.result, a.err
					},
					nil,
					func(_ context.Context, call Call) (Result, error) {
						checks = append(checks, call)
						a := c.checks[len(checks)-1]
						return a.result, a.err
					},
				}, nil)
				defer g.stop()
				var got []model.Outcome
				for got = g.decider.of(in.ID); len(got) == 0 && time.Since(began) < 3*time.Hour; got = g.decider.of(in.ID) {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
				}
				c.want.Intent = in.ID
				if diff := cmp.Diff([]model.Outcome{c.want}, got); diff != "" {
					t.Fatal(diff)
				}
				if took := time.Since(began).Truncate(time.Second / 2); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				if len(calls) != len(c.calls) || len(checks) != len(c.checks) {
					t.Fatalf("%d calls and %d checks, want %d and %d", len(calls), len(checks), len(c.calls), len(c.checks))
				}
				for _, call := range append(calls, checks...) {
					if call.Key != in.ID || call.DryRun != c.dryRun || call.Action != in.Action || call.Verb != in.Verb || call.Target.Value != in.Target.Value {
						t.Errorf("call %+v", call)
					}
				}
				if got := calls[len(calls)-1].Attempt; got != c.attempt {
					t.Errorf("the last call was attempt %d, want %d", got, c.attempt)
				}
			})
		})
	}
}

// TestDeadActionHoldsUpNobody: an action that hangs, with more intents than are held
// in memory, and another that works.
func TestDeadActionHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		for i := range 2 * laneLimit {
			in := intent(fmt.Sprintf("dead-%d", i), "plain")
			in.Action = "action.dead"
			j.add(in)
		}
		j.add(intent("alive", "plain"))
		running, most := 0, 0
		g := begin(t, j, caller{execute: func(ctx context.Context, c Call) (Result, error) {
			if c.Action != "action.dead" {
				return Result{State: model.IntentDone}, nil
			}
			j.mu.Lock()
			running++
			most = max(most, running)
			j.mu.Unlock()
			<-ctx.Done()
			j.mu.Lock()
			running--
			j.mu.Unlock()
			return Result{State: model.IntentFailed, Message: "hangs"}, nil
		}}, nil)
		began := time.Now()
		for len(g.decider.of("alive")) == 0 {
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited %v", took)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if most != DefaultWorkers {
			t.Errorf("%d calls at once, want %d", most, DefaultWorkers)
		}
		stats := g.Stats()
		if len(stats) != 2 || stats[0].Action != "action.dead" || stats[0].LastError != "hangs" ||
			!stats[0].More || !stats[0].Since.Equal(began.Add(10*time.Second)) {
			t.Errorf("stats %+v", stats)
		}
		g.stop()
	})
}

// TestRetryTakesNoWorker: with one worker, an intent that waits for its next attempt
// lets others pass.
func TestRetryTakesNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("fails", "plain"), intent("works", "plain"))
		g := begin(t, j, caller{execute: func(_ context.Context, c Call) (Result, error) {
			if c.Key == "fails" {
				return Result{State: model.IntentFailed}, nil
			}
			return Result{State: model.IntentDone}, nil
		}}, func(r *Responder) { r.Settings.Workers = 1 })
		defer g.stop()
		synctest.Wait()
		if got := g.decider.of("works"); len(got) != 1 {
			t.Errorf("outcomes %v, want one at once", got)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := g.decider.of("fails"); len(got) != 1 || got[0].State != model.IntentFailed || got[0].Attempts != DefaultMaxAttempts {
			t.Errorf("outcomes %v, want one failure", got)
		}
	})
}

func TestAllOfALongBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		const n = 3*laneLimit + 7
		for i := range n {
			j.add(intent(fmt.Sprintf("i-%d", i), "plain"))
		}
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			return Result{State: model.IntentDone}, nil
		}}, nil)
		defer g.stop()
		synctest.Wait()
		for i := range n {
			if got := g.decider.of(fmt.Sprintf("i-%d", i)); len(got) != 1 {
				t.Fatalf("intent %d was reported %d times", i, len(got))
			}
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"))
		calls := 0
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			if calls++; calls == 1 {
				j.pause(true) // an order that comes during the first call
				return Result{State: model.IntentFailed}, nil
			}
			return Result{State: model.IntentDone}, nil
		}}, nil)
		defer g.stop()
		synctest.Wait()
		j.add(intent("b", "plain"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls != 1 {
			t.Fatalf("%d calls, want none while paused", calls-1)
		}
		j.pause(false)
		g.wake <- struct{}{}
		synctest.Wait()
		if calls != 3 || len(g.decider.of("a")) != 1 || len(g.decider.of("b")) != 1 {
			t.Errorf("%d calls, outcomes %v", calls, g.decider.outcomes)
		}
	})
}

func TestFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"), intent("b", "plain"))
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			t.Error("called")
			return Result{}, nil
		}}, func(r *Responder) { j.epoch = r.Epoch + 1 })
		time.Sleep(time.Hour)
		g.stop()
		if len(j.attempts) != 0 {
			t.Errorf("attempts %v", j.attempts)
		}
	})
}

// TestStop: a call that has begun is brought home, its outcome written and reported;
// what has not begun stays as it is.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"), intent("b", "plain"))
		g := begin(t, j, caller{execute: func(ctx context.Context, _ Call) (Result, error) {
			select {
			case <-ctx.Done():
				return Result{}, ctx.Err()
			case <-time.After(8 * time.Second):
				return Result{State: model.IntentDone, Message: "slow"}, nil
			}
		}}, func(r *Responder) { r.Settings.Workers = 1 })
		synctest.Wait()
		began := time.Now()
		g.stop()
		if took := time.Since(began); took != 8*time.Second {
			t.Errorf("the stop took %v, want the call's 8s", took)
		}
		if a := j.attemptsOf("a"); len(a) != 1 || a[0].State != model.IntentDone {
			t.Errorf("attempts %+v", a)
		}
		if got := g.decider.of("a"); len(got) != 1 || got[0].Message != "slow" {
			t.Errorf("outcomes %+v", got)
		}
		if a := j.attemptsOf("b"); len(a) != 0 {
			t.Errorf("b has attempts %+v", a)
		}
	})
}

// TestOutcomeOutlivesFullDisk: what an action answered is kept until it can be
// written; nothing is sent twice and nothing becomes unknown.
func TestOutcomeOutlivesFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"))
		full := time.Now().Add(time.Hour)
		j.save = func(Attempt) error {
			if time.Now().Before(full) {
				return errDisk
			}
			return nil
		}
		calls := 0
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			calls++
			return Result{State: model.IntentDone}, nil
		}}, nil)
		time.Sleep(time.Hour + 10*time.Second)
		g.stop()
		if got := g.decider.of("a"); calls != 1 || len(got) != 1 || got[0].State != model.IntentDone {
			t.Errorf("%d calls, outcomes %+v", calls, got)
		}
	})
}

// TestStopWithFullDisk: it does not wait for ever.
func TestStopWithFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"))
		j.save = func(Attempt) error { return errDisk }
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			return Result{State: model.IntentDone}, nil
		}}, nil)
		time.Sleep(time.Minute)
		began := time.Now()
		g.stop()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// TestClaimInDoubt: a claim that is in the journal though its writing failed is known
// not to have been called.
func TestClaimInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"))
		j.claim = func(a Attempt) error {
			j.claim = nil
			j.attempts[a.Intent] = append(j.attempts[a.Intent], a)
			return errDisk
		}
		calls := 0
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			calls++
			return Result{State: model.IntentDone}, nil
		}}, nil)
		time.Sleep(time.Minute)
		g.stop()
		if got := g.decider.of("a"); calls != 1 || len(got) != 1 || got[0].State != model.IntentDone || got[0].Attempts != 2 {
			t.Errorf("%d calls, outcomes %+v", calls, got)
		}
	})
}

// TestReportIsTriedAgain, and the action is not.
func TestReportIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal(intent("a", "plain"))
		calls, reports := 0, 0
		g := begin(t, j, caller{execute: func(context.Context, Call) (Result, error) {
			calls++
			return Result{State: model.IntentDone}, nil
		}}, func(r *Responder) {
			r.Reporter.(*decider).report = func(model.Outcome) error {
				if reports++; reports < 5 {
					return errors.New("the log is sick")
				}
				return nil
			}
		})
		time.Sleep(time.Minute)
		g.stop()
		if calls != 1 || reports != 5 || len(g.decider.of("a")) != 1 {
			t.Errorf("%d calls, %d reports", calls, reports)
		}
	})
}
