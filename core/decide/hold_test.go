package decide

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// holding is a feed with a machine whose uptime goes by itself.
type holding struct {
	*feed
	uptime time.Duration
	// skew is how far the machine's clock is off.
	skew time.Duration
	boot string
}

func newHolding(t testing.TB, config string) *holding {
	f := &holding{feed: newFeed(t), boot: "boot-1"}
	f.config(config, false)
	f.tick(0)
	return f
}

// tick lets time pass, and tells it.
func (f *holding) tick(passes time.Duration) Changes {
	f.t.Helper()
	f.uptime += passes
	f.now = f.now.Add(passes)
	return f.apply(model.Input{Tick: &model.Tick{Boot: f.boot, Uptime: f.uptime, Wall: f.now.Add(f.skew)}})
}

// alert opens a case about ws-1, in an hour of its own.
func (f *holding) alert(n int) {
	f.t.Helper()
	f.signals(sig(fmt.Sprintf("s-%d", n), minutes(240*n), 90, "subject host:ws-1", fmt.Sprintf("indicator ip:203.0.113.%d", n)))
	for _, l := range f.m.asks {
		if l.pending() && f.m.index.Key(l.value) == "host:ws-1" && l.src.Internal {
			f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
			break
		}
	}
	f.settle()
}

// step finds the intent that isolates for the n-th case, of the latest round.
func (f *holding) step(n int) model.Intent {
	f.t.Helper()
	var found *model.Intent
	for _, in := range f.tables.intents {
		if in.Case == model.CaseID(fmt.Sprintf("s-%d", n)) && in.Step == "isolate" && in.Undoes == "" && (found == nil || in.Round > found.Round) {
			found = &in
		}
	}
	if found == nil {
		f.t.Fatalf("case %d isolates nothing: %v, %v", n, f.tables.planned(), f.notes())
	}
	return *found
}

// undo finds the undo that is pending.
func (f *holding) undo() model.Intent {
	f.t.Helper()
	for _, in := range f.tables.intents {
		if in.Undoes != "" && in.State == model.IntentPending {
			return in
		}
	}
	f.t.Fatalf("no undo is pending: %s", f.hold())
	return model.Intent{}
}

func (f *holding) done(in model.Intent) {
	f.t.Helper()
	f.apply(model.Input{Outcome: &model.Outcome{Intent: in.ID, State: model.IntentDone, Attempts: 1, UndoToken: []byte("token of " + in.ID)}})
}

func (f *holding) order(c model.Command) {
	f.t.Helper()
	c.By, c.Because = "kim", "it is clean"
	f.apply(model.Input{Command: &c})
}

// id of the hold on ws-1.
var onWS1 = model.HoldID("action.edr", "isolate_host", model.Target{Kind: sdk.Host, Value: "ws-1"})

// hold is the row of the hold on ws-1: its state, and the cases that want it.
func (f *holding) hold() string {
	h, ok := f.tables.holds[onWS1]
	if !ok {
		return "none"
	}
	text := string(h.State)
	for _, o := range h.Owners {
		if o.Wants() {
			for n := range 9 {
				if o.Case == model.CaseID(fmt.Sprintf("s-%d", n)) {
					text += fmt.Sprintf(" %d", n)
				}
			}
		}
	}
	return text
}

func (f *holding) wantHold(want string) {
	f.t.Helper()
	if got := f.hold(); got != want {
		f.t.Fatalf("the hold is %q, want %q", got, want)
	}
}

func (f *holding) wantState(in model.Intent, want model.IntentState) {
	f.t.Helper()
	if got := f.tables.intents[in.ID].State; got != want {
		f.t.Fatalf("the intent is %s, want %s", got, want)
	}
}

