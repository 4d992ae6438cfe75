package eventlog

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func ackAll(t *testing.T, l *Log, n int) {
	t.Helper()
	c := mustEvents(t, l)
	defer c.Close()
	for range n {
		mustAck(t, mustNext(t, c))
	}
	until(t, "all is acknowledged", func() bool {
		st, err := l.Stats(t.Context())
		return err == nil && st.Waiting == 0
	})
}

func TestTrimRemovesOnlyWhatNobodyNeeds(t *testing.T) {
	everything := Positions{Events: 1 << 40, Inputs: 1 << 40}
	for _, tt := range []struct {
		name string
		keep time.Duration
		ack  int
		done Positions
		want Trimmed
	}{
		{"young", time.Hour, 10, everything, Trimmed{}},
		{"nothing done", time.Nanosecond, 10, Positions{}, Trimmed{}},
		{"half done", time.Nanosecond, 10, Positions{5, 4}, Trimmed{5, 4}},
		{"not acknowledged", time.Nanosecond, 3, everything, Trimmed{3, 9}},
		{"all done", time.Nanosecond, 10, everything, Trimmed{9, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := small(t.TempDir())
			set.Keep = tt.keep
			l := mustOpen(t, set)
			s := mustSource(t, l, "edr")
			for i := range 10 {
				put(t, s, fmt.Sprint(i), 1, nil)
			}
			appendN(t, mustJoiner(t, l, "match"), 10)
			c := mustEvents(t, l)
			for range tt.ack {
				mustAck(t, mustNext(t, c))
			}
			until(t, "it is acknowledged", func() bool { return acked(t, l) == uint64(tt.ack) })
			got, err := l.Trim(t.Context(), tt.done)
			if err != nil || got != tt.want {
				t.Fatalf("trimmed %+v, %v, want %+v", got, err, tt.want)
			}
			st, err := l.Stats(t.Context())
			if err != nil || st.Events.First != got.Events+1 || st.Inputs.First != got.Inputs+1 ||
				st.Events.Last < 10 || st.Inputs.Last != 10 {
				t.Errorf("streams are %+v and %+v, %v", st.Events, st.Inputs, err)
			}
			put(t, s, "next", 1, nil)
		})
	}
}

func TestTrimKeepsAQuietDetectorsCursor(t *testing.T) {
	set := small(t.TempDir())
	set.Keep = time.Nanosecond
	l := mustOpen(t, set)
	live := mustSource(t, l, "quiet, with a session")
	put(t, live, "q1", 7, []byte("x"))
	gone := mustSource(t, l, "quiet, without a session")
	put(t, gone, "g1", 3, []byte("x"))
	delete(l.sources, "quiet, without a session")
	busy := mustSource(t, l, "busy")
	for i := range 5 {
		put(t, busy, fmt.Sprint(i), 1, nil)
	}
	ackAll(t, l, 7)

	got, err := l.Trim(t.Context(), Positions{Events: 6})
	if err != nil || got.Events != 6 {
		t.Fatalf("trimmed %+v, %v", got, err)
	}
	for name, want := range map[string]Header{
		"quiet, with a session":    {BatchID: "q1", Cursor: []byte("after q1"), Total: 7},
		"quiet, without a session": {BatchID: "g1", Cursor: []byte("after g1"), Total: 3},
	} {
		h, seq, err := l.Last(t.Context(), name)
		if err != nil || seq < 8 || h.BatchID != want.BatchID || h.Total != want.Total || h.Count != 0 || string(h.Cursor) != string(want.Cursor) {
			t.Errorf("%s: last = %+v at %d, %v, want %+v", name, h, seq, err, want)
		}
	}
	// The session goes on as if nothing had happened, and match sees no event
	// twice.
	put(t, live, "q2", 1, nil)
	c := mustEvents(t, l)
	counts := 0
	for range 3 {
		m := mustNext(t, c)
		counts += m.Count
		mustAck(t, m)
	}
	if counts != 1 {
		t.Errorf("%d events came, want 1", counts)
	}
}

func TestTrimMakesRoomWhenFull(t *testing.T) {
	set := small(t.TempDir())
	set.EventsBytes = 1 << 20
	l := mustOpen(t, set)
	put(t, mustSource(t, l, "quiet"), "q", 1, make([]byte, 10<<10))
	s := mustSource(t, l, "busy")
	n := 1
	for ; ; n++ {
		_, err := s.Publish(t.Context(), following(s, fmt.Sprint(n), 1), make([]byte, 10<<10))
		if errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// Up to the last byte, so that not even a cursor can be carried on.
	for i := 0; ; i++ {
		if _, err := s.Publish(t.Context(), following(s, fmt.Sprint("fill", i), 1), nil); err != nil {
			break
		}
		n++
	}
	ackAll(t, l, n)
	got, err := l.Trim(t.Context(), Positions{Events: 1 << 40})
	if err != nil || got.Events == 0 || got.Events > uint64(n)/2 {
		t.Fatalf("trimmed %+v of %d, %v", got, n, err)
	}
	put(t, s, "goes on", 1, make([]byte, 10<<10))
	if h, _, err := l.Last(t.Context(), "quiet"); err != nil || h.BatchID != "q" || h.Total != 1 {
		t.Errorf("quiet detector's last = %+v, %v", h, err)
	}
	if st, err := l.Stats(t.Context()); err != nil || st.Events.MaxBytes != 1<<20 {
		t.Errorf("limit is %d, %v", st.Events.MaxBytes, err)
	}
}

func TestTrimByAge(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	for i := range 25 {
		put(t, s, fmt.Sprint(i), 1, nil)
	}
	ackAll(t, l, 25)
	young, err := l.GetEvent(t.Context(), 21)
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return young.Time.Add(l.set.Keep) }
	if got, err := l.Trim(t.Context(), Positions{Events: 25}); err != nil || got.Events != 20 {
		t.Errorf("trimmed %+v, %v, want 20", got, err)
	}
}
