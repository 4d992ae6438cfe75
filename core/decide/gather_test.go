package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// passes tells the machine that so much time has passed, and again that it is so.
func (f *feed) passes(d time.Duration) {
	f.t.Helper()
	f.now = f.now.Add(d)
	for range 2 {
		f.apply(model.Input{Tick: &model.Tick{Boot: "b", Uptime: f.now.Sub(start), Wall: f.now}})
	}
}

// alert makes a case of its own of a host.
func (f *feed) alert(n, severity int) {
	f.t.Helper()
	f.signals(sig(fmt.Sprintf("s-%d", n), f.now, severity, fmt.Sprintf("subject host:ws-%d", n)))
	f.settle()
}

// told shows the mails as "state: how many cases", in the order of planning.
func (f *feed) told() (all []string) {
	f.t.Helper()
	var states []*intentState
	for _, in := range f.m.intents {
		if in.Verb == "notify" {
			states = append(states, in)
		}
	}
	slices.SortFunc(states, func(a, b *intentState) int { return int(a.number) - int(b.number) })
	for _, in := range states {
		text := string(in.State)
		switch {
		case in.Response == "":
			text += fmt.Sprintf(": %d together", in.Gathers)
		case in.Gathered != "":
			text += " with others"
		}
		all = append(all, text)
	}
	return all
}

func (f *feed) wantTold(what string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.told()); diff != "" {
		f.t.Errorf("%s: %s", what, diff)
	}
}

func gatherFeed(t testing.TB, config string) *feed {
	f := newFeed(t)
	f.config("base blind "+config, false)
	f.passes(time.Second)
	return f
}

func TestGather(t *testing.T) {
	f := gatherFeed(t, "gather")
	f.alert(1, 50)
	f.wantTold("it waits", "gathered")
	f.passes(time.Second)
	f.wantTold("still", "gathered")
	f.passes(10 * time.Second)
	f.wantTold("one alone is told as it is", "pending")
	for n := 2; n <= 61; n++ {
		f.alert(n, n+38)
	}
	f.passes(time.Second)
	f.passes(10 * time.Second)
	all := f.told()
	if n := len(all); all[n-1] != fmt.Sprintf("pending: %d together", n-2) || n < 50 {
		t.Fatalf("%d, the last %q", n, all[n-1])
	}
	var one model.Intent
	for _, in := range f.tables.intents {
		if in.Gathers > 0 {
			one = in
		}
	}
	var parameters struct{ Notice sdk.Notice }
	if err := json.Unmarshal(one.Parameters, &parameters); err != nil {
		t.Fatal(err)
	}
	notice := parameters.Notice
	if len(notice.Gathered) != min(maxGathered, one.Gathers) || notice.GatheredCount != one.Gathers {
		t.Errorf("%d of %d are listed, of %d", len(notice.Gathered), notice.GatheredCount, one.Gathers)
	}
	if worst := notice.Gathered[0]; worst.Title != "title of s-61" || worst.Severity != 99 || !slices.Contains(worst.Subjects, "host:ws-61") {
		t.Errorf("the first is %+v", worst)
	}
	f.outcome(one, model.IntentDone)
	for _, in := range f.tables.intents {
		if in.Verb == "notify" && in.Gathered == one.ID && (in.State != model.IntentDone || in.FinishedAt.IsZero()) {
			t.Errorf("%s is %s", in.ID, in.State)
		}
	}
}

// TestGatherOnce: at the end of a run that has one, nothing waits.
func TestGatherOnce(t *testing.T) {
	f := newFeed(t)
	f.config("base blind gather digest nightly", true)
	f.alert(1, 50)
	f.alert(2, 50)
	f.wantTold("nothing is planned before")
	f.apply(model.Input{Ended: &model.Ended{}})
	f.wantTold("all is told", "gathered with others", "gathered with others", "pending: 2 together")
}

// TestDigest: what is less than the digest's waits for it, and is told as the rest is
// when it has become worse.
func TestDigest(t *testing.T) {
	f := gatherFeed(t, "gather digest")
	f.alert(1, 30)
	f.alert(2, 30)
	f.passes(time.Second)
	f.passes(time.Minute)
	f.wantTold("they wait", "gathered", "gathered")
	f.signals(sig("s-3", f.now, 95, "subject host:ws-2"))
	f.settle()
	f.passes(time.Second)
	f.passes(10 * time.Second)
	if all := f.told(); all[0] != "gathered" || all[1] != "pending" {
		t.Errorf("the one that is worse is told: %v", all)
	}
	f.passes(24 * time.Hour)
	if all := f.told(); all[0] != "pending" {
		t.Errorf("after a day: %v", all)
	}
}

// TestQuietHours: what is less than bad is told when they are over. It is noon.
func TestQuietHours(t *testing.T) {
	f := gatherFeed(t, "gather nightly")
	f.alert(1, 30)
	f.alert(2, 95)
	f.passes(time.Second)
	f.passes(10 * time.Second)
	f.wantTold("the bad is told", "gathered", "pending")
	f.passes(50 * time.Minute)
	f.wantTold("still", "gathered", "pending")
	f.passes(15 * time.Minute)
	f.wantTold("at one", "pending", "pending")
}

// TestGatheredIsOneOfALimit: however many are told together, it is one.
func TestGatheredIsOneOfALimit(t *testing.T) {
	f := gatherFeed(t, "gather few")
	for n := range 5 {
		f.alert(n, 50)
	}
	f.passes(time.Second)
	f.passes(10 * time.Second)
	if all := f.told(); all[len(all)-1] != "pending: 5 together" {
		t.Errorf("%v", all)
	}
	f.alert(7, 50)
	if notes := strings.Join(f.notes(), "\n"); !strings.Contains(notes, "the limit of 1 notify per hour is reached") {
		t.Errorf("notes: %s", notes)
	}
}

