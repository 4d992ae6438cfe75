package store

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// having are the numbers of the settled cases that have a value.
func having(t *testing.T, s *Store, hash uint64) []int64 {
	t.Helper()
	found, err := s.Recall(t.Context(), decide.Wanted{Values: []uint64{hash}})
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int64
	for _, b := range found.Cases {
		numbers = append(numbers, b.Number)
	}
	return numbers
}

// TestRunsMerge: a case is found by its values whatever run they are in, also while small
// runs become a large one, and by none once they are taken away.
func TestRunsMerge(t *testing.T) {
	const apart, n = 1000, 400
	s := mustOpen(t, t.TempDir())
	// Hashes over the whole range; every tenth case shares one.
	hash := func(i int) uint64 { return uint64(i+1) * 0x9e3779b97f4a7c15 }
	const shared = uint64(1) << 63
	write := func(do func(w *writer)) {
		t.Helper()
		if err := s.transact(t.Context(), func(w *writer) error { do(w); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var sharing []int64
	write(func(w *writer) {
		var values []runValue
		for i := range n {
			number, keys := int64(i*apart+1), []uint64{hash(i)}
			if i%10 == 0 {
				keys = append(keys, shared)
				sharing = append(sharing, number)
			}
			w.exec(`INSERT INTO settled (number, case_key, case_number, last, changed, keys, doc) VALUES (?, 0, ?, 1, 1, ?, x'')`, number, number, hashes(keys))
			for _, h := range keys {
				values = append(values, runValue{number >> runBits, int64(h), number})
			}
		}
		w.addToRuns(values)
	})
	const large = (n - 1) * apart >> largeBits // that are complete
	for part := range large*mergeParts + 3 {
		if part%20 == 0 {
			for i := part % 7; i < n; i += 7 {
				if got := having(t, s, hash(i)); !slices.Equal(got, []int64{int64(i*apart + 1)}) {
					t.Fatalf("after %d parts case %d is found as %v", part, i, got)
				}
			}
			if diff := cmp.Diff(sharing, having(t, s, shared)); diff != "" {
				t.Fatalf("after %d parts: %s", part, diff)
			}
		}
		write(func(w *writer) { w.mergeRuns() })
	}
	number := func(scan scanner) (n int64, err error) { err = scan(&n); return n, err }
	runs, err := queryRows(t.Context(), s, number, `SELECT DISTINCT run FROM settled_runs ORDER BY run`)
	want := []int64{largeRun(2), largeRun(1), largeRun(0), large * perLarge}
	if diff := cmp.Diff(want, runs); diff != "" || err != nil {
		t.Errorf("runs: %s, %v", diff, err)
	}
	write(func(w *writer) {
		for i := range n {
			w.unlink(int64(i*apart + 1))
		}
	})
	if left, err := queryRows(t.Context(), s, number, `SELECT hash FROM settled_runs`); err != nil || len(left) > 0 {
		t.Errorf("%d values are left, %v", len(left), err)
	}
}

// TestSettledOfBefore: cases that left up to version 14 were found by the hash of their
// id, and by values that were in one tree.
func TestSettledOfBefore(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir, 14)
	for _, q := range []string{
		`INSERT INTO cases (id, state, score, first, last, updated, doc) VALUES ('c-1', 'open', 0, 1, 1, 1, x''), ('c-2', 'open', 0, 1, 1, 1, x'')`,
		`INSERT INTO settled_values VALUES (7, 200000), (-9, 200000), (7, 3)`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	for number, id := range map[int64]string{200000: "c-1", 3: "c-2"} {
		_, err := db.Exec(`INSERT INTO settled (number, case_key, last, changed, keys, doc) VALUES (?, ?, 1, 1, ?, ?)`,
			number, int64(decide.HashValue(id)), hashes([]uint64{7}), []byte(id))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	mustCommit(t, s, decide.Changes{
		Position: decide.Position{Seq: 1},
		Cases:    []model.Case{{ID: "c-3", State: model.CaseOpen}},
		Settled:  []decide.Settled{{Case: "c-2", Last: 1, Changed: 1, Values: []uint64{7}, Doc: []byte("later")}, {Case: "c-3", Doc: []byte("over")}},
		Recalled: []int64{3}, Quiet: -1,
	})
	if diff := cmp.Diff([]int64{200000, 200001}, having(t, s, 7)); diff != "" {
		t.Error(diff)
	}
	for id, want := range map[string]string{"c-1": "c-1", "c-2": "later", "c-3": "over"} {
		found, err := s.Recall(t.Context(), decide.Wanted{Names: []string{id}})
		if err != nil || len(found.Cases) != 1 || string(found.Cases[0].Doc) != want {
			t.Errorf("%s: %+v, %v", id, found, err)
		}
	}
	if n, err := s.Counts(t.Context()); err != nil || n.Cases != 3 {
		t.Errorf("%d cases, %v", n.Cases, err)
	}
}
