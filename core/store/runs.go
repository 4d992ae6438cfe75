package store

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
)

// A run of settled_runs has the values of so many settled cases, as a power of two; of a
// large one eight small ones are made. Of two million values there are some sixteen
// large runs and eight small ones, and each is looked into.
const (
	runBits   = 14
	largeBits = 17
	perLarge  = 1 << (largeBits - runBits)
)

// largeRun is the run of so many settled cases from n times as many on.
func largeRun(n int64) int64 { return -1 - n }

// runValue is a row of settled_runs.
type runValue struct{ run, hash, number int64 }

// addToRuns adds values in their order in the tree, so that those of a page come together.
func (w *writer) addToRuns(values []runValue) {
	slices.SortFunc(values, func(a, b runValue) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.hash, b.hash), cmp.Compare(a.number, b.number))
	})
	args := make([]any, 0, 3*len(values))
	for _, v := range slices.Compact(values) {
		args = append(args, v.run, v.hash, v.number)
	}
	w.many(`INSERT INTO settled_runs (run, hash, number)`, 3, args)
}

// A large run is made in parts, by hash, one with each commit that has settled cases:
// some 4,000 values at once, and none waits for more.
const (
	mergeParts = 64
	metaMerged = "settled_merged" // parts of large runs that are made
)

// mergeRuns makes the next part of a large run, if its small ones get no more.
func (w *writer) mergeRuns() {
	var text string
	var last int64
	if err := w.scan(`SELECT coalesce((SELECT value FROM meta WHERE key = ?), '0'), (SELECT max(number) FROM settled)`, []any{metaMerged}, &text, &last); err != nil {
		return
	}
	made, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	n, part := made/mergeParts, made%mergeParts
	if last>>largeBits <= n {
		return
	}
	const step = math.MaxUint64/mergeParts + 1
	from := math.MinInt64 + int64(part)*step
	args := []any{largeRun(n), n * perLarge, (n + 1) * perLarge, from, from + (step - 1)}
	// The runs are told one by one, so that of each only the part is read.
	w.exec(`WITH RECURSIVE runs (run) AS (SELECT ?2 UNION ALL SELECT run + 1 FROM runs WHERE run + 1 < ?3)
		INSERT OR IGNORE INTO settled_runs (run, hash, number)
		SELECT ?1, v.hash, v.number FROM runs CROSS JOIN settled_runs v ON v.run = runs.run AND v.hash BETWEEN ?4 AND ?5 ORDER BY v.hash, v.number`, args...)
	w.exec(`DELETE FROM settled_runs WHERE run IN (
			WITH RECURSIVE runs (run) AS (SELECT ?1 UNION ALL SELECT run + 1 FROM runs WHERE run + 1 < ?2) SELECT run FROM runs)
		AND hash BETWEEN ?3 AND ?4`, args[1:]...)
	w.meta(metaMerged, made+1)
}
