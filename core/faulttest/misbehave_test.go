//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// misbehaviour is a way to misbehave, of one kind of connector, and what the operator
// sees of it.
type misbehaviour struct {
	name  string
	kind  string // of the rogue
	way   string
	after int
	env   string // how its process misbehaves
	hold  bool   // its process is stopped
	// told is what "kelpie plugin status rogue" says; soon what it says besides until
	// something else takes its place, and later what it says after some time.
	told, soon, later []string
	bound             int64 // of the core's memory; 0: calmBound
	long              bool  // of the long form alone: it takes its time, or another is much like it
}

// The ways of the fork bomb: its processes stay in its session, which the kernel weighs as
// one, or each begins its own.
const (
	bomb  = "bomb"
	bombs = "sessions"
)

const (
	ended    = `last ended: `
	inCall   = `plugin "rogue" ended during the call: exit status`
	late     = `plugin "rogue" did not answer in time`
	foreign  = `plugin "rogue" answered for another instance`
	huge100  = `a message between core and plugin is larger than`
	thrice   = `it did not answer within 1s, 3 times in a row`
	pluginIs = `by the plugin's fault`
)

var misbehaviours = []misbehaviour{
	{name: "crash at start", kind: "enrichment", env: "crash", told: []string{
		ended, "it ended without a handshake", "exit status 3", "it last said: | no license was found",
	}},
	{name: "crash in Configure", kind: "action", way: "crash at first", told: []string{
		ended, "it ended while it was configured: exit status 3", "| the configuration is too much for me",
	}},
	{name: "crash in a call", kind: "enrichment", way: "crash", told: []string{
		ended, "it ended by itself: exit status 3", "| I cannot go on", inCall, "started again: ",
	}},
	{name: "crash after 10 calls", kind: "action", way: "crash", after: 10, told: []string{
		ended, "it ended by itself: exit status 3", "| I cannot go on", pluginIs,
	}, soon: []string{inCall}, later: []string{`plugin "rogue" has failed (it ended by itself`}},
	{name: "crash of a detector", kind: "detector", way: "crash", after: 50, long: true, told: []string{
		ended, "it ended by itself: exit status 3", "| I cannot go on",
	}},
	{name: "enrichment hangs", kind: "enrichment", way: "hang", long: true, told: []string{pluginIs, late}},
	{name: "action hangs", kind: "action", way: "hang", told: []string{pluginIs, late}},
	{name: "SIGSTOP", kind: "action", hold: true, long: true, told: []string{pluginIs}, later: []string{ended, thrice}},
	{name: "leak", kind: "enrichment", way: "leak", told: []string{
		ended, "it ended by itself: exit status 2", "out of memory", inCall,
	}},
	{name: "flood", kind: "detector", way: "flood", bound: floodBound, told: []string{"detector.rogue running"}},
	{name: "flood without credit", kind: "detector", way: "unasked", told: []string{"detector.rogue running"}},
	{name: "batch of 100 MB", kind: "detector", way: "huge", told: []string{pluginIs, huge100}},
	{name: "answer of 100 MB", kind: "enrichment", way: "huge", long: true, told: []string{pluginIs}},
	{name: "result of 100 MB", kind: "action", way: "huge", long: true, told: []string{pluginIs}},
	{name: "batch for another", kind: "detector", way: "other", long: true, told: []string{pluginIs, foreign}},
	{name: "answer for another", kind: "enrichment", way: "other", told: []string{pluginIs, foreign}},
	{name: "result for another", kind: "action", way: "other", long: true, told: []string{pluginIs, foreign}},
	{name: "noise before the handshake", kind: "enrichment", env: "noise", told: []string{
		"rogue: failed since", "a plugin must not print before sdk.Serve", `"hello, this is the best plugin of all"`, "plugin restart rogue",
	}},
	{name: "noise", kind: "enrichment", way: "noise", told: []string{"prints too much: "}},
	{name: "fork bomb", kind: "enrichment", way: bomb, long: true, told: []string{pluginIs, "ended by itself"}},
	{name: "fork bomb of sessions", kind: "enrichment", way: bombs, long: true, told: []string{pluginIs, "ended by itself"}},
	{name: "trickle of a detector", kind: "detector", way: "trickle", long: true, later: []string{ended, thrice}},
	{name: "trickle of an enrichment", kind: "enrichment", way: "trickle", long: true, told: []string{late}, later: []string{ended, thrice}},
}

