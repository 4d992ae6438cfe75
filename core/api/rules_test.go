package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/match"
)

// TestActivity: what rules have reported of all sources is added up, and held beside what
// they take.
func TestActivity(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 30, 0, 0, time.UTC)
	hour := func(source string, ago time.Duration, fired map[string]int) decide.Ledger {
		return decide.Ledger{Source: source, Hour: now.Add(-ago).Truncate(time.Hour), Tally: decide.Tally{Fired: fired}}
	}
	sources := []decide.SourceState{
		{Source: "detector.a", Sum: decide.Tally{Fired: map[string]int{"rule.x": 7, "rule.old": 2}, Asked: map[string]int{"rule.x": 3}}},
		{Source: "detector.b", Sum: decide.Tally{Fired: map[string]int{"rule.x": 5}, Asked: map[string]int{"rule.x": 1}}},
	}
	hours := []decide.Ledger{
		hour("detector.a", 30*24*time.Hour, map[string]int{"rule.x": 4}),
		hour("detector.a", time.Hour, map[string]int{"rule.x": 3}),
		hour("detector.b", 2*time.Hour, map[string]int{"rule.x": 5}),
	}
	held := []decide.RuleStat{{Rule: "rule.x", Groups: 2, Facts: 9, Bytes: 540, Evicted: 1}}
	use := match.Use{Of: "pipeline.y", Events: 3, Took: time.Microsecond}
	want := []RuleActivity{
		{Rule: "pipeline.y", Use: &use},
		{Rule: "rule.old", Signals: 2},
		{
			Rule: "rule.x", Signals: 12, Week: 8, Lookups: 4, LastHour: now.Add(-time.Hour).Truncate(time.Hour),
			Memory: &RuleMemory{Groups: 2, Facts: 9, Bytes: 540, Evicted: 1},
		},
	}
	if diff := cmp.Diff(want, activity(sources, hours, []match.Use{use}, held, now)); diff != "" {
		t.Error(diff)
	}
}
