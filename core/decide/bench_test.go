package decide

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// inputs makes n signals in messages of a size, over so many hosts and addresses.
func inputs(n, size, hosts int) []model.Input {
	r := rand.New(rand.NewPCG(1, 2))
	raw := []byte(fmt.Sprintf("%01300d", 7))
	var all []model.Input
	for id := 0; id < n; {
		m := &model.MatchResult{Seq: uint64(len(all) + 1), Source: "detector.ids", Counts: model.Counts{Matched: size}}
		for i := range size {
			m.Signals = append(m.Signals, model.Signal{
				ID: model.SignalID("pipeline.ids", "detector.ids", "", fmt.Sprint(id)), Rule: "pipeline.ids", Source: "detector.ids",
				EventID: fmt.Sprint(id), Revision: "1", Position: model.Position{Seq: m.Seq, Index: i},
				Time: start.Add(time.Duration(id) * 20 * time.Millisecond), Title: fmt.Sprintf("rule %d", id%50), Severity: id % 60,
				Techniques: []string{"T1071"}, Raw: raw,
				Observables: []sdk.Observable{
					{Kind: sdk.Domain, Value: fmt.Sprintf("d%d.example", r.IntN(hosts)), Role: sdk.Indicator},
					{Kind: sdk.IP, Value: fmt.Sprintf("203.0.%d.%d", r.IntN(hosts)/256%256, r.IntN(256)), Role: sdk.Indicator},
					{Kind: sdk.IP, Value: fmt.Sprintf("10.%d.%d.%d", id%7, r.IntN(hosts)/256%256, r.IntN(256)), Role: sdk.Subject},
				},
			})
			id++
		}
		m.Total = uint64(id)
		all = append(all, model.Input{At: start.Add(time.Duration(id) * 20 * time.Millisecond), Match: m})
	}
	return all
}

// BenchmarkSignals gives a machine signals and takes its changes, in groups of at
// most 512 signals.
func BenchmarkSignals(b *testing.B) {
	for _, c := range []struct {
		name                 string
		config               string
		signals, size, hosts int
		window               time.Duration
	}{
		{"batch=512", "quiet blind", 100_000, 512, 100_000, time.Minute},
		{"batch=64", "quiet blind", 100_000, 64, 100_000, time.Minute},
		{"batch=1", "quiet blind", 20_000, 1, 100_000, time.Minute},
		{"batch=64/responses", "base", 100_000, 64, 100_000, time.Minute},
		{"batch=64/one_case", "quiet blind", 100_000, 64, 200, time.Hour},
		{"batch=1/one_case", "quiet blind", 20_000, 1, 200, time.Hour},
	} {
		b.Run(c.name, func(b *testing.B) {
			all := inputs(c.signals, c.size, c.hosts)
			compile := func(v model.Config) (*Settings, error) {
				s, err := testCompiler(v)
				s.Correlate.Window = c.window
				return s, err
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			var m *Machine
			for range b.N {
				m = New(compile)
				if err := m.Apply(1, 0, model.Input{At: start, Config: &model.Config{Hash: "x", Text: []byte(`"` + c.config + `"`)}}); err != nil {
					b.Fatal(err)
				}
				for i, in := range all {
					if err := m.Apply(uint64(i+2), 0, in); err != nil {
						b.Fatal(err)
					}
					if m.Signals() >= MaxGroupSignals || c.size == 1 {
						m.Changes()
					}
				}
				m.Changes()
			}
			b.StopTimer()
			used := cpu() - before
			b.ReportMetric(float64(c.signals)*float64(b.N)/used.Seconds(), "signals/cpu-s")
			b.ReportMetric(float64(len(m.cases)), "cases")
			b.ReportMetric(float64(held(m))/float64(c.signals), "B/signal")
		})
	}
}

// cpu is the time that this process has used, the collector's included: on a busy
// machine it says more than the clock.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// held is how much memory a machine holds.
func held(m *Machine) uint64 {
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(m)
	*m = Machine{}
	runtime.GC()
	runtime.ReadMemStats(&without)
	return with.HeapAlloc - without.HeapAlloc
}

func BenchmarkSnapshot(b *testing.B) {
	m := New(testCompiler)
	m.Apply(1, 0, model.Input{At: start, Config: &model.Config{Hash: "x", Text: []byte(`"quiet blind"`)}})
	const n = 100_000
	for i, in := range inputs(n, 512, 100_000) {
		m.Apply(uint64(i+2), 0, in)
		m.Changes()
	}
	var size counter
	b.ResetTimer()
	for range b.N {
		size = 0
		if err := m.Snapshot(&size); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/n, "B/signal")
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
