//go:build linux

package host

import "testing"

// BenchmarkStart is from nothing to a configured instance.
func BenchmarkStart(b *testing.B) {
	for name, off := range map[string]bool{"confined": false, "unconfined": true} {
		b.Run(name, func(b *testing.B) {
			a := enrichment("enrichment.a", "well", "well")
			a.Confinement.Off, a.Confinement.Limits = off, DefaultLimits()
			s := settings(b, quick(), a)
			for b.Loop() {
				h, err := New(s, quiet())
				if err != nil {
					b.Fatal(err)
				}
				if found, err := h.Start(b.Context()); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
				b.StopTimer()
				if err := h.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