// TestGatherIsTheSameAfterAnyStart: whatever comes and wherever it is killed, the same is
// told, each once, and what waits is told in the end.
func TestGatherIsTheSameAfterAnyStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := "base blind " + rapid.SampledFrom([]string{"gather", "gather digest", "gather nightly", "gather digest nightly few"}).Draw(t, "config")
		a, b := New(testCompiler), New(testCompiler)
		now, seq, events := start, uint64(0), uint64(0)
		state := map[string]model.IntentState{}
		var ids []string
		give := func(in model.Input) {
			in.At = now
			seq++
			var said [2][]byte
			for i, m := range []*Machine{a, b} {
				if err := m.Apply(seq, 0, in); err != nil {
					t.Fatal(err)
				}
				c := m.Changes()
				said[i] = encoded(c)
				for _, n := range c.Intents {
					if _, known := state[n.ID]; !known {
						ids = append(ids, n.ID)
					}
					state[n.ID] = n.State
				}
			}
			if !bytes.Equal(said[0], said[1]) {
				t.Fatalf("input %d gives another after a start:\n%s\n%s", seq, said[0], said[1])
			}
		}
		tick := func(d time.Duration) {
			now = now.Add(d)
			give(model.Input{Tick: &model.Tick{Boot: "b", Uptime: now.Sub(start), Wall: now}})
		}
		give(model.Input{Config: &model.Config{Hash: config, Text: []byte(`"` + config + `"`)}})
		tick(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				events++
				host := rapid.IntRange(1, 6).Draw(t, "host")
				g := sig(fmt.Sprintf("s-%d", events), minutes(90*host), rapid.SampledFrom([]int{30, 60, 90}).Draw(t, "severity"), fmt.Sprintf("subject host:ws-%d", host))
				g.Position = model.Position{Seq: events}
				give(model.Input{Match: &model.MatchResult{
					Seq: events, Source: "detector.ids", Total: events, Count: 1, Counts: model.Counts{Matched: 1}, Signals: []model.Signal{g},
				}})
				for id, l := range a.asks {
					if l.pending() {
						give(model.Input{Reply: &model.Reply{Ask: id, State: model.Unknown, AnsweredAt: now, Expires: now.Add(1000 * time.Hour)}})
					}
				}
			case 2:
				tick(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, time.Hour, 25 * time.Hour}).Draw(t, "passes"))
			case 3:
				if len(ids) > 0 {
					give(model.Input{Outcome: &model.Outcome{Intent: rapid.SampledFrom(ids).Draw(t, "intent"), State: model.IntentDone, Attempts: 1}})
				}
			case 4:
				again := New(testCompiler)
				if err := again.Restore(bytes.NewReader(snapshot(t, b))); err != nil {
					t.Fatal(err)
				}
				b = again
			}
		}
		for range 2 {
			tick(26 * time.Hour)
		}
		tick(time.Minute)
		for _, id := range slices.Clone(ids) {
			if state[id] == model.IntentPending {
				give(model.Input{Outcome: &model.Outcome{Intent: id, State: model.IntentDone, Attempts: 1}})
			}
		}
		for range 3 {
			tick(26 * time.Hour)
			for _, id := range slices.Clone(ids) {
				if state[id] == model.IntentPending {
					give(model.Input{Outcome: &model.Outcome{Intent: id, State: model.IntentDone, Attempts: 1}})
				}
			}
		}
		for id, s := range state {
			if s != model.IntentDone {
				t.Errorf("%s is %s in the end", id, s)
			}
		}
		if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
			t.Error("the memory is another after a start")
		}
	})
}

// TestSchedulesAreKept: who is on call is by decide's time, and is known after a start.
func TestSchedulesAreKept(t *testing.T) {
	f := newFeed(t)
	f.config("base blind oncall", false)
	s := model.Schedule{Address: "schedule.netsec", Until: start.Add(48 * time.Hour), Shifts: []model.Shift{
		{From: start, To: start.Add(time.Hour), People: []string{"kim@example.org"}},
		{From: start.Add(time.Hour), To: start.Add(72 * time.Hour), People: []string{"ann@example.org"}},
	}}
	if c := f.apply(model.Input{Schedule: &s}); len(c.Schedules) != 1 {
		t.Errorf("%d rows", len(c.Schedules))
	}
	if c := f.apply(model.Input{Schedule: &model.Schedule{Address: "schedule.gone"}}); len(c.Schedules) != 0 {
		t.Error("what the configuration does not have is kept")
	}
	for range 2 {
		for after, want := range map[time.Duration]string{0: "kim@example.org", time.Hour: "ann@example.org", 49 * time.Hour: ""} {
			f.m.at = start.Add(after)
			if got := strings.Join(f.m.onCall()["schedule.netsec"], ","); got != want {
				t.Errorf("after %s %q is on call, want %q", after, got, want)
			}
		}
		f.m.at = start
		again := New(testCompiler)
		if err := again.Restore(bytes.NewReader(snapshot(t, f.m))); err != nil {
			t.Fatal(err)
		}
		f.m = again
	}
	if c := f.config("base blind", false); len(c.Schedules) != 1 || len(f.m.schedules) != 0 {
		t.Error("it is known still, and is not in the configuration any more")
	}
}