func TestAHoldEndsWithItsTime(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	in := f.step(0)
	if in.Hold != onWS1 || in.UndoAfter != time.Hour {
		t.Fatalf("intent %+v", in)
	}
	f.wantHold("none")
	f.done(in)
	f.wantHold("in_force 0")
	c := f.tick(time.Second)
	if c.Due == nil || *c.Due != time.Hour {
		t.Errorf("due after %v", c.Due)
	}
	f.tick(time.Hour - time.Nanosecond)
	f.wantHold("in_force 0")
	f.tick(time.Nanosecond)
	f.wantHold("releasing")
	undo := f.undo()
	if undo.Undoes != in.ID || string(undo.UndoToken) != "token of "+in.ID || undo.ID != model.UndoID(in.ID, 1) ||
		undo.Action != in.Action || undo.Verb != in.Verb || undo.Target.Value != "ws-1" || undo.Because != "its time of 1h is over" {
		t.Errorf("undo %+v", undo)
	}
	f.done(undo)
	f.wantHold("released")
	f.wantState(in, model.IntentUndone)
	if len(f.m.holds) != 0 {
		t.Errorf("released, %d holds are remembered", len(f.m.holds))
	}
	f.done(undo) // a repeat changes nothing
	f.wantHold("released")
}

// TestTwoCasesHold: the second joins without a call, and it ends with the last.
func TestTwoCasesHold(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	f.tick(30 * time.Minute)
	f.alert(1)
	second := f.step(1)
	if second.State != model.IntentAlready || second.HeldBy != f.step(0).ID || second.Attempts != 0 {
		t.Fatalf("the second is %+v", second)
	}
	f.wantHold("in_force 0 1")
	f.tick(0)
	f.tick(30 * time.Minute)
	f.wantHold("in_force 1")
	f.wantState(f.step(0), model.IntentDone)
	f.tick(30 * time.Minute)
	f.wantHold("releasing")
	f.done(f.undo())
	f.wantHold("released")
	f.wantState(f.step(0), model.IntentUndone)
	f.wantState(second, model.IntentUndone)
}

// TestASecondCaseWaits: while one intent is tried for a hold, no other is.
func TestASecondCaseWaits(t *testing.T) {
	for name, c := range map[string]struct {
		outcome model.IntentState
		hold    string
		second  model.IntentState
	}{
		"done":    {model.IntentDone, "in_force 0 1", model.IntentAlready},
		"failed":  {model.IntentFailed, "none", model.IntentPending},
		"refused": {model.IntentRefused, "none", model.IntentPending},
		"already": {model.IntentAlready, "none", model.IntentPending},
		"unknown": {model.IntentUnknown, "none", model.IntentPending},
	} {
		t.Run(name, func(t *testing.T) {
			f := newHolding(t, "base held")
			f.alert(0)
			f.alert(1)
			first := f.step(0)
			if notes := f.notes(); len(notes) != 1 || !strings.Contains(notes[0], "waits for what becomes of "+first.ID) {
				t.Fatalf("notes %v", notes)
			}
			f.outcome(first, c.outcome)
			f.wantHold(c.hold)
			f.wantState(f.step(1), c.second)
		})
	}
}

// TestWhatWasSoBeforeIsNotUndone: nobody owns what Kelpie did not do.
func TestWhatWasSoBeforeIsNotUndone(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.outcome(f.step(0), model.IntentAlready)
	f.wantHold("none")
	f.tick(2 * time.Hour)
	f.wantHold("none")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	f.wantHold("none")
	if len(f.m.holds) != 0 {
		t.Error("a hold is remembered that is none")
	}
}

// TestUnknownMayBeOurs: who may have done it, and who found it so meanwhile, own it when it is
// known that Kelpie did it.
func TestUnknownMayBeOurs(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.outcome(f.step(0), model.IntentUnknown)
	f.alert(1)
	f.outcome(f.step(1), model.IntentAlready)
	f.wantHold("none")
	f.order(model.Command{Kind: model.ResolveIntent, Intent: f.step(0).ID, State: model.IntentDone})
	f.wantHold("in_force 0 1")

	f = newHolding(t, "base held")
	f.alert(0)
	f.outcome(f.step(0), model.IntentUnknown)
	f.alert(1)
	f.done(f.step(1))
	f.wantHold("in_force 1 0")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	f.done(f.undo())
	f.wantState(f.step(0), model.IntentUndone) // whatever it did

	f = newHolding(t, "base held")
	f.alert(0)
	f.outcome(f.step(0), model.IntentUnknown)
	f.alert(1)
	f.outcome(f.step(1), model.IntentAlready)
	f.order(model.Command{Kind: model.ResolveIntent, Intent: f.step(0).ID, State: model.IntentFailed})
	f.wantHold("none")
	if len(f.m.holds) != 0 {
		t.Error("a hold is remembered that is none")
	}
}

