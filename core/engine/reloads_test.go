package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/host"
)

// reloadsEnv is how many reloads TestReloadsUnderLoad makes; 24 without it.
const reloadsEnv = "KELPIE_RELOADS"

// held is what a process has of the machine.
type held struct {
	goroutines, files, children int
	heap                        uint64
}

func holding(t *testing.T) held {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	h := held{goroutines: runtime.NumGoroutine(), files: len(files), heap: m.HeapAlloc}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if fields[1] == strconv.Itoa(os.Getpid()) {
			h.children++
		}
	}
	return h
}

// TestReloadsUnderLoad changes the configuration again and again, each time in another
// way, while two feeds grow by thousands of events a second: nothing is lost or doubled,
// and nothing is left over.
func TestReloadsUnderLoad(t *testing.T) {
	reloads := 24
	if n, err := strconv.Atoi(os.Getenv(reloadsEnv)); err == nil {
		reloads = n
	} else if testing.Short() {
		t.Skip("takes some seconds")
	}
	w := newWorld(t, witnessed)
	w.ownPlugins()
	w.write("other.json", "")
	w.settings.timing = host.Timing{Configure: 2 * time.Second}
	both := edit(t, witnessed, "[detector.feed]", "[detector.feed, detector.other]") + added
	texts := []string{
		both,
		edit(t, both, `event.raw.kind == "alert"`, `event.raw.kind == "alert" && event.raw.n >= 0`),
		witnessed, // without the other detector
		edit(t, both, `interval = "10ms"`, `interval = "12ms"`),
		edit(t, both, `detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  mark = \"x\""),
		edit(t, both, `action "witness" "witness" {`, "action \"witness\" \"witness\" {\n  mark = \"y\"", "takes = [\"ip\"]", "takes = [\"ip\"]\n  ttl = \"2h\""),
		both + "rule {", // no configuration
		edit(t, both, `enrichment "witness" "nothing" {`, "enrichment \"witness\" \"nothing\" {\n  do = \"refuse\""),
	}
	r := w.live(nil)
	var stop atomic.Bool
	fed := make(chan int)
	go func() {
		const chunk = 40
		m, n := faulttest.Model{Sources: 6, Every: 10}, 0
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ; !stop.Load(); n += chunk {
			w.feed("feed.json", m, n, chunk)
			w.feed("other.json", m, n, chunk)
			<-tick.C
		}
		fed <- n
	}()
	still := make(chan time.Duration)
	watching, watched := context.WithCancel(t.Context())
	defer watched()
	go func() { still <- r.longestPause(watching, "detector.feed") }()

	var took []time.Duration
	var before held
	outcomes := map[string]int{}
	for i := range reloads {
		if i == len(texts) { // everything has been in use once
			before = holding(t)
		}
		w.configure(texts[i%len(texts)])
		if i%len(texts) == 4 {
			w.another("witness", "./testdata/witness", fmt.Sprint("-X main.build=", i))
		}
		a := r.apply(false)
		outcomes[a.Outcome]++
		if refused := i%len(texts) >= 6; refused != (a.Outcome == api.Refused) {
			t.Fatalf("reload %d is %q: %s\n%s", i, a.Outcome, a.Error, a.Diagnostics)
		}
		if a.Outcome == api.Applied {
			took = append(took, time.Duration(a.Seconds*float64(time.Second)))
		}
	}
	w.configure(both)
	r.apply(false)
	r.until("the end of what left", func() bool {
		return len(r.status().Generation.Leaving) == 0 && !slices.ContainsFunc(r.k.Plugins(), func(p host.Status) bool {
			return slices.ContainsFunc(p.Instances, func(i host.InstanceStatus) bool { return i.Leaving })
		})
	})
	after := holding(t)
	watched()
	pause := <-still
	stop.Store(true)
	m := faulttest.Model{Events: <-fed, Sources: 6, Every: 10}
	r.until("all events", func() bool { return r.counted() == 2*uint64(m.Events) })
	r.end()

	slices.Sort(took)
	at := func(percent int) time.Duration { return took[len(took)*percent/100].Round(time.Millisecond) }
	t.Logf("%d reloads (%v) while %d events came; applied in p50 %s, p99 %s, max %s; ingest stood still for at most %s; before %+v, after %+v",
		reloads, outcomes, 2*m.Events, at(50), at(99), took[len(took)-1].Round(time.Millisecond), pause.Round(time.Millisecond), before, after)
	if reloads > len(texts) {
		// Connections to plugins come and go meanwhile.
		if after.children > before.children || after.files > before.files+8 || after.goroutines > before.goroutines+30 {
			t.Errorf("something is left over: %+v before, %+v after", before, after)
		}
	}

	o := w.once()
	if o.received != 2*uint64(m.Events) || o.matched != 2*uint64(m.Alerts()) || o.counts.Signals != 2*m.Alerts() || o.calls != m.Sources {
		t.Errorf("%d received, %d matched, %d signals, %d calls; want %d, %d, %d, %d",
			o.received, o.matched, o.counts.Signals, o.calls, 2*m.Events, 2*m.Alerts(), 2*m.Alerts(), m.Sources)
	}
}

// longestPause is the longest time for which a detector reported nothing.
func (r *running) longestPause(ctx context.Context, address string) time.Duration {
	longest, last, total := time.Duration(0), time.Now(), uint64(0)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return longest
		case <-tick.C:
		}
		r.k.mu.Lock()
		reports := r.k.running.detector.Reports()
		r.k.mu.Unlock()
		i := slices.IndexFunc(reports, func(d detect.Report) bool { return d.Instance == address })
		if i >= 0 && reports[i].Total != total {
			now := time.Now()
			if total > 0 {
				longest = max(longest, now.Sub(last))
			}
			total, last = reports[i].Total, now
		}
	}
}
