package engine

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// swapsEnv is how many swaps TestSwapsUnderLoad makes; 12 without it.
const swapsEnv = "KELPIE_SWAPS"

// swapped is a configuration under a load of 10,000 events a second, of which ten are
// alerts: each is looked up, and has its own address blocked for a while.
const swapped = `
kelpie {
  actions = "on"

  limit "block_indicator" {
    per_hour = 1000000
  }
}

detector "north" "count" {
  notes = "notes"
  until = "stop"
  rate  = 10000
  every = 1000
  hosts = 30000
}

pipeline "alerts" {
  from    = [detector.count]
  when    = event.raw.kind == "alert"
  alerts  = true
  respond = [response.block]

  map {
    title      = "alert of ${event.raw.from}"
    time       = event.raw.time
    severity   = 90
    indicators = { ip = event.raw.from }
  }
}

enrichment "north" "reputation" {
  notes = "notes"
  takes = ["ip"]
}

score {
  preset = "balanced"
}

response "block" {
  step "block" {
    do         = action.fence.block_indicator
    targets    = case.indicators
    undo_after = "1s"
  }
}

action "north" "fence" {
  notes = "notes"
}
`

// TestSwapsUnderLoad swaps the build of a detector, and an enrichment and an action for
// those of another plugin and back, while 10,000 events come in a second and the action
// holds something: each event is counted once, each effect comes once, and is undone once
// by who did it; nothing is left over.
func TestSwapsUnderLoad(t *testing.T) {
	swaps := 12
	if n, err := strconv.Atoi(os.Getenv(swapsEnv)); err == nil {
		swaps = n
	} else if testing.Short() {
		t.Skip("takes some seconds")
	}
	w := newWorld(t, swapped)
	w.ownPlugins()
	w.twin("south", "1.0.0", 1)
	w.twin("north", "1.1.0", 1)
	w.twin("north", "1.0.0", 1)
	reputation := edit(t, swapped, `enrichment "north"`, `enrichment "south"`)
	both := edit(t, reputation, `action "north"`, `action "south"`)
	steps := []func(){
		func() { w.twin("north", "1.1.0", 1) }, // the detector's build, and who else is of it
		func() { w.configure(reputation) },
		func() { w.configure(both) },
		func() { w.twin("north", "1.0.0", 1) }, // while south has the other two
		func() { w.configure(edit(t, swapped, `action "north"`, `action "south"`)) },
		func() { w.configure(swapped) },
	}
	r := w.live(nil)
	r.until("what it holds", func() bool { return r.hold().State == model.HoldInForce })
	still := make(chan time.Duration)
	watching, watched := context.WithCancel(t.Context())
	defer watched()
	go func() { still <- r.longestPause(watching, "detector.count") }()

	began, first := time.Now(), r.total()
	var took []time.Duration
	var before held
	undone := 0
	quiet := func() bool {
		return len(r.leaving()) == 0 && !slices.ContainsFunc(r.k.Plugins(), func(p host.Status) bool {
			return slices.ContainsFunc(p.Instances, func(i host.InstanceStatus) bool { return i.Leaving })
		})
	}
	for i := range swaps {
		if i == len(steps) { // everything has been in use once
			r.until("the end of what left", quiet)
			before = holding(t)
		}
		steps[i%len(steps)]()
		a := r.apply(false)
		if a.Outcome != api.Applied {
			t.Fatalf("swap %d is %q: %s\n%s", i, a.Outcome, a.Error, a.Diagnostics)
		}
		took = append(took, time.Duration(a.Seconds*float64(time.Second)))
		if i%len(steps) == 2 || i%len(steps) == 5 { // the other does something before the next swap
			r.until("some undos", func() bool { return len(w.noted("undo")) > undone })
			undone = len(w.noted("undo")) + 5
		}
	}
	r.until("the end of what left", quiet)
	after := holding(t)
	lasted, events := time.Since(began), r.total()-first
	watched()
	pause := <-still
	w.write("stop", "")
	r.until("the end of the events", func() bool { return len(w.noted("over")) > 0 })
	n, err := strconv.ParseUint(strings.Fields(w.noted("over")[0])[2], 10, 64) // as the source counts them
	w.check(err)
	alerts := int(n+999) / 1000
	r.until("all events", func() bool { return r.counted() >= n })
	r.until("all undos", func() bool { return len(w.noted("undo")) >= alerts })
	r.end()

	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[min(len(took)-1, len(took)*percent/100)].Round(time.Millisecond)
	}
	t.Logf("%d swaps while %d events came, %.0f a second; applied in p50 %s, p99 %s, max %s; ingest stood still for at most %s; %d effects; before %+v, after %+v",
		swaps, events, float64(events)/lasted.Seconds(), at(50), at(99), took[len(took)-1].Round(time.Millisecond), pause.Round(time.Millisecond), alerts, before, after)
	if swaps > len(steps) && (after.children > before.children || after.files > before.files+8 || after.goroutines > before.goroutines+30) {
		t.Errorf("something is left over: %+v before, %+v after", before, after)
	}

	k := w.open()
	defer func() { w.check(k.Close()) }()
	o := w.outcome(k)
	if o.received != n || o.matched != uint64(alerts) || o.repeated != 0 || o.rejected != 0 || o.counts.Signals != alerts {
		t.Errorf("%d received, %d matched, %d signals, %d repeated, %d rejected; want %d and %d", o.received, o.matched, o.counts.Signals, o.repeated, o.rejected, n, alerts)
	}
	w.undoneByWhoDid(alerts)
}

// total is how many events the log has of the detector.
func (r *running) total() uint64 {
	last, _, err := r.k.log.Last(context.Background(), "detector.count")
	r.w.check(err)
	return last.Total
}

// undoneByWhoDid holds what twins have noted to this: so many effects, each once, each
// undone once and by who did it, and some by each of them.
func (w *world) undoneByWhoDid(effects int) {
	w.t.Helper()
	by, done := map[string]int{}, map[string]string{}
	for _, line := range w.noted("act") {
		f := strings.Fields(line)
		if done[f[2]] != "" {
			w.t.Errorf("done twice: %s, and by %s before", line, done[f[2]])
		}
		done[f[2]] = f[0]
		by[f[0]]++
	}
	if len(done) != effects || by["north"] == 0 || by["south"] == 0 {
		w.t.Errorf("%d effects, %v; want %d, and some by each", len(done), by, effects)
	}
	for _, line := range w.noted("undo") {
		f := strings.Fields(line)
		if done[f[2]] != f[0] || f[3] != f[0] {
			w.t.Errorf("undone: %s, and it was done by %q", line, done[f[2]])
		}
		delete(done, f[2])
	}
	if len(done) > 0 {
		w.t.Errorf("%d effects were not undone, or one twice", len(done))
	}
}
