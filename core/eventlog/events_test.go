package eventlog

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func mustEvents(t testing.TB, l *Log) *Consumer {
	t.Helper()
	c, err := l.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func mustNext(t testing.TB, c *Consumer) *Message {
	t.Helper()
	m, err := c.Next(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustAck(t testing.TB, m *Message) {
	t.Helper()
	if err := m.Ack(); err != nil {
		t.Fatal(err)
	}
}

func acked(t testing.TB, l *Log) uint64 {
	t.Helper()
	st, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.EventsAcked
}

func TestWorkersShareTheEvents(t *testing.T) {
	const batches = 300
	l := mustOpen(t, small(t.TempDir()))
	c := mustEvents(t, l)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]string{}
	all := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				m, err := c.Next(t.Context())
				if errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if _, twice := seen[m.Seq]; twice {
					t.Errorf("message %d came twice", m.Seq)
				}
				seen[m.Seq] = m.Instance + " " + m.BatchID + " " + string(m.Payload)
				if len(seen) == batches {
					close(all)
				}
				mu.Unlock()
				if err := m.Ack(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	a, b := mustSource(t, l, "file.a b"), mustSource(t, l, "håndværk")
	want := map[uint64]string{}
	for i := range batches / 2 {
		id := fmt.Sprint(i)
		want[put(t, a, id, 1, []byte("from a"))] = "file.a b " + id + " from a"
		want[put(t, b, id, 1, []byte("from b"))] = "håndværk " + id + " from b"
	}
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		t.Error("messages are missing")
	}
	until(t, "all is acknowledged", func() bool { return acked(t, l) == batches })
	c.Close()
	wg.Wait()
	for seq, what := range want {
		if seen[seq] != what {
			t.Errorf("message %d = %q, want %q", seq, seen[seq], what)
		}
	}
}

func TestAcknowledgedByItself(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	for i := range 3 {
		put(t, s, fmt.Sprint(i), 1, nil)
	}
	c := mustEvents(t, l)
	first, second, third := mustNext(t, c), mustNext(t, c), mustNext(t, c)
	mustAck(t, third)
	mustAck(t, second)
	mustAck(t, second) // once more does nothing
	until(t, "two are acknowledged", func() bool {
		st, err := l.Stats(t.Context())
		return err == nil && st.Waiting == 1
	})
	if got := acked(t, l); got != 0 {
		t.Errorf("low mark = %d before the first is acknowledged", got)
	}
	mustAck(t, first)
	until(t, "the low mark rises", func() bool { return acked(t, l) == 3 })
}

func TestNakComesAgainAtOnce(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	put(t, mustSource(t, l, "edr"), "1", 1, []byte("x"))
	c := mustEvents(t, l)
	m := mustNext(t, c)
	start := time.Now()
	if err := m.Nak(); err != nil {
		t.Fatal(err)
	}
	again := mustNext(t, c)
	if again.Seq != m.Seq || string(again.Payload) != "x" {
		t.Errorf("again = %d %q", again.Seq, again.Payload)
	}
	if took := time.Since(start); took > ackWait/2 {
		t.Errorf("it took %v", took)
	}
	if err := m.Ack(); err != nil { // the first delivery was answered
		t.Error(err)
	}
	mustAck(t, again)
}

func TestCloseHandsBackWhatIsInFlight(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, small(dir))
	s := mustSource(t, l, "edr")
	const n = 50
	for i := range n {
		put(t, s, fmt.Sprint(i), 1, nil)
	}
	c := mustEvents(t, l)
	done := mustNext(t, c)
	mustAck(t, done)
	mustNext(t, c)
	mustNext(t, c)
	c.Close()
	if _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	start := time.Now()
	drain := func(c *Consumer, want int) {
		t.Helper()
		seen := map[uint64]bool{done.Seq: true}
		for range want {
			m := mustNext(t, c)
			if seen[m.Seq] {
				t.Errorf("message %d came twice", m.Seq)
			}
			seen[m.Seq] = true
		}
	}
	again := mustEvents(t, l)
	drain(again, n-1)
	again.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = mustOpen(t, small(dir))
	drain(mustEvents(t, l), n-1)
	if took := time.Since(start); took > ackWait/2 {
		t.Errorf("it took %v: what was in flight was not handed back", took)
	}
}

func TestHeldMessageIsNotHandedOutAgain(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	put(t, mustSource(t, l, "edr"), "1", 1, nil)
	c := mustEvents(t, l)
	m := mustNext(t, c)
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As if AckWait had passed: the server delivers it again.
	if err := srv.ask.Publish(m.reply, []byte("-NAK")); err != nil {
		t.Fatal(err)
	}
	until(t, "it was delivered again", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return m.reply != "" && srv.redelivered(t) > 0
	})
	if m, err := c.Next(within(t, 400*time.Millisecond)); err == nil {
		t.Errorf("message %d was handed out while it was held", m.Seq)
	}
	mustAck(t, m)
	until(t, "it is acknowledged", func() bool { return acked(t, l) == 1 })
}

func (s *server) redelivered(t testing.TB) int {
	info, err := s.match.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.NumRedelivered
}

func TestInFlightIsBounded(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	s := mustSource(t, l, "edr")
	payload := make([]byte, 3<<20)
	for i := range 12 {
		put(t, s, fmt.Sprint(i), 1, payload)
	}
	c := mustEvents(t, l)
	var held []*Message
	for {
		m, err := c.Next(within(t, time.Second))
		if err != nil {
			break
		}
		held = append(held, m)
	}
	if n := len(held); n < 2 || n > inFlightBytes/len(payload) {
		t.Errorf("%d messages of %d bytes are in flight", n, len(payload))
	}
	for _, m := range held {
		mustAck(t, m)
	}
	for range 12 - len(held) {
		mustAck(t, mustNext(t, c))
	}
	until(t, "all is acknowledged", func() bool { return acked(t, l) == 12 })
}

func TestEventsSurviveAnUnreadableHeader(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.publish(t.Context(), events+".edr", 0, []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	m := mustNext(t, mustEvents(t, l))
	if m.Instance != "edr" || m.BatchID != "" || string(m.Payload) != "not ours" {
		t.Errorf("message = %+v", m)
	}
	mustAck(t, m)
}
