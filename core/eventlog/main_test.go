package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
)

// childEnv makes the test binary publish instead of testing: see kill_test.go.
const childEnv = "EVENTLOG_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := publishForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// small are settings for tests: little room, no reserve to speak of.
func small(dir string) Settings {
	return Settings{
		Dir: dir, Sync: SyncInterval, SyncInterval: time.Minute,
		EventsBytes: 256 << 20, InputsBytes: 256 << 20, RejectedBytes: 64 << 20,
		Reserve: 1,
	}
}

func mustOpen(t testing.TB, set Settings) *Log {
	t.Helper()
	return mustOpenDial(t, set, dialInProcess)
}

func mustOpenDial(t testing.TB, set Settings, dial dialer) *Log {
	t.Helper()
	if set.Logger == nil && testing.Verbose() {
		set.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	l, err := open(t.Context(), set, dial)
	if err != nil {
		t.Fatal(err)
	}
	// The machine that tests may be busy; what a test wants to be quick it sets.
	l.timeout = 20 * time.Second
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustSource(t testing.TB, l *Log, instance string) *Source {
	t.Helper()
	s, err := l.Source(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put publishes a batch of count events that follows the source's last one.
func put(t testing.TB, s *Source, id string, count int, payload []byte) uint64 {
	t.Helper()
	seq, err := s.Publish(t.Context(), following(s, id, count), payload)
	if err != nil {
		t.Fatalf("publish %s: %v", id, err)
	}
	return seq
}

func following(s *Source, id string, count int) Header {
	return Header{BatchID: id, Cursor: []byte("after " + id), Total: s.Last().Total + uint64(count), Count: count}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// fault is a transport of the publishing connection that can lose everything in
// one direction.
type fault struct {
	loseAnswers, loseRequests atomic.Bool
}

func (f *fault) dial(ns *natsserver.Server, name string) (net.Conn, error) {
	c, err := ns.InProcessConn()
	if err != nil || name != "publish" {
		return c, err
	}
	return &faultyConn{c, f}, nil
}

type faultyConn struct {
	net.Conn
	f *fault
}

func (c *faultyConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.f.loseAnswers.Load() {
			return n, err
		}
	}
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if c.f.loseRequests.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
