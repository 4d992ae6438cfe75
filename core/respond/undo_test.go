package respond

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

func undo(id, verb string) model.Intent {
	in := intent(id, verb)
	in.Hold, in.Undoes, in.UndoToken = "h-1", "i-1", []byte("token")
	return in
}

// calls remembers what was called.
type calls struct {
	mu  sync.Mutex
	all []Call
}

func (c *calls) add(call Call) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call)
	return len(c.all)
}

func settled(t *testing.T, g *rig, id string) model.Outcome {
	t.Helper()
	for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if all := g.decider.of(id); len(all) > 0 {
			return all[0]
		}
	}
	t.Fatal("no outcome in a day")
	return model.Outcome{}
}

func TestUndoIsCalledByItsOwnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var undone calls
		in := undo("u-1", "checked")
		g := begin(t, newMemoryJournal(in), caller{undo: func(_ context.Context, c Call) (Result, error) {
			undone.add(c)
			return Result{State: model.IntentDone}, nil
		}}, nil)
		defer g.stop()
		if o := settled(t, g, in.ID); o.State != model.IntentDone || o.Attempts != 1 {
			t.Errorf("outcome %+v", o)
		}
		c := undone.all[0]
		if len(undone.all) != 1 || c.Key != "u-1" || !c.Undo || string(c.UndoToken) != "token" || c.Verb != "checked" || c.NotAfter.IsZero() {
			t.Errorf("calls %+v", undone.all)
		}
	})
}

// TestALostUndo is asked about and never blindly repeated; that nobody knows is told
// when it can't be on its way any more.
func TestALostUndo(t *testing.T) {
	for name, c := range map[string]struct {
		verb   string
		checks []Result
		want   model.IntentState
		calls  int
		after  time.Duration // from the first call to the outcome, at least
	}{
		"checked, and done":                   {"checked", []Result{{State: model.IntentDone}}, model.IntentDone, 1, 0},
		"checked, not found while on its way": {"checked", []Result{{State: model.IntentFailed}, {State: model.IntentDone}}, model.IntentDone, 1, 15 * time.Second},
		"checked, and never found":            {"checked", []Result{{State: model.IntentFailed}, {State: model.IntentFailed}}, model.IntentDone, 2, 15 * time.Second},
		"checked, and nobody knows":           {"checked", []Result{{State: model.IntentUnknown}, {State: model.IntentUnknown}}, model.IntentUnknown, 1, 15 * time.Second},
		"plain":                               {"plain", nil, model.IntentUnknown, 1, 10 * time.Second},
		"idempotent":                          {"idempotent", nil, model.IntentDone, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var undone, checked calls
				in := undo("u-1", c.verb)
				began := time.Now()
				g := begin(t, newMemoryJournal(in), caller{
					undo: func(_ context.Context, call Call) (Result, error) {
						if undone.add(call) == 1 {
							return Result{}, errors.New("the line went dead")
						}
						return Result{State: model.IntentDone}, nil
					},
					check: func(_ context.Context, call Call) (Result, error) {
						return c.checks[checked.add(call)-1], nil
					},
				}, nil)
				defer g.stop()
				o := settled(t, g, in.ID)
				if o.State != c.want || len(undone.all) != c.calls || len(checked.all) != len(c.checks) {
					t.Errorf("%s after %d calls and %d checks", o.State, len(undone.all), len(checked.all))
				}
				if took := time.Since(began); took < c.after {
					t.Errorf("told after %s, before it could be known", took)
				}
				for _, call := range checked.all {
					if !call.Undo || call.Key != "u-1" || string(call.UndoToken) != "token" {
						t.Errorf("checked %+v", call)
					}
				}
			})
		})
	}
}

// TestAnEarlierCallOfTheSameKey makes it Kelpie's own doing.
func TestAnEarlierCallOfTheSameKey(t *testing.T) {
	for same, want := range map[bool]model.IntentState{true: model.IntentDone, false: model.IntentAlready} {
		synctest.Test(t, func(t *testing.T) {
			in := intent("i-1", "idempotent")
			n := 0
			g := begin(t, newMemoryJournal(in), caller{execute: func(context.Context, Call) (Result, error) {
				if n++; n == 1 {
					return Result{}, errors.New("the line went dead")
				}
				return Result{State: model.IntentAlready, SameKey: same}, nil
			}}, nil)
			defer g.stop()
			if o := settled(t, g, in.ID); o.State != want {
				t.Errorf("same key %v: %s, want %s", same, o.State, want)
			}
		})
	}
}

// TestUndoOnly: what is kept for its holds alone does nothing new.
func TestUndoOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, let := intent("i-1", "plain"), undo("u-1", "plain")
		g := begin(t, newMemoryJournal(old, let), caller{undo: func(context.Context, Call) (Result, error) {
			return Result{State: model.IntentDone}, nil
		}}, func(r *Responder) {
			a := testActions["action.edr"]
			a.UndoOnly = true
			r.Settings.Actions = map[string]Action{"action.edr": a}
		})
		defer g.stop()
		if o := settled(t, g, "i-1"); o.State != model.IntentFailed {
			t.Errorf("a step is %s", o.State)
		}
		if o := settled(t, g, "u-1"); o.State != model.IntentDone {
			t.Errorf("an undo is %s", o.State)
		}
	})
}

// TestAClockThatJumpsForward does not make a call forgotten that is on its way.
func TestAClockThatJumpsForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var skew time.Duration
		var mu sync.Mutex
		in := intent("i-1", "checked")
		g := begin(t, newMemoryJournal(in), caller{
			execute: func(context.Context, Call) (Result, error) {
				mu.Lock()
				skew = 1000 * time.Hour
				mu.Unlock()
				return Result{}, errors.New("the line went dead")
			},
			check: func(context.Context, Call) (Result, error) {
				if time.Since(began) < 14*time.Second {
					return Result{State: model.IntentFailed}, nil // it is on its way
				}
				return Result{State: model.IntentDone}, nil
			},
		}, func(r *Responder) {
			r.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(skew) }
			r.Uptime = func() (string, time.Duration) { return "boot", time.Since(began) + time.Minute }
		})
		defer g.stop()
		if o := settled(t, g, in.ID); o.State != model.IntentDone || o.Attempts != 1 {
			t.Errorf("outcome %+v", o)
		}
	})
}
