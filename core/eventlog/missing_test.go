package eventlog

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// take removes messages from a stream, as nobody should.
func take(t testing.TB, l *Log, stream string, seqs ...uint64) {
	t.Helper()
	for _, seq := range seqs {
		if err := l.srv.streams[stream].DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissing(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	a, b := mustSource(t, l, "detector.a"), mustSource(t, l, "detector.b")
	for i := range 5 {
		put(t, a, fmt.Sprint("a", i), 10, []byte("x"))
		put(t, b, fmt.Sprint("b", i), 1, []byte("x"))
	}
	if e, i, err := l.Missing(t.Context()); err != nil || e.Messages+i.Messages != 0 || e.Runs != nil {
		t.Fatalf("missing %v, %v, %v", e, i, err)
	}
	take(t, l, events, 1, 4, 5, 7, 10)
	got, _, err := l.Missing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Missing{Messages: 5, Runs: []Run{{1, 1}, {4, 5}, {7, 7}, {10, 10}}}, got); diff != "" {
		t.Error(diff)
	}
	if all, err := l.Instances(t.Context()); err != nil || cmp.Diff([]string{"detector.a", "detector.b"}, all) != "" {
		t.Errorf("instances %v, %v", all, err)
	}
	// b's message 4 held its second event: it has its first before and its third after it.
	before, err := l.LastOf(t.Context(), "detector.b", 4)
	if err != nil || before.Seq != 2 || before.Total != 1 {
		t.Errorf("before: %+v, %v", before, err)
	}
	after, err := l.NextOf(t.Context(), "detector.b", 6)
	if err != nil || after.Seq != 6 || after.Total != 3 || after.Count != 1 || after.Source != "detector.b" {
		t.Errorf("after: %+v, %v", after, err)
	}
	for name, err := range map[string]error{
		"no next":   second(l.NextOf(t.Context(), "detector.b", 9)),
		"no last":   second(l.LastOf(t.Context(), "detector.b", 2)),
		"of nobody": second(l.LastOf(t.Context(), "detector.c", 10)),
		"from 0":    second(l.LastOf(t.Context(), "detector.a", 0)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestNeighbours: of any instance and sequence, the messages before and after it.
func TestNeighbours(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	names := []string{"detector.a", "detector.b", "detector.c"}
	var sources []*Source
	for _, n := range names {
		sources = append(sources, mustSource(t, l, n))
	}
	of := []int{0} // by sequence
	for i := range 60 {
		n := i * i % 7 % 3
		put(t, sources[n], fmt.Sprint(i), 1, nil)
		of = append(of, n)
	}
	take(t, l, events, 1, 2, 3, 20, 21, 22, 23, 40)
	gone := map[uint64]bool{1: true, 2: true, 3: true, 20: true, 21: true, 22: true, 23: true, 40: true}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2).Draw(t, "instance")
		seq := uint64(rapid.IntRange(0, 65).Draw(t, "seq"))
		before, after := uint64(0), uint64(0)
		for s := uint64(1); s < uint64(len(of)); s++ {
			switch {
			case of[s] != n || gone[s]:
			case s < seq:
				before = s
			case after == 0:
				after = s
			}
		}
		b, err := l.LastOf(context.Background(), names[n], seq)
		if b.Seq != before || (err == nil) != (before > 0) {
			t.Fatalf("before %d of %s: %d, want %d: %v", seq, names[n], b.Seq, before, err)
		}
		a, err := l.NextOf(context.Background(), names[n], seq)
		if a.Seq != after || (err == nil) != (after > 0) {
			t.Fatalf("from %d of %s: %d, want %d: %v", seq, names[n], a.Seq, after, err)
		}
	})
}

func TestAdvance(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	put(t, mustSource(t, l, "detector.a"), "1", 10, []byte("x"))
	for _, c := range []struct{ total, was, seq uint64 }{{25, 10, 2}, {25, 25, 2}, {20, 25, 2}, {26, 25, 3}} {
		was, err := l.Advance(t.Context(), "detector.a", c.total)
		if err != nil || was != c.was {
			t.Errorf("advance to %d: was %d, %v", c.total, was, err)
		}
		if _, seq, err := l.Last(t.Context(), "detector.a"); err != nil || seq != c.seq {
			t.Errorf("after %d the last is %d, %v", c.total, seq, err)
		}
	}
	s := mustSource(t, l, "detector.a")
	if h := s.Last(); h.Total != 26 || string(h.Cursor) != "after 1" || h.Count != 0 {
		t.Errorf("the session begins at %+v", h)
	}
	put(t, s, "2", 4, []byte("x"))
	if h := s.Last(); h.Total != 30 {
		t.Errorf("and goes on to %+v", h)
	}
}
