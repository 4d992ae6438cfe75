package decide

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

func newFeedOf(t testing.TB, compile Compiler) *feed {
	f := &feed{t: t, m: New(compile), now: start, tables: newTables()}
	f.config("base", false)
	return f
}

// past tells a case's history as "value: cases, severity, when, in which".
func (f *feed) past(severity int) []string {
	f.t.Helper()
	for _, row := range f.tables.open() {
		if row.Severity != severity {
			continue
		}
		all := make([]string, len(row.History))
		for i, p := range row.History {
			all[i] = fmt.Sprintf("%s: %d, %d, %s", p.Value, p.Cases, p.Severity, p.LastAt.Sub(start))
			if f.tables.cases[p.Case].ID == "" {
				all[i] += ", in no case"
			}
			if p.Subject {
				all[i] += ", subject"
			}
		}
		return all
	}
	f.t.Fatalf("no case of severity %d", severity)
	return nil
}

// TestHistory: a case knows in which earlier ones its values were, and nothing of what
// never joins, of what may still come, or of itself.
func TestHistory(t *testing.T) {
	f := newFeedOf(t, within(Limits{Signals: 1}, 20*time.Minute))
	for i, at := range []int{0, 30, 200, 1000} {
		id := fmt.Sprintf("s-%d", i)
		f.signals(sig(id, minutes(at), 10+i, "subject ip:10.1.2.3", "indicator domain:bad.example", "ip:10.0.0.1"))
	}
	if diff := cmp.Diff([]string{
		"domain:bad.example: 2, 12, 3h20m0s",
		"ip:10.1.2.3: 2, 12, 3h20m0s, subject",
	}, f.past(13)); diff != "" {
		t.Error(diff)
	}
	f.signals(sig("s-9", minutes(1061), 90, "indicator domain:bad.example"), sig("s-10", minutes(1070), 80, "subject host:new"))
	if got := f.past(90); !slices.Equal(got, []string{"domain:bad.example: 3, 13, 16h40m0s"}) {
		t.Errorf("%q", got)
	}
	if got := f.past(80); len(got) > 0 {
		t.Errorf("a new host has a past: %q", got)
	}
	for i := range 9 {
		f.signals(sig(fmt.Sprintf("t-%d", i), minutes(2000+100*i), 20+i, "subject host:often"))
	}
	if got := f.past(28); len(got) != 1 || got[0][:18] != "host:often: 8, 27," {
		t.Errorf("%q", got)
	}
}

// TestHistoryWithinTheLateness: what may still come is left out, so that it makes no
// difference whether it has.
func TestHistoryWithinTheLateness(t *testing.T) {
	f := newFeedOf(t, within(Limits{}, 2*time.Hour))
	f.signals(sig("s-1", minutes(0), 10, "subject host:ws-17"), sig("s-2", minutes(90), 20, "subject host:ws-17"))
	if got := f.past(20); len(got) > 0 {
		t.Errorf("%q", got)
	}
	f.signals(sig("s-3", minutes(181), 30, "subject host:ws-17"))
	if got := f.past(30); !slices.Equal(got, []string{"host:ws-17: 1, 10, 0s, subject"}) {
		t.Errorf("%q", got)
	}
}

// TestHistoryIsBounded: the values seen longest ago are forgotten.
func TestHistoryIsBounded(t *testing.T) {
	f := newFeedOf(t, within(Limits{}, 0))
	f.m.history.most = 2
	f.signals(sig("s-1", minutes(0), 10, "host:a"), sig("s-2", minutes(1), 10, "host:b"))
	f.signals(sig("s-3", minutes(2), 10, "host:a"), sig("s-4", minutes(3), 10, "host:c"))
	var keys []string
	for p := f.m.history.oldest; p != nil; p = p.after {
		keys = append(keys, p.key)
	}
	if !slices.Equal(keys, []string{"host:a", "host:c"}) || len(f.m.history.values) != 2 || f.m.history.forgotten != 1 {
		t.Errorf("%q, %d values, %d forgotten", keys, len(f.m.history.values), f.m.history.forgotten)
	}
}

// TestSpells: however a value's signals are ordered, as long as there is room for its
// spells, they are those that the window makes of their times.
func TestSpells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, 40), 1, 12).Draw(t, "times")
		window := rapid.Int64Range(3, 20).Draw(t, "window")
		var want [][2]int64
		sorted := slices.Sorted(slices.Values(times))
		for _, at := range sorted {
			if n := len(want); n > 0 && at-want[n-1][1] <= window {
				want[n-1][1] = at
			} else {
				want = append(want, [2]int64{at, at})
			}
		}
		if len(want) > maxSpells {
			t.Skip("no room")
		}
		// In any order there may be more spells on the way than in the end.
		p := &past{}
		for _, at := range rapid.Permutation(times).Draw(t, "order") {
			p.add(spell{first: at, last: at}, window)
		}
		var got [][2]int64
		for _, s := range p.spells {
			got = append(got, [2]int64{s.first, s.last})
		}
		if p.older == 0 && !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// TestHistoryInAnyOrder: events that come out of order, but in time, give each case the
// same past.
func TestHistoryInAnyOrder(t *testing.T) {
	const lateness = 20
	rapid.Check(t, func(t *rapid.T) {
		signals := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) model.Signal {
			s := drawSignal(t)
			s.Time = minutes(rapid.IntRange(0, 900).Draw(t, "at"))
			return s
		}), 1, 14, func(s model.Signal) string { return s.ID }).Draw(t, "signals")
		run := func(label string) map[string][]model.Past {
			came := map[string]time.Time{}
			for _, s := range signals {
				came[s.ID] = s.Time.Add(time.Duration(rapid.IntRange(0, lateness-1).Draw(t, label)) * time.Minute)
			}
			order := slices.SortedStableFunc(slices.Values(signals), func(a, b model.Signal) int { return came[a.ID].Compare(came[b.ID]) })
			m, rows := New(within(Limits{}, lateness*time.Minute)), newTables()
			if err := m.Apply(1, 0, model.Input{At: start, Config: &model.Config{Hash: "base", Text: []byte(`"base"`)}}); err != nil {
				t.Fatal(err)
			}
			for i, s := range order {
				s.Position = model.Position{Seq: uint64(i + 1)}
				in := model.Input{At: came[s.ID], Match: &model.MatchResult{Seq: uint64(i + 1), Source: s.Source, Signals: []model.Signal{s}}}
				apply(t, m, rows, part{Position{Seq: uint64(i + 2)}, in})
				rows.commit(m.Changes())
			}
			all := map[string][]model.Past{}
			for _, k := range rows.open() {
				for i := range k.History {
					k.History[i].Case = "" // it is as it was named then
				}
				all[k.ID] = k.History
			}
			return all
		}
		if diff := cmp.Diff(run("delay"), run("another delay")); diff != "" {
			t.Fatal(diff)
		}
	})
}
