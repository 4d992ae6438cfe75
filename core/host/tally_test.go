//go:build linux

package host

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// told is an instance as the status has it.
func told(t testing.TB, h *Host, address string) InstanceStatus {
	t.Helper()
	for _, p := range h.Status() {
		for _, in := range p.Instances {
			if in.Address == address && !in.Leaving {
				return in
			}
		}
	}
	t.Fatalf("the status has no %s", address)
	return InstanceStatus{}
}

// counted are an instance's calls, without how long they took.
func counted(in InstanceStatus) []Calls {
	for i := range in.Calls {
		in.Calls[i].Took, in.Calls[i].Sum = nil, 0
	}
	return in.Calls
}

// TestFaults: each way to fail moves its counter, and no other.
func TestFaults(t *testing.T) {
	enriched := func(c Calls) Calls { c.Method, c.Calls = "enrich", 1; return c }
	executed := func(c Calls) Calls { c.Method, c.Calls = "execute", 1; return c }
	type want struct {
		calls Calls
		took  uint64 // how many reached the plugin
	}
	enrichments := map[string]want{
		"well":     {enriched(Calls{}), 1},
		"miscount": {enriched(Calls{Plugin: 1}), 1},
		"misname":  {enriched(Calls{Plugin: 1}), 1},
		"bad utf8": {enriched(Calls{Plugin: 1}), 1},
		"hang":     {enriched(Calls{Plugin: 1}), 1},
		"retry":    {enriched(Calls{Vendor: 1}), 1},
		"denied":   {enriched(Calls{Vendor: 1}), 1},
		"invalid":  {enriched(Calls{Input: 1}), 1},
		"failure":  {enriched(Calls{Vendor: 1}), 1},
	}
	actions := map[string]want{
		"well":       {executed(Calls{}), 1},
		"misname":    {executed(Calls{Plugin: 1}), 1},
		"leak token": {executed(Calls{Plugin: 1}), 1},
		"hang":       {executed(Calls{Plugin: 1}), 1},
		"failed":     {executed(Calls{Vendor: 1}), 1},
		"unknown":    {executed(Calls{Vendor: 1}), 1},
		"refused":    {executed(Calls{}), 1},
	}
	address := func(kind model.ConnectorKind, do string) string {
		return string(kind) + "." + strings.ReplaceAll(do, " ", "_")
	}
	var instances []Instance
	add := func(kind model.ConnectorKind, do string) {
		in := fakeInstance(kind, address(kind, do), "well", do)
		if do == "hang" {
			in.Timeout = 50 * time.Millisecond
		}
		instances = append(instances, in)
	}
	for do := range enrichments {
		add(model.Enrichment, do)
	}
	for do := range actions {
		add(model.Action, do)
	}
	h := started(t, settings(t, quick(), instances...), quiet())
	for do := range enrichments {
		_, _ = enricher(t, h, address(model.Enrichment, do)).Enrich(t.Context(), ask(2))
	}
	for do := range actions {
		a, err := h.Action(address(model.Action, do))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = a.Execute(t.Context(), ActionCall{Verb: "notify", Key: "i-0", NotAfter: time.Now().Add(time.Minute)})
	}
	look := func(kind model.ConnectorKind, all map[string]want) {
		for do, w := range all {
			in := told(t, h, address(kind, do))
			took := uint64(0)
			for _, c := range in.Calls {
				for _, n := range c.Took {
					took += n
				}
			}
			if diff := cmp.Diff([]Calls{w.calls}, counted(in)); diff != "" || took != w.took || in.InFlight != 0 || in.Waiting != 0 {
				t.Errorf("%s that does %q: %d took, %d in flight, %d wait (-want +got):\n%s", kind, do, took, in.InFlight, in.Waiting, diff)
			}
		}
	}
	look(model.Enrichment, enrichments)
	look(model.Action, actions)
}

