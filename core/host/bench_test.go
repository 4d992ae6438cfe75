//go:build linux

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkStart is from nothing to configured instances: of one plugin, and of twenty,
// each with an executable of its own, all at once as the core does. The
// executable is this test's, of some 25 MB; those that ship have some 15.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name    string
		plugins int
		off     bool
	}{{"one", 1, false}, {"one-unconfined", 1, true}, {"twenty", 20, false}} {
		b.Run(c.name, func(b *testing.B) {
			all := copies(b, c.plugins)
			for n := range all {
				all[n].Confinement.Off, all[n].Confinement.Limits = c.off, DefaultLimits()
			}
			s := settings(b, quick(), all...)
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				h, err := New(s, quiet())
				if err != nil {
					b.Fatal(err)
				}
				if found, err := h.Start(b.Context()); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
				took = append(took, time.Since(began))
				b.StopTimer()
				if err := h.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-most")
		})
	}
}

// copies are instances, each of a plugin with an executable of its own.
func copies(b *testing.B, n int) []Instance {
	b.Helper()
	from, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		b.Fatal(err)
	}
	var all []Instance
	for i := range n {
		one := enrichment(fmt.Sprintf("enrichment.a%d", i), "well", "well")
		one.Path = filepath.Join(b.TempDir(), "fake")
		if err := os.WriteFile(one.Path, text, 0o700); err != nil {
			b.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}
