package correlate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"pgregory.net/rapid"
)

// away are groups that have left an index.
type away [][]Member

// leave takes a group out, and frees what only it had.
func (a *away) leave(x *Index, g GroupNum) {
	var members []Member
	seen := map[ValueNum]bool{}
	for s := range x.Members(g) {
		members = append(members, Member{ID: x.ID(s), Time: x.Time(s), Refs: x.Refs(s)})
		for _, r := range x.Refs(s) {
			seen[r.Value] = true
		}
	}
	for i, m := range members { // by key, since numbers may go to others
		members[i].ID += "\n"
		for _, r := range m.Refs {
			members[i].ID += fmt.Sprintf("%s %d\n", x.Key(r.Value), r.Role)
		}
	}
	x.Remove(g)
	for _, v := range slices.Sorted(maps.Keys(seen)) {
		if !x.Used(v) {
			x.Release(v)
		}
	}
	*a = append(*a, members)
}

// bring brings back every group for which is says so.
func (a *away) bring(x *Index, is func(text string) bool) {
	*a = slices.DeleteFunc(*a, func(members []Member) bool {
		if !slices.ContainsFunc(members, func(m Member) bool { return is(m.ID) }) {
			return false
		}
		for i, m := range members {
			lines := strings.Split(strings.TrimSuffix(m.ID, "\n"), "\n")
			members[i].ID, members[i].Refs = lines[0], nil
			for _, line := range lines[1:] {
				var r Ref
				key, role, _ := strings.Cut(line, " ")
				kind, value, _ := strings.Cut(key, ":")
				r.Value = x.Value(sdk.Observable{Kind: kind, Value: value})
				fmt.Sscan(role, &r.Role)
				members[i].Refs = append(members[i].Refs, r)
			}
		}
		x.Bring(members)
		return true
	})
}

// TestLeaveAndComeBack: groups that leave, and are back before anything comes that
// has their signals or values, make no difference.
func TestLeaveAndComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := Settings{
			Window:    time.Duration(rapid.IntRange(0, 6).Draw(t, "window")) * time.Minute,
			NeverJoin: []sdk.Observable{{Kind: sdk.IP, Value: "e"}},
		}
		x, gone := NewIndex(settings), away{}
		latest := map[string]Signal{}
		most := 0
		for range rapid.IntRange(1, 60).Draw(t, "puts") {
			s := Signal{
				ID:          fmt.Sprintf("s%02d", rapid.IntRange(0, 25).Draw(t, "id")),
				Time:        start.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minute")) * time.Minute),
				Observables: observables(t, "observables"),
			}
			latest[s.ID] = s
			gone.bring(x, func(text string) bool { return strings.HasPrefix(text, s.ID+"\n") })
			gone.bring(x, func(text string) bool {
				return slices.ContainsFunc(s.Observables, func(o sdk.Observable) bool { return strings.Contains(text, "\n"+o.Key()+" ") })
			})
			x.Put(s.ID, s.Time, s.Observables)
			most = max(most, x.Len())
			if rapid.Bool().Draw(t, "leave") {
				all := slices.Sorted(x.Groups())
				gone.leave(x, rapid.SampledFrom(all).Draw(t, "group"))
			}
			if x.SignalRoom() > most {
				t.Fatalf("numbers up to %d, and never more than %d signals", x.SignalRoom(), most)
			}
		}
		filled := copied(x, settings)
		if got, want := fmt.Sprint(groups(filled)), fmt.Sprint(groups(x)); got != want {
			t.Fatalf("filled  %s\nwant    %s", got, want)
		}
		if got, want := fmt.Sprint(groups(x.Regrouped(settings))), fmt.Sprint(groups(x)); got != want {
			t.Fatalf("regrouped %s\nwant    %s", got, want)
		}
		for _, x := range []*Index{filled, x} {
			gone := slices.Clone(gone)
			for i := range gone {
				gone[i] = slices.Clone(gone[i])
			}
			gone.bring(x, func(string) bool { return true })
			if got, want := fmt.Sprint(groups(x)), fmt.Sprint(Group(slices.Collect(maps.Values(latest)), settings)); got != want {
				t.Fatalf("Index = %s\nwant    %s", got, want)
			}
		}
	})
}

// copied fills another index with what x has.
func copied(x *Index, settings Settings) *Index {
	keys := make([]string, x.ValueRoom())
	for v := range keys {
		keys[v] = x.Key(ValueNum(v))
	}
	signals, groups := make([]Member, x.SignalRoom()), make([]uint32, x.SignalRoom())
	for n := range signals {
		s := SignalNum(n)
		if x.ID(s) != "" {
			signals[n], groups[n] = Member{x.ID(s), x.Time(s), x.Refs(s)}, uint32(x.Group(s))
		}
	}
	y := NewIndex(settings)
	freeSignals, freeValues := x.Free()
	y.Fill(keys, signals, groups, slices.Clone(freeSignals), slices.Clone(freeValues))
	return y
}

// TestMost: a group grows to the limit and not beyond it.
func TestMost(t *testing.T) {
	x := NewIndex(Settings{Window: time.Hour, Most: 3})
	o := []sdk.Observable{{Kind: sdk.Host, Value: "ws-1"}}
	for i := range 7 {
		x.Put(fmt.Sprint(i), start.Add(time.Duration(i)*time.Minute), o)
	}
	if got, want := fmt.Sprint(groups(x)), "[[0 1 2] [3 4 5] [6]]"; got != want {
		t.Errorf("groups = %s, want %s", got, want)
	}
}
