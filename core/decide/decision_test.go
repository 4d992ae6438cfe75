package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// cases lists the members of the open cases, and below each why they are one.
func (f *feed) cases() []string {
	members := map[string][]string{}
	for signal, id := range f.tables.members {
		members[id] = append(members[id], signal)
	}
	var all []string
	for id, list := range members {
		slices.Sort(list)
		text := strings.Join(list, " ")
		for _, why := range f.tables.cases[id].Joined {
			text += "\n  " + why
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func (f *feed) wantCases(what string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.cases()); diff != "" {
		f.t.Errorf("%s: %s", what, diff)
	}
}

func (f *feed) decide(n int, kind model.CommandKind, about ...string) string {
	f.t.Helper()
	c := model.Command{ID: fmt.Sprint(n), Kind: kind, By: "kim", Because: "I looked"}
	switch kind {
	case model.NeverJoin:
		c.Value = about[0]
	case model.UndoDecision:
		c.Decision = about[0]
	default:
		c.Signals = about
	}
	f.apply(model.Input{Command: &c})
	return DecisionID(c.ID)
}

// TestDecisionsOfPeople: cases are merged and split by hand, stay so under what comes
// later, and are as they would have been once that is undone; nothing is done again.
func TestDecisionsOfPeople(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 90, "subject host:ws-1"), sig("s-2", minutes(10), 90, "subject host:ws-2"))
	f.signals(sig("s-3", minutes(20), 90, "subject host:ws-2"))
	for _, host := range []string{"ws-1", "ws-2"} {
		f.answer("enrichment.assets", "host:"+host, workstation(host))
	}
	f.settle()
	for _, in := range maps.Clone(f.tables.intents) {
		f.outcome(in, model.IntentDone)
	}
	done := len(f.tables.intents)

	merged := f.decide(1, model.MergeCases, "s-1", "s-2")
	why := "\n  merged by kim (" + merged + "): I looked"
	f.wantCases("merged", "s-1 s-2 s-3"+why)
	if open := f.tables.open(); len(open) != 1 || !slices.Equal(open[0].Aliases, []string{model.CaseID("s-2")}) {
		t.Errorf("open = %+v", open)
	}
	f.signals(sig("s-4", minutes(30), 90, "subject host:ws-2"))
	f.wantCases("another signal", "s-1 s-2 s-3 s-4"+why)
	f.decide(2, model.MergeCases, "s-1", "s-4")
	if len(f.m.decisions) != 1 {
		t.Error("one case was merged with itself")
	}

	split := f.decide(3, model.SplitCase, "s-3")
	f.wantCases("split", "s-1 s-2 s-4"+why, "s-3\n  split off by kim ("+split+"): I looked")
	f.signals(sig("s-5", minutes(20), 90, "subject host:ws-2"))
	f.wantCases("a signal beside the one that was split off", "s-1 s-2 s-4 s-5"+why, "s-3\n  split off by kim ("+split+"): I looked")

	f.decide(4, model.UndoDecision, split)
	f.wantCases("the split undone", "s-1 s-2 s-3 s-4 s-5"+why)
	f.decide(5, model.UndoDecision, merged)
	f.wantCases("the merge undone", "s-1", "s-2 s-3 s-4 s-5")
	if diff := cmp.Diff(map[string]string{model.CaseID("s-3"): model.CaseID("s-2")}, f.tables.aliases); diff != "" {
		t.Errorf("an id that was in use stays an alias: %s", diff)
	}
	never := f.decide(6, model.NeverJoin, "host:WS-2")
	f.wantCases("a value that joins nothing", "s-1", "s-2", "s-3", "s-4", "s-5")
	f.decide(7, model.UndoDecision, never)
	f.wantCases("and joins again", "s-1", "s-2 s-3 s-4 s-5")
	f.settle()
	if n := len(f.tables.intents); n != done {
		t.Errorf("%d steps, before the decisions %d", n, done)
	}
	if len(f.m.decisions) != 0 {
		t.Errorf("decisions %+v", f.m.decisions)
	}
}

