package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// groups lists the index's groups as Group does.
func groups(x *Index) [][]string {
	var all [][]SignalNum
	earlier := func(a, b SignalNum) int {
		if x.earlier(uint32(a), uint32(b)) {
			return -1
		}
		return 1
	}
	for g := range x.Groups() {
		members := slices.SortedFunc(x.Members(g), earlier)
		if members[0] != x.Earliest(g) {
			panic("earliest is not the first")
		}
		all = append(all, members)
	}
	slices.SortFunc(all, func(a, b []SignalNum) int { return earlier(a[0], b[0]) })
	var out [][]string
	for _, members := range all {
		ids := make([]string, len(members))
		for i, m := range members {
			ids[i] = x.ID(m)
		}
		out = append(out, ids)
	}
	return out
}

func TestGroup(t *testing.T) {
	ip := func(v string) sdk.Observable { return sdk.Observable{Kind: sdk.IP, Value: v, Role: sdk.Subject} }
	at := func(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }
	settings := Settings{Window: 10 * time.Minute, NeverJoin: []sdk.Observable{{Kind: sdk.IP, Value: "10.0.0.1"}}}
	for name, c := range map[string]struct {
		signals []Signal
		want    string
	}{
		"nothing": {nil, "[]"},
		"no shared value": {
			[]Signal{{"a", at(0), []sdk.Observable{ip("1.1.1.1")}}, {"b", at(0), []sdk.Observable{ip("1.1.1.2")}}},
			"[[a] [b]]",
		},
		"at the window": {
			[]Signal{{"a", at(0), []sdk.Observable{ip("1.1.1.1")}}, {"b", at(10), []sdk.Observable{ip("1.1.1.1")}}},
			"[[a b]]",
		},
		"beyond the window": {
			[]Signal{{"a", at(0), []sdk.Observable{ip("1.1.1.1")}}, {"b", at(10).Add(1), []sdk.Observable{ip("1.1.1.1")}}},
			"[[a] [b]]",
		},
		"by a third between them": {
			[]Signal{
				{"a", at(0), []sdk.Observable{ip("1.1.1.1")}},
				{"c", at(15), []sdk.Observable{ip("1.1.1.1")}},
				{"b", at(8), []sdk.Observable{ip("1.1.1.1")}},
			},
			"[[a b c]]",
		},
		"whatever the role": {
			[]Signal{
				{"a", at(0), []sdk.Observable{ip("1.1.1.1")}},
				{"b", at(0), []sdk.Observable{{Kind: sdk.IP, Value: "1.1.1.1", Role: sdk.Indicator}}},
			},
			"[[a b]]",
		},
		"the same text of another kind": {
			[]Signal{
				{"a", at(0), []sdk.Observable{{Kind: sdk.User, Value: "kim"}}},
				{"b", at(0), []sdk.Observable{{Kind: sdk.Host, Value: "kim"}}},
			},
			"[[a] [b]]",
		},
		"never join": {
			[]Signal{{"a", at(0), []sdk.Observable{ip("10.0.0.1")}}, {"b", at(0), []sdk.Observable{ip("10.0.0.1")}}},
			"[[a] [b]]",
		},
		"times that no clock has": {
			[]Signal{
				{"a", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), []sdk.Observable{ip("1.1.1.1")}},
				{"b", time.Time{}, []sdk.Observable{ip("1.1.1.1")}},
				{"c", time.Date(4000, 1, 1, 0, 0, 0, 0, time.UTC), []sdk.Observable{ip("1.1.1.1")}},
			},
			"[[b] [a c]]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(Group(c.signals, settings)); got != c.want {
				t.Errorf("Group = %s, want %s", got, c.want)
			}
			x := NewIndex(settings)
			for _, s := range c.signals {
				x.Put(s.ID, s.Time, s.Observables)
			}
			if got := fmt.Sprint(groups(x)); got != c.want {
				t.Errorf("Index = %s, want %s", got, c.want)
			}
		})
	}
}

func observables(t *rapid.T, label string) []sdk.Observable {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sdk.Observable {
		return sdk.Observable{
			Kind:  rapid.SampledFrom([]string{sdk.IP, sdk.Host}).Draw(t, "kind"),
			Value: rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "value"),
			Role:  rapid.SampledFrom([]sdk.Role{sdk.NoRole, sdk.Subject, sdk.Indicator}).Draw(t, "role"),
		}
	}), 0, 4).Draw(t, label)
}