// Floors below which a 99th percentile is as good as undisturbed: what a busy machine of
// two processors takes now and then from who has done nothing wrong.
const (
	shortFloor = time.Second // a hundred events: it is the slowest but one
	longFloor  = 100 * time.Millisecond
)

// disturbance is what a misbehaviour did to honest work, in milliseconds.
type disturbance struct {
	Name            string  `json:"name"`
	P50             float64 `json:"p50_ms"`
	P99             float64 `json:"p99_ms"`
	UndisturbedP50  float64 `json:"undisturbed_p50_ms"`
	UndisturbedP99  float64 `json:"undisturbed_p99_ms"`
	Lookup          float64 `json:"lookup_p99_ms"`
	UndisturbedLook float64 `json:"undisturbed_lookup_p99_ms"`
	Ratio           float64 `json:"ratio"`
	Peak            int64   `json:"peak_bytes"`
}

// TestMisbehaving runs honest work alone and beside each misbehaviour, in turns. Beside
// it honest work must be as exact and, at the 99th percentile, at most twice as slow.
func TestMisbehaving(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	p, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kelpie-rogue-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // the rogue is another user's
		t.Fatal(err)
	}
	c := comparison{w: &bench{b: t, p: p, dir: dir}}
	var all []disturbance
	for _, m := range misbehaviours {
		if m.long && !*long {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			c.w.b = t
			all = append(all, c.disturbed(t, &m))
		})
	}
	fmt.Printf("%-28s %8s %8s %8s %8s %6s %8s %6s\n", "", "p50", "alone", "p99", "alone", "ratio", "lookup", "MiB")
	for _, d := range all {
		fmt.Printf("%-28s %6.1fms %6.1fms %6.1fms %6.1fms %6.1f %6.1fms %6d\n",
			d.Name, d.P50, d.UndisturbedP50, d.P99, d.UndisturbedP99, d.Ratio, d.Lookup, d.Peak>>20)
	}
	if *result != "" {
		if err := writeJSON(*result, all); err != nil {
			t.Fatal(err)
		}
	}
}

// tries are how often a comparison is made: what others do to a machine passes, and what
// a rogue does is there each time.
const tries = 3

// comparison of honest work alone and beside misbehaviours.
type comparison struct {
	w     *bench
	alone *beside // at last
}

// disturbed measures honest work alone, which the short form does when it must, and
// beside a misbehaviour.
func (c *comparison) disturbed(t *testing.T, m *misbehaviour) disturbance {
	events, floor, patterns := honestRate, shortFloor, slices.Concat(m.told, m.soon)
	if *long {
		events, floor, patterns = 10*honestRate, longFloor, slices.Concat(m.told, m.later)
	}
	var d disturbance
	for try := range tries {
		if c.alone == nil || *long || try > 0 {
			b := c.w.beside(nil, events, nil)
			c.alone = &b
		}
		alone, beside := c.alone, c.w.beside(m, events, patterns)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		d = disturbance{
			Name: m.name, P50: ms(beside.part(0.5)), P99: ms(beside.part(0.99)), Lookup: ms(beside.lookup),
			UndisturbedP50: ms(alone.part(0.5)), UndisturbedP99: ms(alone.part(0.99)), UndisturbedLook: ms(alone.lookup),
			Ratio: float64(beside.part(0.99)) / float64(alone.part(0.99)), Peak: beside.peak,
		}
		if try == 0 {
			t.Logf("the operator is told:\n%s", beside.status)
		}
		if bound := max(m.bound, calmBound); d.Peak > bound {
			t.Errorf("the core had %d MiB of memory, and %d are the bound", d.Peak>>20, bound>>20)
		}
		if beside.part(0.99) <= max(2*alone.part(0.99), floor) || t.Failed() {
			return d
		}
	}
	t.Errorf("%d times the honest work was disturbed: at last 99 of 100 within %.1f ms, alone %.1f ms", tries, d.P99, d.UndisturbedP99)
	return d
}