// TestWhatDoesNotFit: an order that says nothing new, or of nothing there, changes
// nothing.
func TestWhatDoesNotFit(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 9, "subject host:ws-1"), sig("s-2", minutes(1), 9, "subject host:ws-1"))
	for i, c := range []struct {
		kind  model.CommandKind
		about []string
	}{
		{model.MergeCases, []string{"s-1", "s-9"}},
		{model.MergeCases, []string{"s-1"}},
		{model.MergeCases, nil},
		{model.SplitCase, []string{"s-1", "s-2"}},
		{model.SplitCase, []string{"s-9"}},
		{model.SplitCase, nil},
		{model.NeverJoin, []string{"ip:10.0.0.1"}},
		{model.NeverJoin, []string{"nothing"}},
		{model.UndoDecision, []string{"d-1"}},
	} {
		before := f.tables.dump()
		f.decide(i, c.kind, c.about...)
		if diff := cmp.Diff(before, f.tables.dump()); diff != "" {
			t.Errorf("%s %v: %s", c.kind, c.about, diff)
		}
	}
}

// TestACaseIsCut: what would be too large stays two cases, and each says where the rest
// is.
func TestACaseIsCut(t *testing.T) {
	f := newFeed(t)
	f.config("capped quiet", false)
	for i := range 5 {
		f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 9, "subject host:ws-1"))
	}
	why := "\n  it would have more than 3 signals, the most that a case may have (case.most): the rest is in "
	f.wantCases("cut", "s-0 s-1 s-2"+why+model.CaseID("s-3"), "s-3 s-4"+why+model.CaseID("s-0"))
}

// sighted is what an inventory says of an address or name.
func sighted(name, fqdn string, at time.Time, macs ...string) model.Reply {
	return asset(model.Asset{Name: name, FQDN: fqdn, SeenAt: at, MACs: macs})
}

// TestWhoIsWho: signals whose subjects are the same by internal answers are one case.
func TestWhoIsWho(t *testing.T) {
	identity := func(id model.Identity) model.Reply {
		return model.Reply{State: model.Known, Answers: []model.Answer{{Identity: &id}}}
	}
	for name, c := range map[string]struct {
		signals []string // each of a minute after the last, or "90m values"
		answers map[string]model.Reply
		want    []string
	}{
		"an address and a name": {
			[]string{"subject ip:10.1.2.3", "subject host:ws-17"},
			map[string]model.Reply{"enrichment.assets ip:10.1.2.3": sighted("ws-17", "", time.Time{})},
			[]string{"s-0 s-1\n  ip:10.1.2.3 is host:ws-17 by enrichment.assets"},
		},
		"two addresses of one name": {
			[]string{"subject ip:10.1.2.3", "subject ip:10.1.2.4"},
			map[string]model.Reply{
				"enrichment.assets ip:10.1.2.3": sighted("ws-17", "", minutes(0)), "enrichment.assets ip:10.1.2.4": sighted("ws-17", "", minutes(0)),
			},
			[]string{"s-0 s-1\n  ip:10.1.2.3 is host:ws-17 by enrichment.assets, seen 2026-03-01 12:00:00\n  ip:10.1.2.4 is host:ws-17 by enrichment.assets, seen 2026-03-01 12:00:00"},
		},
		"a full name and a hardware address": {
			[]string{"subject mac:00:11:22:33:44:55", "subject host:ws-17.example.org", "subject host:ws-17"},
			map[string]model.Reply{"enrichment.leases mac:00:11:22:33:44:55": sighted("ws-17", "ws-17.example.org", time.Time{})},
			[]string{"s-0 s-1 s-2\n  mac:00:11:22:33:44:55 is host:ws-17 by enrichment.leases\n  mac:00:11:22:33:44:55 is host:ws-17.example.org by enrichment.leases"},
		},
		"an address that was another's then": {
			[]string{"subject ip:10.1.2.3", "subject host:ws-17"},
			map[string]model.Reply{"enrichment.assets ip:10.1.2.3": sighted("ws-17", "", minutes(62))},
			[]string{"s-0", "s-1"},
		},
		"of two inventories that which saw it nearer to then": {
			[]string{"subject ip:10.1.2.3", "subject host:ws-17", "subject host:ws-18"},
			map[string]model.Reply{
				"enrichment.assets ip:10.1.2.3": sighted("ws-17", "", minutes(-30)), "enrichment.leases ip:10.1.2.3": sighted("ws-18", "", minutes(10)),
			},
			[]string{"s-0 s-2\n  ip:10.1.2.3 is host:ws-18 by enrichment.leases, seen 2026-03-01 12:10:00", "s-1"},
		},
		"of two that give no time the first configured": {
			[]string{"subject ip:10.1.2.3", "subject host:ws-17", "subject host:ws-18"},
			map[string]model.Reply{
				"enrichment.leases ip:10.1.2.3": sighted("ws-18", "", time.Time{}), "enrichment.assets ip:10.1.2.3": sighted("ws-17", "", time.Time{}),
			},
			[]string{"s-0 s-1\n  ip:10.1.2.3 is host:ws-17 by enrichment.assets", "s-2"},
		},
		"one with a time before one without": {
			[]string{"subject ip:10.1.2.3", "subject host:ws-17", "subject host:ws-18"},
			map[string]model.Reply{
				"enrichment.leases ip:10.1.2.3": sighted("ws-18", "", minutes(5)), "enrichment.assets ip:10.1.2.3": sighted("ws-17", "", time.Time{}),
			},
			[]string{"s-0 s-2\n  ip:10.1.2.3 is host:ws-18 by enrichment.leases, seen 2026-03-01 12:05:00", "s-1"},
		},
		"a user by many names": {
			[]string{"subject user:kim", "subject account:kim@example.org", "subject user:S-1-5-21-1-2-3-1001", "email:kim.lee@example.org"},
			map[string]model.Reply{"enrichment.people user:kim": identity(model.Identity{
				Name: "kim", UPN: "kim@example.org", Mail: "kim.lee@example.org", SID: "S-1-5-21-1-2-3-1001",
			})},
			[]string{"s-0 s-1 s-2 s-3\n  user:kim is account:kim@example.org by enrichment.people\n  user:kim is email:kim.lee@example.org by enrichment.people\n  user:kim is user:S-1-5-21-1-2-3-1001 by enrichment.people"},
		},
		"an indicator is nobody": {
			[]string{"indicator ip:10.1.2.3", "subject host:ws-17"},
			map[string]model.Reply{"enrichment.assets ip:10.1.2.3": sighted("ws-17", "", time.Time{})},
			[]string{"s-0", "s-1"},
		},
		"what never joins is nobody": {
			[]string{"subject ip:10.0.0.1", "subject host:ws-17"},
			map[string]model.Reply{"enrichment.assets ip:10.0.0.1": sighted("ws-17", "", time.Time{})},
			[]string{"s-0", "s-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t)
			f.config("two quiet", false)
			for i, values := range c.signals {
				f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 10, strings.Split(values, ", ")...))
			}
			for _, key := range slices.Sorted(maps.Keys(c.answers)) {
				source, value, _ := strings.Cut(key, " ")
				f.answer(source, value, c.answers[key])
			}
			f.wantCases("cases", c.want...)
		})
	}
}

