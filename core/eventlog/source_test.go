package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestSourceGoesOnFromTheLogsCursor(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, small(dir))
	s := mustSource(t, l, "file.eve")
	if got := s.Last(); got.BatchID != "" || got.Total != 0 || got.Cursor != nil {
		t.Fatalf("last of an empty log = %+v", got)
	}
	put(t, s, "a", 3, []byte("payload a"))
	seq := put(t, s, "b", 2, []byte("payload b"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = mustOpen(t, small(dir))
	h, last, err := l.Last(t.Context(), "file.eve")
	if err != nil || last != seq {
		t.Fatalf("last = %d, %v, want %d", last, err, seq)
	}
	if h.BatchID != "b" || h.Total != 5 || h.Count != 2 || string(h.Cursor) != "after b" {
		t.Errorf("last header = %+v", h)
	}
	s = mustSource(t, l, "file.eve")
	if got := s.Last(); got.BatchID != "b" || got.Total != 5 {
		t.Errorf("session's last = %+v", got)
	}
	if got := put(t, s, "c", 1, nil); got != seq+1 {
		t.Errorf("seq = %d, want %d", got, seq+1)
	}
	if h, seq, err := l.Last(t.Context(), "other"); err != nil || seq != 0 || h.BatchID != "" {
		t.Errorf("last of an unknown instance = %+v, %d, %v", h, seq, err)
	}
}

func TestNewSessionFencesTheOld(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	old := mustSource(t, l, "edr")
	put(t, old, "1", 1, nil)
	other := mustSource(t, l, "other")
	fresh := mustSource(t, l, "edr")
	if _, err := old.Publish(t.Context(), following(old, "2", 1), nil); !errors.Is(err, ErrFenced) {
		t.Fatalf("old session: %v, want ErrFenced", err)
	}
	put(t, fresh, "2'", 1, nil)
	put(t, other, "1", 1, nil)
	if h, _, _ := l.Last(t.Context(), "edr"); h.BatchID != "2'" || h.Total != 2 {
		t.Errorf("last = %+v", h)
	}
}

// A session that this process knows nothing of, as of another machine, is
// fenced by the sequence of its subject.
func TestWriterOutsideFences(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	put(t, s, "1", 1, nil)
	outside := &writer{log: l, stream: events, subject: events + ".edr", adopt: true}
	outside.mu.Lock()
	_, err := outside.publish(t.Context(), frame{id: "theirs", total: 9, count: 8})
	outside.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Publish(t.Context(), following(s, "2", 1), nil); !errors.Is(err, ErrFenced) {
			t.Fatalf("publish after another writer: %v, want ErrFenced", err)
		}
	}
	if since, reason := l.Sick(); reason != nil {
		t.Errorf("fencing made the log sick: %v %v", since, reason)
	}
	if got := mustSource(t, l, "edr").Last(); got.BatchID != "theirs" || got.Total != 9 {
		t.Errorf("new session's last = %+v", got)
	}
}

