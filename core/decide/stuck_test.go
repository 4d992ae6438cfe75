package decide

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// stuckTold are the notices about holds that could not be ended, in the order of telling.
func (f *holding) stuckTold() []model.Intent {
	var all []model.Intent
	for _, in := range f.tables.intents {
		if in.Response == "hold" {
			for len(all) < in.Round {
				all = append(all, model.Intent{})
			}
			all[in.Round-1] = in
		}
	}
	return all
}

// restored is a machine made of another's snapshot.
func restored(t *testing.T, m *Machine) *Machine {
	again := New(testCompiler)
	if err := again.Restore(bytes.NewReader(snapshot(t, m))); err != nil {
		t.Fatal(err)
	}
	return again
}

func newStuck(t *testing.T, config string, state model.IntentState) *holding {
	f := newHolding(t, config)
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	f.tick(time.Hour)
	f.outcome(f.undo(), state)
	return f
}

// TestAFailedUndoIsToldUntilItIsDone: every hour it is told, and tried again, until it is
// known to have ended; a start in between changes nothing.
func TestAFailedUndoIsToldUntilItIsDone(t *testing.T) {
	f := newStuck(t, "base held told", model.IntentFailed)
	f.wantHold("stuck")
	told := f.stuckTold()
	if len(told) != 1 || told[0].Action != "action.mail" || told[0].Target.Value != "soc@example.org" || told[0].DryRun ||
		!strings.Contains(told[0].Because, "isolate_host of ws-1") || !strings.Contains(told[0].Because, "kelpie release "+onWS1) {
		t.Fatalf("told %+v", told)
	}
	var parameters struct{ Notice json.RawMessage }
	if err := json.Unmarshal(told[0].Parameters, &parameters); err != nil {
		t.Fatal(err)
	}
	if n, err := sdk.ParseNotice([]byte(parameters.Notice)); err != nil || n.Because != told[0].Because {
		t.Errorf("notice %+v, %v", n, err)
	}
	f.tick(59 * time.Minute)
	f.wantHold("stuck")
	f.m = restored(t, f.m)
	c := f.tick(0)
	if c.Due == nil || *c.Due != time.Minute {
		t.Errorf("due after %v", c.Due)
	}
	f.tick(time.Minute)
	f.wantHold("releasing")
	f.outcome(f.undo(), model.IntentRefused)
	if told = f.stuckTold(); len(told) != 2 || told[1].ID == told[0].ID {
		t.Fatalf("told %+v", told)
	}
	if h := f.tables.holds[onWS1]; h.Told != 2 || h.ToldAt.IsZero() || h.Tries != 2 {
		t.Errorf("hold %+v", h)
	}
	f.tick(time.Hour)
	f.done(f.undo())
	f.wantHold("released")
	if c := f.tick(100 * time.Hour); len(f.stuckTold()) != 2 || c.Due != nil {
		t.Errorf("told %d times, due after %v", len(f.stuckTold()), c.Due)
	}
}

// TestAnUnknownUndoIsTold: it is not tried again, for it may have taken effect.
func TestAnUnknownUndoIsTold(t *testing.T) {
	f := newStuck(t, "base held told", model.IntentUnknown)
	f.tick(time.Hour)
	f.tick(30 * time.Minute)
	f.wantHold("unknown")
	if told := f.stuckTold(); len(told) != 2 || !strings.Contains(told[1].Because, "kelpie intent resolve "+f.tables.holds[onWS1].Undo) {
		t.Errorf("told %+v", told)
	}
	if n := f.tables.holds[onWS1].Tries; n != 1 {
		t.Errorf("%d tries", n)
	}
}

// TestWhoWasToldOfTheCaseIsTold, where the configuration names nobody.
func TestWhoWasToldOfTheCaseIsTold(t *testing.T) {
	f := newHolding(t, "base held heard")
	f.alert(0)
	f.done(f.step(0))
	mail := f.intent("mail")
	f.outcome(mail, model.IntentDone)
	f.tick(0)
	f.tick(time.Hour)
	f.outcome(f.undo(), model.IntentFailed)
	told := f.stuckTold()
	if len(told) != 1 || told[0].Action != mail.Action || told[0].Target.Value != mail.Target.Value {
		t.Fatalf("told %+v, mailed %+v", told, mail.Target)
	}
}

func TestAHoldIsExtended(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	f.tick(30 * time.Minute)
	extend := func(long time.Duration, id string) {
		f.order(model.Command{Kind: model.ExtendHold, Hold: onWS1, For: long, Case: id})
	}
	extend(2*time.Hour, "")
	extend(time.Hour, "c-of-another")
	extend(-time.Hour, "")
	if until := f.tables.holds[onWS1].Owners[0].Until; !until.Equal(f.now.Add(150 * time.Minute)) {
		t.Errorf("until %s, now %s", until, f.now)
	}
	f.m = restored(t, f.m)
	f.tick(150*time.Minute - time.Nanosecond)
	f.wantHold("in_force 0")
	f.tick(time.Nanosecond)
	f.wantHold("releasing")
	extend(time.Hour, "") // too late
	f.done(f.undo())
	f.wantHold("released")

	f = newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	extend(time.Hour, "") // before its time has begun
	f.tick(0)
	f.tick(2*time.Hour - time.Nanosecond)
	f.wantHold("in_force 0")
	extend(0, "")
	extend(time.Hour, "") // for ever is not longer
	if c := f.tick(10_000 * time.Hour); c.Due != nil || !f.tables.holds[onWS1].Owners[0].Until.IsZero() {
		t.Errorf("due after %v, %+v", c.Due, f.tables.holds[onWS1])
	}
	f.wantHold("in_force 0")
}