// TestAPersonReleases: all owners, or those of one case, whatever its id.
func TestAPersonReleases(t *testing.T) {
	f := newHolding(t, "base kept")
	f.alert(0)
	f.done(f.step(0))
	f.alert(1)
	f.tick(1000 * time.Hour)
	f.wantHold("in_force 0 1")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1, Case: model.CaseID("s-1")})
	f.wantHold("in_force 0")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1, Case: "c-nonsense"})
	f.wantHold("in_force 0")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	f.wantHold("releasing")
	h := f.tables.holds[onWS1]
	if h.By != "kim" || h.Because != "it is clean" || h.Owners[1].By != "kim" || f.undo().Because != "released by kim: it is clean" {
		t.Errorf("hold %+v", h)
	}
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	if n := f.tables.holds[onWS1].Tries; n != 1 {
		t.Errorf("%d tries", n)
	}
	f.done(f.undo())
	f.wantHold("released")
}

// TestAnUndoThatFails waits for a person, or for who wants it again.
func TestAnUndoThatFails(t *testing.T) {
	stuck := func(t *testing.T, state model.IntentState) *holding {
		f := newHolding(t, "base held")
		f.alert(0)
		f.done(f.step(0))
		f.tick(0)
		f.tick(time.Hour)
		f.outcome(f.undo(), state)
		return f
	}
	t.Run("tried again by order", func(t *testing.T) {
		f := stuck(t, model.IntentFailed)
		f.wantHold("stuck")
		f.tick(100 * time.Hour)
		f.wantHold("stuck")
		if h := f.tables.holds[onWS1]; h.Message != "as told" {
			t.Errorf("hold %+v", h)
		}
		f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
		f.wantHold("releasing")
		if f.undo().ID != model.UndoID(f.step(0).ID, 2) {
			t.Error("the second try has no key of its own")
		}
		f.done(f.undo())
		f.wantHold("released")
	})
	t.Run("wanted again", func(t *testing.T) {
		f := stuck(t, model.IntentRefused)
		f.alert(1)
		f.wantState(f.step(1), model.IntentAlready)
		f.wantHold("in_force 1")
		f.tick(0)
		f.tick(time.Hour)
		f.done(f.undo())
		f.wantHold("released")
	})
	t.Run("unknown, and a person knows", func(t *testing.T) {
		f := stuck(t, model.IntentUnknown)
		f.wantHold("unknown")
		undo := model.UndoID(f.step(0).ID, 1)
		f.order(model.Command{Kind: model.ResolveIntent, Intent: undo, State: model.IntentDone})
		f.wantHold("released")
		f = stuck(t, model.IntentUnknown)
		f.order(model.Command{Kind: model.ResolveIntent, Intent: undo, State: model.IntentFailed})
		f.wantHold("stuck")
	})
	t.Run("unknown, and learnt late", func(t *testing.T) {
		f := stuck(t, model.IntentUnknown)
		f.done(f.tables.intents[model.UndoID(f.step(0).ID, 1)])
		f.wantHold("released")
	})
	t.Run("unknown, and wanted again", func(t *testing.T) {
		for _, state := range []model.IntentState{model.IntentDone, model.IntentAlready} {
			f := stuck(t, model.IntentUnknown)
			old := f.tables.intents[model.UndoID(f.step(0).ID, 1)]
			f.alert(1)
			f.wantState(f.step(1), model.IntentPending) // it has to be asked
			f.outcome(f.step(1), state)
			f.wantHold("in_force 1")
			f.done(old) // what it did is over
			f.wantHold("in_force 1")
			f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
			f.done(f.undo())
			f.wantState(f.step(0), model.IntentUndone)
			f.wantState(f.step(1), model.IntentUndone)
		}
	})
}