// TestWhoItWasThen: an address that goes to another machine takes no signal of before
// with it, a failure forgets nobody, and a correction does.
func TestWhoItWasThen(t *testing.T) {
	f := newFeed(t)
	f.config("two quiet", false)
	f.signals(sig("s-1", minutes(0), 10, "subject ip:10.1.2.3"), sig("s-2", minutes(1), 10, "subject host:ws-17"))
	f.answer("enrichment.leases", "ip:10.1.2.3", sighted("ws-17", "", minutes(0)))
	then := "s-1 s-2\n  ip:10.1.2.3 is host:ws-17 by enrichment.leases, seen 2026-03-01 12:00:00"
	f.wantCases("then", then)

	f.now = f.now.Add(30 * time.Hour)
	later := minutes(30 * 60)
	f.signals(sig("s-3", later, 10, "subject ip:10.1.2.3"), sig("s-4", later, 10, "subject host:ws-18"))
	f.answer("enrichment.leases", "ip:10.1.2.3", sighted("ws-18", "", later))
	now := "s-3 s-4\n  ip:10.1.2.3 is host:ws-18 by enrichment.leases, seen 2026-03-02 18:00:00"
	f.wantCases("later", then, now)

	f.signals(sig("s-5", minutes(2), 10, "subject ip:10.1.2.3")) // late: of then
	f.wantCases("late", strings.Replace(then, "s-2", "s-2 s-5", 1), now)

	f.now = f.now.Add(30 * time.Hour)
	f.signals(sig("s-6", later.Add(time.Minute), 10, "subject ip:10.1.2.3"))
	f.answer("enrichment.leases", "ip:10.1.2.3", model.Reply{State: model.Failed})
	f.wantCases("failed", strings.Replace(then, "s-2", "s-2 s-5", 1), strings.Replace(now, "s-4", "s-4 s-6", 1))
}