func TestAllIsReleased(t *testing.T) {
	f := newHolding(t, "base kept")
	f.alert(0)
	f.done(f.step(0))
	f.alert(1)
	f.signals(sig("s-7", minutes(5000), 90, "subject host:ws-7", "indicator ip:203.0.113.77"))
	for _, l := range f.m.asks {
		if l.pending() && f.m.index.Key(l.value) == "host:ws-7" && l.src.Internal {
			f.answer("enrichment.assets", "host:ws-7", workstation("ws-7"))
			break
		}
	}
	f.settle()
	f.done(f.step(7))
	f.order(model.Command{Kind: model.ReleaseAll})
	undone := 0
	for _, h := range f.tables.holds {
		if h.State != model.HoldReleasing || h.By != "kim" {
			t.Errorf("hold %+v", h)
		}
		f.done(f.tables.intents[h.Undo])
		undone++
	}
	if undone != 2 || len(f.m.holds) != 0 {
		t.Errorf("%d undone, %d left", undone, len(f.m.holds))
	}
	f.order(model.Command{Kind: model.ReleaseAll})
}

// TestWhoComesAgainIsHeldLonger, by the operator's rule.
func TestWhoComesAgainIsHeldLonger(t *testing.T) {
	f := newHolding(t, "base graded")
	for _, n := range []int{0, 20} {
		want := time.Hour
		if n > 0 {
			want = 24 * time.Hour
		}
		f.alert(n)
		if got := f.step(n).UndoAfter; got != want {
			t.Errorf("time %d: held for %s, want %s", n, got, want)
		}
		f.done(f.step(n))
		f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
		f.done(f.undo())
	}
}

// TestPauses: what a rule asks for, or a response does, waits; it ends by order or by
// itself, and then what waited is done.
func TestPauses(t *testing.T) {
	pipeline := "pipeline.ids"
	for name, of := range map[string]string{"a pipeline": pipeline, "a response": "response.contain"} {
		t.Run(name, func(t *testing.T) {
			f := newHolding(t, "base held")
			f.order(model.Command{Kind: model.PauseOf, Of: "response.no_such"})
			f.order(model.Command{Kind: model.PauseOf, Of: of, For: time.Hour})
			if p := f.tables.flags.Pauses; len(p) != 1 || p[0].Of != of || p[0].By != "kim" || !p[0].Until.Equal(f.now.Add(time.Hour)) {
				t.Fatalf("pauses %+v", p)
			}
			f.alert(0)
			f.tick(0)
			if n := len(contained(f)); n != 0 {
				t.Fatalf("%d contained: %v", n, f.tables.planned())
			}
			if notes := strings.Join(f.notes(), "\n"); !strings.Contains(notes, of+" is paused by kim: it is clean") {
				t.Errorf("notes: %s", notes)
			}
			f.m = restored(t, f.m)
			f.tick(time.Hour - time.Nanosecond)
			if len(contained(f)) != 0 {
				t.Error("too early")
			}
			f.tick(time.Nanosecond)
			if n := len(contained(f)); n != 1 || len(f.tables.flags.Pauses) != 0 {
				t.Errorf("%d contained, pauses %+v", n, f.tables.flags.Pauses)
			}

			f.done(f.step(0))
			f.order(model.Command{Kind: model.PauseOf, Of: of})
			f.alert(1)
			if c := f.tick(1000 * time.Hour); c.Due != nil && *c.Due == 0 || len(contained(f)) != 1 {
				t.Errorf("%d contained, due %v", len(contained(f)), c.Due)
			}
			f.order(model.Command{Kind: model.ResumeOf, Of: of})
			if n := len(contained(f)); n != 2 {
				t.Errorf("%d contained after the end", n)
			}
		})
	}
}

func contained(f *holding) []model.Intent {
	var all []model.Intent
	for _, in := range f.tables.intents {
		if in.Verb == "isolate_host" && in.Undoes == "" {
			all = append(all, in)
		}
	}
	return all
}

// TestAPauseOfActionsEnds by itself, by the time that passes and not by the clock.
func TestAPauseOfActionsEnds(t *testing.T) {
	f := newHolding(t, "base held")
	f.order(model.Command{Kind: model.PauseActions, For: time.Hour})
	f.tick(0)
	f.skew = 100 * time.Hour
	f.tick(time.Minute)
	if !f.tables.flags.Paused {
		t.Fatal("a clock that was set ended it")
	}
	f.m = restored(t, f.m)
	f.tick(time.Hour)
	if f.tables.flags.Paused || !f.tables.flags.PausedUntil.IsZero() {
		t.Errorf("flags %+v", f.tables.flags)
	}
}
