package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// storedSignals is how many signals BenchmarkCommitStored finds in the store, from
// KELPIE_BENCH_SIGNALS; ten million take some minutes, and 25 GB below TMPDIR, or in the
// folder KELPIE_BENCH_STORE, where they are kept for the next run.
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
				`INSERT INTO members (signal, case_number) SELECT value + 1, value / 10 + 1
					FROM generate WHERE value >= ?1 AND value < ?2`,
				`INSERT INTO cases (id, state, score, first, last, updated, doc)
					SELECT printf('c-%012x%08x', value * ?3, value / 10), 'open', value % 10000, value, value, value, zeroblob(900)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO asks (id, enrichment, kind, value, state, asked, place, doc, answer)
					SELECT printf('a-%012x%08x', value * ?3, value), 'enrichment.assets', 'ip', printf('%x', value), 'known', value, value, zeroblob(250), zeroblob(250)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO intents (id, case_number, action, state, planned, place, doc)
					SELECT printf('i-%012x%08x', value * ?3, value), value / 10 + 1, 'action.mail', 'done', value, value, zeroblob(500)
					FROM generate WHERE value >= ?1 AND value < ?2 AND value % 10 = 0`,
				`INSERT INTO attempts (intent, number, epoch, claimed, not_after, state, doc)
					SELECT value / 10 + 1, 1, 1, value, value, 'done', zeroblob(200)
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

// stored is a folder with a store that holds so many signals.
func stored(b *testing.B, signals int) string {
	b.Helper()
	dir := os.Getenv("KELPIE_BENCH_STORE")
	if dir == "" || signals == 0 {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, strconv.Itoa(signals))
	full := filepath.Join(dir, "full") // tells that it was filled to the end
	if _, err := os.Stat(full); err == nil {
		return dir
	}
	began := time.Now()
	s := mustOpen(b, dir)
	s.writer.exec(`PRAGMA synchronous = OFF`) // a fill that is cut off is thrown away
	fill(b, s, signals)
	if err := errors.Join(s.writer.err, s.Close(), os.WriteFile(full, nil, 0o600)); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d signals in %s", signals, time.Since(began).Round(time.Second))
	return dir
}

// BenchmarkCommitStored commits groups of 512 signals with all their rows to an empty
// store, and to one that holds many already.
func BenchmarkCommitStored(b *testing.B) {
	for _, signals := range []int{0, storedSignals(b)} {
		b.Run(fmt.Sprintf("stored=%d", signals), func(b *testing.B) { commitStored(b, stored(b, signals)) })
	}
}

func commitStored(b *testing.B, dir string) {
	const group = 512
	s := mustOpen(b, dir)
	info, err := os.Stat(filepath.Join(dir, File))
	if err != nil {
		b.Fatal(err)
	}
	at, err := s.Position(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	next := int(at.Seq) * group // what runs before this one committed is there
	warm(b, s)
	for range 20 { // what it is like after a while
		mustCommit(b, s, changes(next, group))
		next += group
	}
	var took []time.Duration
	before, read := cpu(b), diskRead()
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
	b.ReportMetric(float64(info.Size())/1e9, "GB-stored")
	b.ReportMetric(float64(diskRead()-read)/n, "B-from-disk/signal") // what the system did not have in memory
	for name, i := range map[string]int{"p50": len(took) / 2, "p99": len(took) * 99 / 100, "max": len(took) - 1} {
		b.ReportMetric(float64(took[i].Microseconds())/1000, fmt.Sprintf("commit-ms-%s", name))
	}
}

// warm has the system read what commits look into: the tables by their keys, and the
// indexes. A store that has run for a while has that in memory, if there is so much.
func warm(b *testing.B, s *Store) {
	b.Helper()
	for _, from := range []string{
		"members NOT INDEXED", "attempts NOT INDEXED", "asks INDEXED BY sqlite_autoindex_asks_1",
		"signals INDEXED BY sqlite_autoindex_signals_1", "cases INDEXED BY sqlite_autoindex_cases_1", "cases INDEXED BY cases_state",
		"intents INDEXED BY sqlite_autoindex_intents_1", "intents INDEXED BY intents_case", "intents INDEXED BY intents_planned",
		"intents INDEXED BY intents_state", "members INDEXED BY members_case", "asks INDEXED BY asks_observable",
	} {
		var n int
		if err := s.read.QueryRowContext(b.Context(), "SELECT count(*) FROM "+from).Scan(&n); err != nil {
			b.Fatalf("%s: %v", from, err)
		}
	}
}

// diskRead is how many bytes the process had read from the disk; 0 where nobody tells.
func diskRead() int64 { return processIO("read_bytes") }

func processIO(of string) int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\n"+of+": ")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(line, 10, 64) // what can't be read is 0
	return n
}