// TestQuotaIsKept: what the vendor says is left is shown, and of several replies that
// failed the plugin's fault counts, once.
func TestQuotaIsKept(t *testing.T) {
	h, do := doing(t, "answers")
	if q := told(t, h, "enrichment.answers").Quota; q != nil {
		t.Errorf("before anybody said so: %+v", q)
	}
	if _, err := do("answers").Enrich(t.Context(), ask(len(fakeAnswers(token)))); err != nil {
		t.Fatal(err)
	}
	in := told(t, h, "enrichment.answers")
	if q := in.Quota; q == nil || q.Left != 17 || q.Told.IsZero() || !q.Resets.IsZero() {
		t.Errorf("quota %+v", q)
	}
	if diff := cmp.Diff([]Calls{{Method: "enrich", Calls: 1, Plugin: 1}}, counted(in)); diff != "" {
		t.Error(diff)
	}
}

// TestCountsOutliveTheProcess: a plugin that crashed keeps its counts, and tells why
// and what it last said, also after a change of its configuration.
func TestCountsOutliveTheProcess(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", "well"), enrichment("enrichment.crash", "well", "crash"))
	h := started(t, s, quiet())
	if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	_, err := enricher(t, h, "enrichment.crash").Enrich(t.Context(), ask(1))
	if err == nil {
		t.Fatal("it did not crash")
	}
	eventually(t, 20*time.Second, "started again", func() bool { return told(t, h, "enrichment.a").Restarts == 1 })
	if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	check := func(when string, calls uint64) {
		t.Helper()
		a, crash := told(t, h, "enrichment.a"), told(t, h, "enrichment.crash")
		if diff := cmp.Diff([]Calls{{Method: "enrich", Calls: calls}}, counted(a)); diff != "" {
			t.Errorf("%s: a (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff([]Calls{{Method: "enrich", Calls: 1, Plugin: 1}}, counted(crash)); diff != "" {
			t.Errorf("%s: crash (-want +got):\n%s", when, diff)
		}
		for _, in := range []InstanceStatus{a, crash} {
			e := in.Ending
			if in.Restarts != 1 || e == nil || e.Reason != "it ended by itself: exit status 2" || e.At.IsZero() ||
				len(e.Tail) == 0 || e.Tail[len(e.Tail)-1] != "panic: the secret is (secret)" {
				t.Errorf("%s: %s: %d restarts, ending %+v", when, in.Address, in.Restarts, e)
			}
		}
	}
	check("after the crash", 2)

	// Another configuration, and another process for one of them.
	next := s
	next.Instances = []Instance{enrichment("enrichment.a", "well", "slow"), enrichment("enrichment.crash", "well", "crash")}
	next.Instances[0].Own = true
	c, found, err := h.Prepare(t.Context(), next)
	if err != nil {
		t.Fatal(found, err)
	}
	for _, l := range c.Commit() {
		l.Retire(t.Context())
	}
	if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	check("after the change", 3)

	// One that is taken out of the configuration is forgotten.
	next.Instances = next.Instances[:1]
	if c, found, err = h.Prepare(t.Context(), next); err != nil {
		t.Fatal(found, err)
	}
	for _, l := range c.Commit() {
		l.Retire(t.Context())
	}
	h.mu.Lock()
	kept := len(h.tallies)
	h.mu.Unlock()
	if kept != 1 {
		t.Errorf("%d tallies are kept for one address", kept)
	}
}

// TestInFlightAndWaiting: calls are told while they are with the plugin, and while they
// wait for it.
func TestInFlightAndWaiting(t *testing.T) {
	timing := quick()
	timing.BackoffMin, timing.BackoffMax = time.Hour, time.Hour
	h := started(t, settings(t, timing, enrichment("enrichment.hang", "well", "hang"), enrichment("enrichment.a", "well", "well")), quiet())
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() { _, _ = enricher(t, h, "enrichment.hang").Enrich(ctx, ask(1)) })
	}
	eventually(t, 20*time.Second, "three are in flight", func() bool { return told(t, h, "enrichment.hang").InFlight == 3 })
	cancel()
	calls.Wait()
	in := told(t, h, "enrichment.hang")
	if diff := cmp.Diff([]Calls{{Method: "enrich", Calls: 3, Nobody: 3}}, counted(in)); diff != "" || in.InFlight != 0 {
		t.Errorf("%d in flight after they were cancelled (-want +got):\n%s", in.InFlight, diff)
	}

	if err := syscall.Kill(h.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "down", func() bool { return h.Status()[0].State == Restarting })
	for range 2 {
		calls.Go(func() {
			if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, 20*time.Second, "two wait", func() bool { return told(t, h, "enrichment.a").Waiting == 2 })
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if in := told(t, h, "enrichment.a"); in.Waiting != 0 || in.InFlight != 0 {
		t.Errorf("%d wait, %d in flight", in.Waiting, in.InFlight)
	}
}

// TestSessionsAreCounted: a session is in flight while it is open; how it ended, and
// each time that its source was lost, is counted once.
func TestSessionsAreCounted(t *testing.T) {
	for do, want := range map[string]Calls{
		"well":     {},
		"gap":      {Plugin: 1},
		"crash":    {Plugin: 1},
		"troubled": {Vendor: 2},
	} {
		t.Run(do, func(t *testing.T) {
			h, d := detector(t, "well", do)
			s := open(t, d, SessionStart{})
			if got := told(t, h, "detector.eve").InFlight; got != 1 {
				t.Errorf("%d in flight", got)
			}
			if err := s.Credit(1); err != nil {
				t.Fatal(err)
			}
			if b, err := recvBatch(s); err == nil {
				if err := s.Ack(b.Number); err != nil {
					t.Fatal(err)
				}
				if do == "well" || do == "troubled" {
					if err := s.Stop(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 { // the end is told again and again, and counted once
				for err := error(nil); err == nil; _, err = recvBatch(s) {
				}
			}
			s.Close()
			s.Close()
			want.Method, want.Calls = "detect", 1
			eventually(t, 20*time.Second, "the process is back", func() bool { return h.Status()[0].State == Running })
			in := told(t, h, "detector.eve")
			if diff := cmp.Diff([]Calls{want}, counted(in)); diff != "" || in.InFlight != 0 {
				t.Errorf("%d in flight (-want +got):\n%s", in.InFlight, diff)
			}
		})
	}
}

// TestQuantile: a quantile is at most a factor of two beside the truth.
func TestQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		durations := rapid.SliceOfN(rapid.Int64Range(0, int64(100*time.Second)), 1, 200).Draw(t, "durations")
		part := rapid.SampledFrom([]float64{0.01, 0.5, 0.99, 1}).Draw(t, "part")
		var one tally
		for _, d := range durations {
			one.took(enriching, time.Duration(d))
		}
		one.call(enriching, nil)
		c := one.read()[0]
		got, ok := c.Quantile(part)
		if !ok {
			t.Fatal("there is none")
		}
		below := 0
		for _, d := range durations {
			if time.Duration(d) <= max(got*2, leastLatency) {
				below++
			}
		}
		if float64(below) < part*float64(len(durations)) && got < leastLatency<<(latencies-2) {
			t.Errorf("only %d of %d took at most twice %s, the quantile of %v", below, len(durations), got, part)
		}
		above := 0
		for _, d := range durations {
			if time.Duration(d) >= got/2 || got <= leastLatency {
				above++
			}
		}
		if float64(above) < (1-part)*float64(len(durations)) {
			t.Errorf("only %d of %d took at least half of %s, the quantile of %v", above, len(durations), got, part)
		}
	})
	if _, ok := (&Calls{Took: make([]uint64, latencies)}).Quantile(0.5); ok {
		t.Error("of nothing there is a quantile")
	}
}

// TestBounds: what took exactly as long as a bound is within it.
func TestBounds(t *testing.T) {
	for i, bound := range LatencyBounds() {
		for d, want := range map[time.Duration]int{time.Duration(bound * float64(time.Second)): i, time.Duration(bound*float64(time.Second)) + 1: i + 1} {
			var one tally
			one.took(enriching, d)
			for at := range one.methods[enriching].took {
				if n := one.methods[enriching].took[at].Load(); (n == 1) != (at == want) {
					t.Errorf("%s is counted at %d, not %d", d, at, want)
				}
			}
		}
	}
}

// TestCountingIsCheap: to count a call that did not fail allocates nothing.
func TestCountingIsCheap(t *testing.T) {
	var one tally
	if n := testing.AllocsPerRun(100, func() {
		one.took(executing, time.Millisecond)
		one.call(executing, nil)
		one.quota(5, time.Time{}, time.Now())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