// TestWantedWhileReleased: who wants it while its undo is under way is planned after it.
func TestWantedWhileReleased(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	f.tick(time.Hour)
	f.alert(1)
	if notes := f.notes(); len(notes) != 1 || !strings.Contains(notes[0], "waits for what becomes of its release") {
		t.Fatalf("notes %v", notes)
	}
	f.done(f.undo())
	f.wantHold("released")
	f.wantState(f.step(1), model.IntentPending)
	f.done(f.step(1))
	f.wantHold("in_force 1")
}

// TestANewRound: what was undone is done again for new evidence only.
func TestANewRound(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	f.done(f.undo())
	f.tick(time.Hour)
	if f.step(0).Round != 0 {
		t.Fatal("it is done again without a reason")
	}
	f.signals(sig("s-0b", minutes(1), 90, "subject host:ws-1"))
	again := f.step(0)
	if again.Round != 1 || again.State != model.IntentPending {
		t.Fatalf("new evidence: %+v", again)
	}
	f.done(again)
	f.wantHold("in_force 0")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	if f.undo().ID != model.UndoID(again.ID, 1) {
		t.Error("the undo of the second round has the first one's key")
	}
}

// TestAMergeOfCasesMergesOwnership: each share keeps its own end, and one order lets go
// of both.
func TestAMergeOfCasesMergesOwnership(t *testing.T) {
	setUp := func(t *testing.T) *holding {
		f := newHolding(t, "base held")
		f.alert(0)
		f.done(f.step(0))
		f.tick(0)
		f.tick(30 * time.Minute)
		f.alert(1)
		f.tick(0)
		for n := 50; n < 240; n += 50 { // a chain from the first to the second
			f.signals(sig(fmt.Sprintf("m-%d", n), minutes(n), 90, "subject host:ws-1"))
		}
		f.settle()
		if open := f.tables.open(); len(open) != 1 {
			t.Fatalf("%d cases are open", len(open))
		}
		f.wantHold("in_force 0 1")
		return f
	}
	f := setUp(t)
	f.tick(30 * time.Minute)
	f.wantHold("in_force 1")
	f.tick(30 * time.Minute)
	f.wantHold("releasing")

	f = setUp(t)
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1, Case: model.CaseID("s-1")})
	f.wantHold("releasing")
	n := 0
	for _, in := range f.tables.intents {
		if in.Step == "isolate" && in.Undoes == "" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d steps, want one of each case and no more", n)
	}
}

// TestMergeWhileAStepRuns: the case that waited is part of the one that acts.
func TestMergeWhileAStepRuns(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.alert(1)
	for n := 50; n < 240; n += 50 {
		f.signals(sig(fmt.Sprintf("m-%d", n), minutes(n), 90, "subject host:ws-1"))
	}
	f.settle()
	f.done(f.step(0))
	f.wantHold("in_force 0")
	f.tick(0)
	f.tick(time.Hour)
	f.wantHold("releasing")
}

// TestPausedTimeGoesOn: deadlines do not stand still, and what is released waits for
// respond, which does nothing while it is paused.
func TestPausedTimeGoesOn(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	f.order(model.Command{Kind: model.PauseActions})
	f.tick(time.Hour)
	f.wantHold("releasing")
}

// TestTheModeUndoesNothingLess: a configuration that acts no more still lets go.
func TestTheModeUndoesNothingLess(t *testing.T) {
	for _, config := range []string{"base dry", "base off", "base quiet"} {
		f := newHolding(t, "base held")
		f.alert(0)
		f.done(f.step(0))
		f.tick(0)
		f.config(config, false)
		f.tick(time.Hour)
		f.wantHold("releasing")
		if undo := f.undo(); undo.DryRun {
			t.Errorf("%s: the undo is a dry run", config)
		}
		if diff := cmp.Diff([]string{"action.edr"}, f.m.Holding()); diff != "" {
			t.Error(diff)
		}
		f.done(f.undo())
		if len(f.m.Holding()) != 0 {
			t.Errorf("%s: released, %v hold", config, f.m.Holding())
		}
	}
}

