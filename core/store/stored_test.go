package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// storedSignals is how many signals BenchmarkCommitStored finds in the store, from
// KELPIE_BENCH_SIGNALS; ten million take some minutes, and 25 GB below TMPDIR.
func storedSignals(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("KELPIE_BENCH_SIGNALS"))
	if err != nil || n <= 0 {
		return 100_000
	}
	return n
}

// fill writes rows as decide would, but for what they say: ids over the whole range, in
// their order, so that the indexes are as large as they would be, and new ones go
// anywhere in them. One signal in ten has a case, a look-up and an intent of its own.
func fill(b *testing.B, s *Store, signals int) {
	b.Helper()
	const chunk = 200_000
	for first := 0; first < signals; first += chunk {
		n := min(chunk, signals-first)
		err := s.transact(b.Context(), func(w *writer) error {
			for _, q := range []string{
				`INSERT INTO signals (id, rule, source, time, doc, raw)
					SELECT printf('s-%012x%08x', value * ?3, value), 'pipeline.ids', 'detector.eve', value * 1000000000, zeroblob(500), zeroblob(1300)
					FROM generate WHERE value >= ?1 AND value < ?2`,
				`INSERT INTO case_members (signal, case_id)
					SELECT printf('s-%012x%08x', value * ?3, value), printf('c-%012x%08x', value / 10 * 10 * ?3, value / 10)
					FROM generate WHERE value >= ?1 AND value < ?2`,
				`INSERT INTO cases (id, state, score, first, last, updated, doc)
					SELECT printf('c-%012x%08x', value * ?3, value / 10), 'open', value % 10000, value, value, value, zeroblob(900)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO asks (id, enrichment, kind, value, state, asked, place, doc)
					SELECT printf('a-%012x%08x', value * ?3, value), 'enrichment.assets', 'ip', printf('%x', value), 'known', value, value, zeroblob(250)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO answers (ask, doc) SELECT printf('a-%012x%08x', value * ?3, value), zeroblob(250)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO intents (id, case_id, action, state, planned, place, doc)
					SELECT printf('i-%012x%08x', value * ?3, value), printf('c-%012x%08x', value * ?3, value / 10), 'action.mail', 'done', value, value, zeroblob(500)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO attempts (intent, number, epoch, claimed, not_after, state, doc)
					SELECT printf('i-%012x%08x', value * ?3, value), 1, 1, value, value, 'done', zeroblob(200)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
			} {
				w.exec(`WITH RECURSIVE generate (value) AS (SELECT ?1 UNION ALL SELECT value + 1 FROM generate WHERE value + 1 < ?2) `+q,
					first, first+n, (1<<48)/signals)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitStored commits groups of 512 signals with all their rows to a store
// that holds many already.
func BenchmarkCommitStored(b *testing.B) {
	const group = 512
	stored := storedSignals(b)
	dir := b.TempDir()
	s := mustOpen(b, dir)
	began := time.Now()
	fill(b, s, stored)
	info, err := os.Stat(filepath.Join(dir, File))
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d signals and %.1f GB in %s", stored, float64(info.Size())/1e9, time.Since(began).Round(time.Second))
	next := 0
	for range 20 { // what it is like after a while
		mustCommit(b, s, changes(next, group))
		next += group
	}
	var took []time.Duration
	before := cpu(b)
	b.ResetTimer()
	for b.Loop() {
		at := time.Now()
		mustCommit(b, s, changes(next, group))
		took = append(took, time.Since(at))
		next += group
	}
	b.StopTimer()
	slices.Sort(took)
	n := float64(len(took) * group)
	b.ReportMetric(n/b.Elapsed().Seconds(), "signals/s")
	b.ReportMetric((cpu(b)-before).Seconds()*1e6/n, "cpu-us/signal")
	for name, i := range map[string]int{"p50": len(took) / 2, "p99": len(took) * 99 / 100, "max": len(took) - 1} {
		b.ReportMetric(float64(took[i].Microseconds())/1000, fmt.Sprintf("commit-ms-%s", name))
	}
}
