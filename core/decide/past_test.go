package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestAskedAsADryRun: what nobody has seen is withdrawn when actions are on, and its time is
// nobody's silence.
func TestAskedAsADryRun(t *testing.T) {
	f := newAsking(t, "base asks dry")
	f.alert(0)
	f.deliver("kim@example.org", model.IntentDone)
	f.tick(0)
	f.config("base asks", false)
	f.wantQuestion(0, model.QuestionWithdrawn)
	if why := f.question(0).Why; !strings.Contains(why, "dry run") {
		t.Error(why)
	}
	f.tick(20 * time.Minute)
	f.wantIsolated("")
}

// TestAskedAnewOfWhatGoesOn: who ignored a case has not ignored what comes for it later.
func TestAskedAnewOfWhatGoesOn(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.deliver("kim@example.org", model.IntentDone)
	f.choose(model.Command{By: "kim", Option: "ignore", Because: "expected"})
	f.tick(time.Minute)
	f.signals(sig("s-9", minutes(2), 90, "subject host:ws-1"))
	f.settle()
	f.wantQuestion(1, model.QuestionOpen)
	f.deliver("joe@example.org", model.IntentDone) // of both questions
	f.deliver("joe@example.org", model.IntentDone)
	f.tick(0)
	f.tick(20 * time.Minute)
	f.wantQuestion(1, model.QuestionTimedOut)
	f.wantIsolated("ws-1 pending")
}

// TestAnUnknownMessageOfWhatHasLeft: what is said of a message that told of many is said of
// each, also of those that have left memory.
func TestAnUnknownMessageOfWhatHasLeft(t *testing.T) {
	f := &feed{t: t, m: New(within(Limits{Signals: 1}, 0)), now: start, tables: newTables()}
	f.config("base blind gather", false)
	f.passes(time.Second)
	give := func(in model.Input) {
		in.At = f.now
		at := Position{Seq: f.m.Position().Seq + 1}
		if err := f.tables.bring(f.m, at, &in, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.m.Apply(at.Seq, 0, in); err != nil {
			t.Fatal(err)
		}
		f.tables.commit(f.m.Changes())
	}
	f.alert(1, 50)
	f.alert(2, 50)
	f.passes(time.Second)
	f.passes(10 * time.Second)
	together := func() (one model.Intent) {
		for _, in := range f.tables.intents {
			if in.Response == "" {
				one = in
			}
		}
		return one
	}
	give(model.Input{Outcome: &model.Outcome{Intent: together().ID, State: model.IntentUnknown, Attempts: 1}})
	f.now = f.now.Add(time.Hour)
	for n := 3; n < 6; n++ {
		g := sig("q-"+string(rune('0'+n)), f.now, 1, "subject ip:10.0.7.1")
		g.Rule = "rule.quiet"
		f.signals(g)
	}
	if len(f.m.intents) > 0 {
		t.Fatalf("%d intents are in memory", len(f.m.intents))
	}
	give(model.Input{Command: &model.Command{Kind: model.ResolveIntent, By: "kim", Intent: together().ID, State: model.IntentDone}})
	for _, in := range f.tables.intents {
		if in.Verb == "notify" && in.State != model.IntentDone {
			t.Errorf("%s of %s is %s", in.ID, in.Case, in.State)
		}
	}
}

// TestAPauseLooksAtWhatIsUnderWay: what could have left memory is not planned by it, or rows
// would depend on whether it has.
func TestAPauseLooksAtWhatIsUnderWay(t *testing.T) {
	dump := func(l Limits) string {
		f := &feed{t: t, m: New(within(l, 0)), now: start, tables: newTables()}
		f.config("base blind approves", false)
		for n := range 3 { // kim and ann may not be asked: the question fails at once
			f.signals(sig(fmt.Sprintf("s-%d", n), minutes(240*n), 90, fmt.Sprintf("subject host:ws-%d", n), "subject user:ann"))
			f.answer("enrichment.assets", fmt.Sprintf("host:ws-%d", n), workstation(fmt.Sprintf("ws-%d", n)))
			f.settle()
			for _, id := range slices.Sorted(maps.Keys(f.tables.intents)) {
				if in := f.tables.intents[id]; in.State == model.IntentPending {
					f.outcome(in, model.IntentDone)
				}
			}
		}
		f.now = f.now.Add(time.Hour)
		f.apply(model.Input{Command: &model.Command{Kind: model.PauseOf, By: "lee", Of: "response.contain"}})
		f.now = f.now.Add(time.Hour)
		f.apply(model.Input{Command: &model.Command{Kind: model.ResumeOf, By: "lee", Of: "response.contain"}})
		return f.tables.dump()
	}
	if diff := cmp.Diff(dump(Limits{}), dump(Limits{Signals: 1})); diff != "" {
		t.Error(diff)
	}
}

// TestAnEndedCaseSaysWhatItBecameOneWith: the other, in whatever order they came.
func TestAnEndedCaseSaysWhatItBecameOneWith(t *testing.T) {
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		for ended := 1; ended <= 2; ended++ {
			f := newFeed(t)
			f.config("base blind", false)
			for _, n := range order {
				f.alert(n, 50)
			}
			f.end(fmt.Sprint("s-", ended), model.Benign)
			other := f.row(fmt.Sprint("s-", 3-ended)).ID
			f.apply(model.Input{Command: &model.Command{ID: "m", Kind: model.MergeCases, By: "kim", Signals: []string{"s-1", "s-2"}}})
			f.wantState("s-1", "open, was benign: it became one with "+other+", which had not ended")
		}
	}
}