// TestIndexEqualsGroup puts signals and revisions in random orders. Besides the
// groups themselves it keeps a record for each group by the effects alone, as
// decide does, and holds it against the group.
func TestIndexEqualsGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := Settings{
			Window:    time.Duration(rapid.IntRange(0, 6).Draw(t, "window")) * time.Minute,
			NeverJoin: []sdk.Observable{{Kind: sdk.IP, Value: "e"}},
		}
		x := NewIndex(settings)
		latest := map[string]Signal{}
		records := map[GroupNum]map[string]int{}
		observe := func(record map[string]int, s SignalNum) {
			for _, r := range x.Refs(s) {
				record[x.Key(r.Value)] |= 1 << r.Role
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "puts") {
			s := Signal{
				ID:          fmt.Sprintf("s%02d", rapid.IntRange(0, 25).Draw(t, "id")),
				Time:        start.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minute")) * time.Minute),
				Observables: observables(t, "observables"),
			}
			if old, ok := latest[s.ID]; ok && rapid.Bool().Draw(t, "grows") {
				s.Time, s.Observables = old.Time, append(slices.Clone(old.Observables), s.Observables...)
			}
			latest[s.ID] = s
			e := x.Put(s.ID, s.Time, s.Observables)
			for _, g := range e.Split {
				records[g] = map[string]int{}
				for m := range x.Members(g) {
					observe(records[g], m)
				}
			}
			if e.Fresh {
				records[e.Former] = map[string]int{}
			}
			for _, g := range e.Merged {
				if records[e.Group] == nil {
					t.Fatalf("no record of group %d", e.Group)
				}
				for k, v := range records[g] {
					records[e.Group][k] |= v
				}
				delete(records, g)
			}
			observe(records[e.Group], e.Signal)
			if e.Lost {
				for _, g := range append([]GroupNum{e.Group, e.Former}, e.Split...) {
					if x.Size(g) == 0 {
						continue
					}
					records[g] = map[string]int{}
					for m := range x.Members(g) {
						observe(records[g], m)
					}
				}
			}
		}
		var all []Signal
		for _, s := range latest {
			all = append(all, s)
		}
		want := fmt.Sprint(Group(all, settings))
		if got := fmt.Sprint(groups(x)); got != want {
			t.Fatalf("Index = %s\nwant    %s", got, want)
		}
		live := 0
		for g := range x.Groups() {
			live++
			fresh := map[string]int{}
			for m := range x.Members(g) {
				observe(fresh, m)
			}
			if got, want := fmt.Sprint(records[g]), fmt.Sprint(fresh); got != want {
				t.Fatalf("record of group %d = %s, want %s", g, got, want)
			}
		}
		if live != len(records) {
			t.Fatalf("%d groups, %d records", live, len(records))
		}
	})
}

// TestSplitOfManyPieces takes away what held chains together, of lengths beyond a
// chunk.
func TestSplitOfManyPieces(t *testing.T) {
	settings := Settings{Window: time.Hour}
	x := NewIndex(settings)
	var all []Signal
	put := func(s Signal) {
		all = append(all, s)
		x.Put(s.ID, s.Time, s.Observables)
	}
	for chain := range 5 {
		for i := range 700 {
			put(Signal{
				fmt.Sprintf("c%d-%03d", chain, i), start.Add(time.Duration(i) * time.Minute),
				[]sdk.Observable{{Kind: sdk.Host, Value: fmt.Sprint(chain)}},
			})
		}
	}
	hub := Signal{ID: "hub", Time: start.Add(time.Hour)}
	for chain := range 5 {
		hub.Observables = append(hub.Observables, sdk.Observable{Kind: sdk.Host, Value: fmt.Sprint(chain)})
	}
	if e := x.Put(hub.ID, hub.Time, hub.Observables); len(e.Merged) != 5 || x.Size(e.Group) != 3501 {
		t.Fatalf("hub joined %d groups into one of %d", len(e.Merged), x.Size(e.Group))
	}
	hub.Observables = hub.Observables[:1]
	e := x.Put(hub.ID, hub.Time, hub.Observables)
	if len(e.Split) != 4 || !e.Lost {
		t.Fatalf("%d groups came off, want 4", len(e.Split))
	}
	if got, want := fmt.Sprint(groups(x)), fmt.Sprint(Group(append(all, hub), settings)); got != want {
		t.Fatalf("groups differ after the split")
	}
}

// TestRevisionOfAPopularValue revises every signal of a large case: the work must
// not be that of the case each time.
func TestRevisionOfAPopularValue(t *testing.T) {
	x := NewIndex(Settings{Window: time.Hour})
	const n = 10_000
	put := func(i, revision int) {
		x.Put(fmt.Sprint(i), start.Add(time.Duration(i)*time.Second), []sdk.Observable{
			{Kind: sdk.Host, Value: "scanner"}, {Kind: sdk.File, Value: fmt.Sprint(i/2, revision)},
		})
	}
	for i := range n {
		put(i, 0)
	}
	for i := range n {
		put(i, 1)
	}
	if got := len(groups(x)); got != 1 {
		t.Fatalf("%d groups, want 1", got)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, values := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("values=%d", values), func(b *testing.B) {
			const n = 100_000
			r := rand.New(rand.NewPCG(1, 2))
			signals := make([]Signal, n)
			for i := range signals {
				signals[i] = Signal{
					ID:   fmt.Sprintf("s-%020x", i),
					Time: start.Add(time.Duration(r.Int64N(int64(30 * 24 * time.Hour)))),
				}
				for range 4 {
					signals[i].Observables = append(signals[i].Observables,
						sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(r.IntN(values))})
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				x := NewIndex(Settings{Window: 10 * time.Minute})
				for _, s := range signals {
					x.Put(s.ID, s.Time, s.Observables)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signal")
		})
	}
}

// BenchmarkPutOneValue has all signals in one case, in random order of time.
func BenchmarkPutOneValue(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			order := rand.New(rand.NewPCG(1, 2)).Perm(n)
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprint(i)
			}
			o := []sdk.Observable{{Kind: sdk.IP, Value: "192.0.2.1"}}
			b.ResetTimer()
			for range b.N {
				x := NewIndex(Settings{Window: time.Hour})
				for _, i := range order {
					x.Put(ids[i], start.Add(time.Duration(i)*time.Second), o)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signal")
		})
	}
}
