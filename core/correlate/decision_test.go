package correlate

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func drawDecisions(t *rapid.T) []model.Decision {
	ids := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("s%02d", rapid.IntRange(0, 14).Draw(t, "id")) })
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) model.Decision {
		d := model.Decision{
			ID:   fmt.Sprintf("d-%d", rapid.IntRange(0, 1<<30).Draw(t, "decision")),
			Kind: rapid.SampledFrom([]model.CommandKind{model.MergeCases, model.SplitCase, model.NeverJoin}).Draw(t, "kind"),
		}
		if d.Kind == model.NeverJoin {
			d.Value = sdk.Observable{Kind: sdk.IP, Value: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")}
			return d
		}
		d.Signals = rapid.SliceOfNDistinct(ids, 2, 4, rapid.ID).Draw(t, "signals")
		return d
	}), 0, 5).Draw(t, "decisions")
}

// TestIndexKeepsDecisions: whatever people have decided, before the signals or after
// them, the groups are what Group makes of the latest signals.
func TestIndexKeepsDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := Settings{
			Window:    time.Duration(rapid.IntRange(0, 6).Draw(t, "window")) * time.Minute,
			NeverLike: []Pattern{{Kind: sdk.Host, Like: "e*"}},
			Decisions: drawDecisions(t),
		}
		x := NewIndex(settings)
		latest := map[string]Signal{}
		for range rapid.IntRange(1, 40).Draw(t, "puts") {
			s := Signal{
				ID:          fmt.Sprintf("s%02d", rapid.IntRange(0, 14).Draw(t, "id")),
				Time:        start.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "minute")) * time.Minute),
				Observables: observables(t, "observables"),
			}
			latest[s.ID] = s
			x.Put(s.ID, s.Time, s.Observables)
			if rapid.IntRange(0, 15).Draw(t, "decide") == 0 {
				settings.Decisions = drawDecisions(t)
				x = x.Regrouped(settings)
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
	})
}

// TestDecisionsStandInTheirOrder: a join after a split stands, and one before it is cut
// if it tied what was taken to what was left.
func TestDecisionsStandInTheirOrder(t *testing.T) {
	ip := []sdk.Observable{{Kind: sdk.IP, Value: "1.1.1.1"}}
	signals := []Signal{{"a", start, ip}, {"b", start.Add(1), ip}, {"c", start.Add(2), ip}, {"x", start.Add(30 * time.Hour), nil}}
	merge := func(ids ...string) model.Decision { return model.Decision{Kind: model.MergeCases, Signals: ids} }
	split := func(ids ...string) model.Decision { return model.Decision{Kind: model.SplitCase, Signals: ids} }
	for name, c := range map[string]struct {
		decisions []model.Decision
		want      string
	}{
		"none":                        {nil, "[[a b c] [x]]"},
		"merged, however far apart":   {[]model.Decision{merge("a", "x")}, "[[a b c x]]"},
		"split off":                   {[]model.Decision{split("b")}, "[[a c] [b] [x]]"},
		"split off together":          {[]model.Decision{split("a", "b")}, "[[a b] [c] [x]]"},
		"of two splits the last":      {[]model.Decision{split("a", "b"), split("b")}, "[[a] [b] [c] [x]]"},
		"a join after the split":      {[]model.Decision{split("b"), merge("a", "b")}, "[[a b c] [x]]"},
		"a split after the join":      {[]model.Decision{merge("a", "x"), split("x")}, "[[a b c] [x]]"},
		"a split that takes both":     {[]model.Decision{merge("a", "x"), split("a", "x")}, "[[a x] [b c]]"},
		"a value that joins no more":  {[]model.Decision{{Kind: model.NeverJoin, Value: ip[0]}}, "[[a] [b] [c] [x]]"},
		"a signal that is not there":  {[]model.Decision{merge("a", "z"), split("z", "y")}, "[[a b c] [x]]"},
		"three cases of one decision": {[]model.Decision{{Kind: model.NeverJoin, Value: ip[0]}, merge("a", "b", "x")}, "[[a b x] [c]]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Settings{Window: time.Hour, Decisions: c.decisions}
			if got := fmt.Sprint(Group(signals, s)); got != c.want {
				t.Errorf("Group = %s, want %s", got, c.want)
			}
			x := NewIndex(s)
			for _, g := range slices.Backward(signals) {
				x.Put(g.ID, g.Time, g.Observables)
			}
			if got := fmt.Sprint(groups(x)); got != c.want {
				t.Errorf("Index = %s, want %s", got, c.want)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	s := Settings{NeverLike: []Pattern{
		{Kind: sdk.IP, Network: netip.MustParsePrefix("10.0.0.0/24")},
		{Kind: sdk.Domain, Like: "*.cdn.example"},
		{Kind: sdk.MAC, Like: "*"},
		{Kind: sdk.Host, Like: "a*b*c"},
	}}
	got := map[string]bool{}
	for _, key := range []string{
		"ip:10.0.0.9", "ip:10.0.1.9", "ip:fd00::1", "domain:x.cdn.example", "domain:cdn.example", "host:x.cdn.example",
		"mac:00:11:22:33:44:55", "host:abc", "host:axbxc", "host:ac", "host:abcd", "host:abbc",
	} {
		if s.Never(observable(key)) {
			got[key] = true
		}
	}
	want := map[string]bool{
		"ip:10.0.0.9": true, "domain:x.cdn.example": true, "mac:00:11:22:33:44:55": true,
		"host:abc": true, "host:axbxc": true, "host:abbc": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMostIsSaid: what would be too large together stays two, and that is said.
func TestMostIsSaid(t *testing.T) {
	x := NewIndex(Settings{Window: time.Hour, Most: 3})
	var cut int
	for i := range 5 {
		e := x.Put(fmt.Sprint(i), start.Add(time.Duration(i)*time.Minute), []sdk.Observable{{Kind: sdk.IP, Value: "1.1.1.1"}})
		cut += len(e.Cut)
	}
	if got := fmt.Sprint(groups(x)); got != "[[0 1 2] [3 4]]" || cut != 1 {
		t.Errorf("groups = %s, %d cuts", got, cut)
	}
}