// TestLimitsCountCalls: an owner that joins and an undo take no room.
func TestLimitsCountCalls(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.alert(1)
	f.alert(2)
	f.alert(3)
	f.wantHold("in_force 0 1 2 3")
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	if n := f.m.recently("isolate_host"); n != 1 {
		t.Errorf("%d count for the limit", n)
	}
	restored := New(testCompiler)
	if err := restored.Restore(bytes.NewReader(snapshot(t, f.m))); err != nil {
		t.Fatal(err)
	}
	if n := restored.recently("isolate_host"); n != 1 {
		t.Errorf("restored, %d count for the limit", n)
	}
}

// TestACaseInAHoldStays: it must not leave the memory.
func TestACaseInAHoldStays(t *testing.T) {
	f := newHolding(t, "base held")
	in := func(n int) bool {
		return f.m.inHold(f.m.cases[f.m.index.Group(f.m.firsts[model.CaseID(fmt.Sprintf("s-%d", n))])])
	}
	f.alert(0)
	f.alert(1)
	f.signals(sig("s-2", minutes(9999), 90, "subject host:ws-2"))
	want := func(when string, states ...bool) {
		t.Helper()
		if got := []bool{in(0), in(1), in(2)}; !slices.Equal(got, states) {
			t.Errorf("%s: %v, want %v", when, got, states)
		}
	}
	want("tried and waited for", true, true, false)
	f.done(f.step(0))
	want("held", true, true, false)
	f.order(model.Command{Kind: model.ReleaseHold, Hold: onWS1})
	want("releasing", true, true, false)
	f.done(f.undo())
	want("released", false, false, false)
}

// TestASubjectReleasesNothing that a case holds of which it is one, by whatever name; that
// it tried is in the audit.
func TestASubjectReleasesNothing(t *testing.T) {
	const self = "it does not count: "
	for name, c := range map[string]struct {
		order model.Command
		hold  string // after it
		why   string // in the audit
	}{
		"the hold":            {model.Command{Kind: model.ReleaseHold, By: "eve"}, "in_force 0", self + "user:eve is a subject of the case"},
		"of the case":         {model.Command{Kind: model.ReleaseHold, By: "eve", Case: model.CaseID("s-0")}, "in_force 0", self + "user:eve is a subject of the case"},
		"by mail":             {model.Command{Kind: model.ReleaseHold, By: "Eve@example.org"}, "in_force 0", self + "user:eve is a subject of the case"},
		"everything":          {model.Command{Kind: model.ReleaseAll, By: "eve"}, "in_force 0", self + "user:eve is a subject of the case"},
		"somebody else":       {model.Command{Kind: model.ReleaseHold, By: "kim"}, "releasing", ""},
		"else everything":     {model.Command{Kind: model.ReleaseAll, By: "kim"}, "releasing", ""},
		"else, like a prefix": {model.Command{Kind: model.ReleaseHold, By: "evelyn"}, "releasing", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newHolding(t, "base kept")
			f.alert(0)
			f.signals(sig("s-7", minutes(1), 90, "subject host:ws-1", "subject user:eve"))
			f.settle()
			f.done(f.step(0))
			f.wantHold("in_force 0")
			c.order.Because = "it is clean"
			if c.order.Kind == model.ReleaseHold {
				c.order.Hold = onWS1
			}
			changes := f.apply(model.Input{Command: &c.order})
			f.wantHold(c.hold)
			why := ""
			for _, r := range changes.Records {
				if r.Kind == model.RecordRelease {
					why = r.Message
				}
			}
			if why != c.why {
				t.Errorf("the audit says %q, want %q", why, c.why)
			}
		})
	}
}
