package decide

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// BenchmarkNewObservables gives a machine signals each of which has three values that
// were never seen, a hundred microseconds apart, and that nobody is asked about: what
// waits for an answer could not leave.
func BenchmarkNewObservables(b *testing.B) {
	const n, size = 300_000, 512
	for range b.N {
		m := New(within(Limits{}, 10*time.Minute))
		if err := m.Apply(1, 0, model.Input{At: start, Config: &model.Config{Hash: "x", Text: []byte(`"quiet blind"`)}}); err != nil {
			b.Fatal(err)
		}
		before, most, held := cpu(), 0, uint64(0)
		var settled int
		for id := 0; id < n; {
			at := start.Add(time.Duration(id) * 100 * time.Microsecond)
			r := &model.MatchResult{Seq: m.position.Seq, Source: "detector.ids", Counts: model.Counts{Matched: size}}
			for i := range size {
				r.Signals = append(r.Signals, model.Signal{
					ID: model.SignalID("pipeline.ids", "detector.ids", "", strconv.Itoa(id)), Rule: "pipeline.ids", Source: "detector.ids",
					EventID: strconv.Itoa(id), Revision: "1", Position: model.Position{Seq: r.Seq, Index: i}, Time: at, Title: fmt.Sprintf("rule %d", id),
					Observables: []sdk.Observable{
						{Kind: sdk.Domain, Value: fmt.Sprintf("d%d.example", id), Role: sdk.Indicator},
						{Kind: sdk.URL, Value: fmt.Sprintf("http://d%d.example/x", id), Role: sdk.Indicator},
						{Kind: sdk.User, Value: fmt.Sprintf("user-%d", id), Role: sdk.Subject},
					},
				})
				id++
			}
			if err := m.Apply(m.position.Seq+1, 0, model.Input{At: at, Match: r}); err != nil {
				b.Fatal(err)
			}
			settled += len(m.Changes().Settled)
			most = max(most, m.index.Len())
		}
		used := cpu() - before
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		held = mem.HeapAlloc
		b.ReportMetric(float64(n)/used.Seconds(), "signals/cpu-s")
		b.ReportMetric(float64(held)/float64(max(len(m.cases), 1)), "B/case")
		b.ReportMetric(float64(most), "signals-most")
		b.ReportMetric(float64(settled), "settled")
		b.ReportMetric(peakMiB(), "MiB-peak")
		began := time.Now()
		var size counter
		if err := m.Snapshot(&size); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-snapshot")
		b.ReportMetric(float64(size)/(1<<20), "MiB-snapshot")
	}
}

// peakMiB is the most memory that the process ever had; 0 where nobody tells.
func peakMiB() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kib) / 1024
		}
	}
	return 0
}