// TestOrderOfWhoIsWho: whatever the order in which signals, answers and decisions come,
// the groups are those that all of them make together.
func TestOrderOfWhoIsWho(t *testing.T) {
	hosts := []string{"ws-17", "ws-18"}
	rapid.Check(t, func(t *rapid.T) {
		signals := rapid.SliceOfNDistinct(rapid.Custom(drawSignal), 2, 10, func(s model.Signal) string { return s.ID }).Draw(t, "signals")
		said := map[string]model.Reply{} // by source and value
		for _, source := range []string{"enrichment.assets", "enrichment.leases"} {
			for _, ip := range []string{"ip:10.1.2.3", "ip:10.1.2.4"} {
				at := rapid.SampledFrom([]time.Time{{}, minutes(60), minutes(180)}).Draw(t, "seen")
				said[source+" "+ip] = sighted(rapid.SampledFrom(hosts).Draw(t, "host"), "", at)
			}
		}
		var decisions []model.Decision
		for i := range rapid.IntRange(0, 2).Draw(t, "decisions") {
			kind := rapid.SampledFrom([]model.CommandKind{model.MergeCases, model.SplitCase}).Draw(t, "kind")
			decisions = append(decisions, model.Decision{
				ID: fmt.Sprint(i), Kind: kind,
				Signals: rapid.SliceOfNDistinct(rapid.Map(rapid.SampledFrom(signals), func(s model.Signal) string { return s.ID }), 2, 2, rapid.ID).Draw(t, "of"),
			})
		}

		f := &feed{t: failer{t: t}, m: New(testCompiler), now: start, tables: newTables()}
		f.config("base quiet two", false)
		// Decisions that stand, made when nobody knows what will come.
		f.m.decisions = decisions
		f.m.regroup()
		for i, n := range rapid.Permutation(indexes(len(signals))).Draw(t, "order") {
			s := signals[n]
			s.Position = model.Position{Seq: uint64(i + 1)}
			f.signals(s)
			for range rapid.IntRange(0, 3).Draw(t, "answers") {
				f.oneAnswer(t, said)
			}
		}
		for f.oneAnswer(t, said) {
		}

		settings := testSettings().Correlate
		settings.Decisions = decisions
		var all []correlate.Signal
		for _, s := range signals {
			g := correlate.Signal{ID: s.ID, Time: s.Time, Observables: slices.Clone(s.Observables)}
			for _, o := range s.Observables {
				if who := whoThen(said, o, s.Time); who != "" {
					g.Observables = append(g.Observables, sdk.Observable{Kind: sdk.Host, Value: who})
				}
			}
			all = append(all, g)
		}
		var want []string
		for _, members := range correlate.Group(all, settings) {
			slices.Sort(members)
			want = append(want, strings.Join(members, " "))
		}
		slices.Sort(want)
		var got []string
		for _, text := range f.cases() {
			members, _, _ := strings.Cut(text, "\n")
			got = append(got, members)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// whoThen says again, in the plainest way, which host an address was.
func whoThen(said map[string]model.Reply, o sdk.Observable, at time.Time) string {
	if o.Role != sdk.Subject || o.Kind != sdk.IP {
		return ""
	}
	best, who, sighted := time.Duration(-1), "", time.Time{}
	for _, source := range []string{"enrichment.assets", "enrichment.leases"} { // in the order of the configuration
		r, ok := said[source+" "+o.Key()]
		if !ok {
			continue
		}
		a := r.Answers[0].Asset
		if a.SeenAt.IsZero() {
			if who == "" {
				who = a.Name
			}
			continue
		}
		away := at.Sub(a.SeenAt).Abs()
		if away <= time.Hour && (best < 0 || away < best || away == best && a.SeenAt.After(sighted)) {
			best, who, sighted = away, a.Name, a.SeenAt
		}
	}
	return who
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// failer lets a property use a feed.
type failer struct {
	testing.TB
	t *rapid.T
}

func (f failer) Helper()                         {}
func (f failer) Fatal(args ...any)               { f.t.Fatal(args...) }
func (f failer) Fatalf(text string, args ...any) { f.t.Fatalf(text, args...) }

// oneAnswer answers one pending ask, any; false: there is none.
func (f *feed) oneAnswer(t *rapid.T, said map[string]model.Reply) bool {
	var asks []string
	for id, l := range f.m.asks {
		if l.pending() {
			asks = append(asks, id)
		}
	}
	if len(asks) == 0 {
		return false
	}
	slices.Sort(asks)
	l := f.m.asks[rapid.SampledFrom(asks).Draw(t, "answered")]
	r, ok := said[l.src.Address+" "+f.m.index.Key(l.value)]
	if !ok {
		r = model.Reply{State: model.Unknown}
	}
	f.answer(l.src.Address, f.m.index.Key(l.value), r)
	return true
}