func TestManySessionsWriteEachTotalOnce(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	var wg sync.WaitGroup
	var mu sync.Mutex
	written := map[uint64]int{}
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; n < 25; {
				s, err := l.Source(t.Context(), "contended")
				if errors.Is(err, ErrFenced) {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				for ; n < 25; n++ {
					h := following(s, fmt.Sprintf("%d-%d", worker, n), 1)
					if _, err = s.Publish(t.Context(), h, nil); err != nil {
						break
					}
					mu.Lock()
					written[h.Total]++
					mu.Unlock()
				}
				if err != nil && !errors.Is(err, ErrFenced) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for total := uint64(1); total <= 100; total++ {
		if written[total] != 1 {
			t.Errorf("total %d was acknowledged %d times", total, written[total])
		}
	}
	if h, _, err := l.Last(t.Context(), "contended"); err != nil || h.Total != 100 {
		t.Errorf("last total = %d, %v, want 100", h.Total, err)
	}
}

func TestRepeatOfTheLastBatchIsNotWritten(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	h := following(s, "1", 4)
	first, err := s.Publish(t.Context(), h, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Publish(t.Context(), h, nil)
	if err != nil || again != first {
		t.Errorf("repeat = %d, %v, want %d", again, err, first)
	}
	st, err := l.Stats(t.Context())
	if err != nil || st.Events.Messages != 1 {
		t.Errorf("messages = %d, %v, want 1", st.Events.Messages, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	put(t, s, "1", 1, nil)
	big := make([]byte, MaxPayload+1)
	for _, tt := range []struct {
		name    string
		header  Header
		payload []byte
		want    error
	}{
		{"payload beyond the limit", following(s, "2", 1), big, ErrTooLarge},
		{"cursor beyond the limit", Header{BatchID: "2", Cursor: big[:MaxCursor+1], Total: 2, Count: 1}, nil, ErrTooLarge},
		{"total that skips", Header{BatchID: "2", Total: 3, Count: 1}, nil, ErrFenced},
		{"total that falls", Header{BatchID: "2", Total: 1, Count: 1}, nil, ErrFenced},
		{"no id", Header{Total: 2, Count: 1}, nil, nil},
		{"negative count", Header{BatchID: "2", Total: 0, Count: -1}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Publish(t.Context(), tt.header, tt.payload)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
	put(t, s, "2", 1, nil)
}

func TestLargestMessageTravels(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	cursor := bytes.Repeat([]byte{0, '\r', '\n', 255}, MaxCursor/4)
	payload := bytes.Repeat([]byte("01234567"), (MaxPayload-MaxCursor)/8)
	h := Header{BatchID: "big", Cursor: cursor, Total: 1, Count: 1}
	if _, err := s.Publish(t.Context(), h, payload); err != nil {
		t.Fatal(err)
	}
	last, _, err := l.Last(t.Context(), "edr")
	if err != nil || !bytes.Equal(last.Cursor, cursor) {
		t.Errorf("cursor came back with %d bytes, %v", len(last.Cursor), err)
	}
	c, err := l.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Next(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Payload, payload) || !bytes.Equal(m.Cursor, cursor) {
		t.Errorf("payload came with %d bytes, cursor with %d", len(m.Payload), len(m.Cursor))
	}
	if err := m.Ack(); err != nil {
		t.Error(err)
	}
}

func TestFullEventsRefusesAndInputsGoesOn(t *testing.T) {
	set := small(t.TempDir())
	set.EventsBytes = 1 << 20
	l := mustOpen(t, set)
	s := mustSource(t, l, "edr")
	j := mustJoiner(t, l, "match")
	payload := make([]byte, 100<<10)
	var err error
	n := 0
	for ; err == nil; n++ {
		if n > 100 {
			t.Fatal("stream took more than its limit")
		}
		_, err = s.Publish(t.Context(), following(s, fmt.Sprint(n), 1), payload)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("full stream: %v, want ErrFull", err)
	}
	if n < 5 {
		t.Errorf("full after %d batches", n)
	}
	if _, err := j.Append(t.Context(), payload); err != nil {
		t.Errorf("inputs while events are full: %v", err)
	}
	if _, reason := l.Sick(); reason != nil {
		t.Errorf("a full stream made the log sick: %v", reason)
	}
	put(t, s, "small", 1, nil) // it still fits: nothing sticks
}

func TestPublishStopsAtTheReserve(t *testing.T) {
	set := small(t.TempDir())
	set.Reserve = 1 << 60
	l := mustOpen(t, set)
	s := mustSource(t, l, "edr")
	if _, err := s.Publish(t.Context(), following(s, "1", 1), nil); !errors.Is(err, ErrFull) {
		t.Errorf("publish below the reserve: %v, want ErrFull", err)
	}
	if err := l.Reject(t.Context(), "edr", Rejected{ID: "1", Count: 1}); !errors.Is(err, ErrFull) {
		t.Errorf("reject below the reserve: %v, want ErrFull", err)
	}
	if _, err := mustJoiner(t, l, "decide").Append(t.Context(), []byte("undo")); err != nil {
		t.Errorf("inputs below the reserve: %v", err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Publish(ctx, following(s, "1", 1), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	put(t, s, "1", 1, nil)
	if _, reason := l.Sick(); reason != nil {
		t.Errorf("a cancelled publish made the log sick: %v", reason)
	}
}
