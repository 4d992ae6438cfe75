package eventlog

import (
	"errors"
	"fmt"
	"testing"
)

func mustReject(t *testing.T, l *Log, source, id string, count, size int) {
	t.Helper()
	r := Rejected{ID: id, Count: count, Payload: append([]byte(id+" "), make([]byte, size)...)}
	if err := l.Reject(t.Context(), source, r); err != nil {
		t.Fatalf("reject %s: %v", id, err)
	}
}

func TestRejectedIsKeptOnce(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, small(dir))
	mustReject(t, l, "edr", "batch 1", 2, 10)
	mustReject(t, l, "edr", "batch 1", 2, 10)
	mustReject(t, l, "file.eve", "batch 1", 1, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, small(dir))
	mustReject(t, l, "edr", "batch 1", 2, 10)
	mustReject(t, l, "edr", "batch 2", 3, 10)
	st, err := l.RejectedStats(t.Context(), "edr")
	if err != nil || st != (RejectedStats{Messages: 2, Bytes: 36, Events: 5}) {
		t.Errorf("stats = %+v, %v", st, err)
	}
	if st, err := l.RejectedStats(t.Context(), "unknown"); err != nil || st != (RejectedStats{}) {
		t.Errorf("stats of an unknown source = %+v, %v", st, err)
	}
}

func TestQuotaDropsTheOldestOfItsSource(t *testing.T) {
	set := small(t.TempDir())
	set.RejectedQuota = 10_000
	l := mustOpen(t, set)
	mustReject(t, l, "other", "x", 1, 5000)
	for i := range 12 {
		mustReject(t, l, "edr", fmt.Sprint(i), 2, 2000)
	}
	st, err := l.RejectedStats(t.Context(), "edr")
	if err != nil || st.Messages != 4 || st.Bytes > 10_000 || st.Events != 8 || st.Dropped != 16 {
		t.Errorf("stats = %+v, %v", st, err)
	}
	page, err := l.ListRejected(t.Context(), Query{})
	if err != nil || len(page.Records) != 5 {
		t.Fatalf("%d records, %v, want 5", len(page.Records), err)
	}
	for i, want := range []string{"11", "10", "9", "8", "x"} {
		if r := page.Records[i]; string(r.Payload[:len(want)+1]) != want+" " || r.Count == 0 {
			t.Errorf("record %d = %q with %d events, want %s", i, r.Payload[:4], r.Count, want)
		}
	}
	// One message larger than the quota is kept all the same, alone.
	mustReject(t, l, "edr", "large", 1, 20_000)
	st, err = l.RejectedStats(t.Context(), "edr")
	if err != nil || st.Messages > 2 || st.Events > 3 {
		t.Errorf("stats = %+v, %v", st, err)
	}
}

func TestFullRejectedMakesRoom(t *testing.T) {
	set := small(t.TempDir())
	set.RejectedBytes = 1 << 20
	l := mustOpen(t, set)
	for i := range 30 {
		mustReject(t, l, fmt.Sprint("source ", i%3), fmt.Sprint(i), 1, 100<<10)
	}
	page, err := l.ListRejected(t.Context(), Query{})
	if err != nil || len(page.Records) < 5 || string(page.Records[0].Payload[:3]) != "29 " {
		t.Errorf("%d records, %v", len(page.Records), err)
	}
	if err := l.Reject(t.Context(), "edr", Rejected{ID: "x", Payload: make([]byte, 2<<20)}); !errors.Is(err, ErrFull) {
		t.Errorf("what never fits: %v, want ErrFull", err)
	}
	if err := l.Reject(t.Context(), "edr", Rejected{ID: "y", Payload: make([]byte, MaxPart+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("what is too large: %v, want ErrTooLarge", err)
	}
}
