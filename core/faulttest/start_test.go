//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
)

// BenchmarkStart is the start after a kill, with a million stored events, each a signal
// and a case of its own that later events may still join: until the core answers, and
// until it has decided an event that came after the start. Everything before that has
// been decided by then, and steps are carried out again. What it fills is kept in the
// folder KELPIE_BENCH_FOLDER, if there is such.
func BenchmarkStart(b *testing.B) {
	const (
		stored = 1_000_000
		rate   = 2_000
	)
	dir := os.Getenv("KELPIE_BENCH_FOLDER")
	if dir == "" {
		dir = b.TempDir()
	}
	w := newFlood(b, dir, load{detector: fmt.Sprintf("sprint = %d\n  rate = %d\n  fresh = 1", stored, rate)})
	u := w.start()
	// Some seconds more, so that it is killed in the middle of its usual work.
	u.wait(time.Hour, "the store to be filled", func() bool { _, decided := u.counted(); return decided > stored+5*rate })
	var answers, decides time.Duration
	for i := range b.N + 1 {
		was, _ := u.counted()
		u.kill()
		if i == 0 { // the first start warms up
			b.ResetTimer()
		}
		began := time.Now()
		u = w.start()
		answered := time.Since(began)
		// What came while it was killed is less than a twentieth of a second's events.
		u.wait(5*time.Minute, "a new event to be decided", func() bool { _, decided := u.counted(); return decided > was+rate/20 })
		if i > 0 {
			answers, decides = answers+answered, decides+time.Since(began)
		}
	}
	b.StopTimer()
	var s api.Status
	if !u.get("status", &s) || s.Counts.Cases < stored || s.Counts.Signals < stored {
		b.Fatalf("void: %+v", s.Counts)
	}
	m := u.memory()
	u.kill()
	b.ReportMetric(answers.Seconds()/float64(b.N), "s-answers")
	b.ReportMetric(decides.Seconds()/float64(b.N), "s-decides")
	b.ReportMetric(float64(m.peak)/(1<<20), "MiB-peak")
	if os.Getenv("KELPIE_BENCH_FOLDER") == "" {
		_ = os.RemoveAll(filepath.Join(dir, "data")) // some GB
	}
}
