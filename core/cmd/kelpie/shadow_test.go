package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/shadow"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestShadowReportFits: whatever plugins say, and however much there is, no line is too
// long and nothing reaches the terminal that would move it.
func TestShadowReportFits(t *testing.T) {
	evil := strings.Repeat("\x1b[31mevil\u202e\n ", 40)
	name := strings.Repeat("n", 63)
	said := enrich.Said{State: model.Known, Answers: []model.Answer{{Verdict: &model.Verdict{Disposition: sdk.Disposition(evil), Labels: []string{evil, evil}}}}}
	e := shadow.Enrichment{
		Shadow: "enrichment." + name, First: "enrichment." + name, Begin: time.Now(), Questions: 1 << 40, Asked: 1 << 39,
		NotAsked: shadow.NotAsked{Kind: 1 << 39, Own: 2, Room: 3}, Unkept: 4, Observables: 100_000, Failed: 10, Same: 5, Waiting: 1, Limited: true,
		Fields:        []shadow.Field{{Name: "asset." + evil, Same: 99_999, Differ: 99_999, OnlyFirst: 99_999, OnlyShadow: 99_999}},
		Disagreements: []shadow.Disagreement{{Observable: sdk.Observable{Kind: sdk.URL, Value: evil}, First: said, Shadow: said, Fields: []string{"asset.owner"}}},
		Failures:      []shadow.Failure{{Reason: evil, Count: 3}},
		Cases: shadow.Cases{
			Had: 1000, Computed: 990, Same: 1, Moved: 7, MovedBy: "5", NotComputed: []shadow.Reason{{Why: "it has too many signals", Count: 10}},
			Furthest: []shadow.Move{{Case: "c-0123456789", Title: evil, Score: "100.00", Shadow: "0.00"}}, Responses: []shadow.Turn{{Response: "response." + name, More: 3, Fewer: 4}}, Limited: 1000,
		},
	}
	for _, first := range shadow.AllWords {
		for _, other := range shadow.AllWords {
			e.Words = append(e.Words, shadow.Words{First: first, Shadow: other, Count: 9999})
		}
	}
	e.Sides.First = shadow.Side{Calls: 1 << 40, P50: 0.0001, P99: 3600, Minute: enrich.Room{Limit: 1_000_000, Left: 999_999}}
	d := shadow.Detector{Shadow: "detector." + name, First: "detector." + name, Window: 5400}
	titles := []shadow.Title{{Title: evil, Severity: 100, Count: 20_000, Time: time.Now(), Value: sdk.Observable{Kind: sdk.Domain, Value: evil}}}
	d.Sides.First = shadow.Events{Read: 20_000, Both: 9, Only: 9, Held: 9, Nameless: 9, Unreadable: 9, OnlyTitles: titles, BothTitles: titles, Limited: true}
	d.Sides.Shadow = shadow.Events{Read: 20_000, Nameless: 20_000, OnlyTitles: titles, Limited: true}
	d.Lag.P50, d.Lag.P99 = -3, 86_400
	var out bytes.Buffer
	printShadows(&out, shadow.Report{Since: time.Now(), Enrichments: []shadow.Enrichment{e}, Detectors: []shadow.Detector{d}})
	printShadows(&out, shadow.Report{})
	for text := range strings.Lines(out.String()) {
		text = strings.TrimSuffix(text, "\n")
		if n := columns(text); n > width {
			t.Errorf("%d columns: %s", n, text)
		}
		if safe(text) != text {
			t.Errorf("not harmless: %q", text)
		}
	}
	for _, want := range []string{"1h30m apart", "3.0s sooner", "QUESTIONS", "not: it does not take", "3 cases more and 4 cases fewer", "Nothing is a shadow"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
