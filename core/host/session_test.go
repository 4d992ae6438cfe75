//go:build linux

package host

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func detector(t testing.TB, role, config string) (*Host, *Detector) {
	t.Helper()
	i := fakeInstance(model.Detector, "detector.eve", role, config)
	h := started(t, settings(t, quick(), i), quiet())
	d, err := h.Detector("detector.eve")
	if err != nil {
		t.Fatal(err)
	}
	return h, d
}

func open(t testing.TB, d *Detector, start SessionStart) *Session {
	t.Helper()
	s, err := d.Open(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// recvBatch passes over statuses.
func recvBatch(s *Session) (*SessionBatch, error) {
	for {
		m, err := s.Recv()
		if err != nil || m.Batch != nil {
			return m.Batch, err
		}
	}
}

func TestSessionBreaches(t *testing.T) {
	for _, c := range []struct{ do, want string }{
		{"gap", `plugin "fake" sent batch 2 after batch 0`},
		{"no credit", `plugin "fake" sent batch 1 without credit for it`},
		{"too many", `plugin "fake" sent a batch of 600 events, more than 512`},
		{"misname", `plugin "fake" answered for another instance, "detector.other"`},
	} {
		t.Run(c.do, func(t *testing.T) {
			_, d := detector(t, "well", c.do)
			s := open(t, d, SessionStart{})
			if c.do != "no credit" {
				if err := s.Credit(1); err != nil {
					t.Fatal(err)
				}
			}
			_, err := recvBatch(s)
			checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, c.want)
			_, again := recvBatch(s)
			checkError(t, again, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, c.want)
		})
	}
}

// A plugin that sends on and on without credit is cut off at the first batch that it
// had none for, and named; until somebody reads, it fills no more than the stream's
// window (4 MiB) and what is on its way to it.
func TestSessionFlood(t *testing.T) {
	const credit = 3
	_, d := detector(t, "well", "flood")
	s := open(t, d, SessionStart{})
	if err := s.Credit(credit); err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for n := range int64(credit) {
		b, err := recvBatch(s)
		if err != nil || b.Number != n+1 {
			t.Fatalf("batch %d with credit for it: %v, %v", n+1, b, err)
		}
	}
	most := int64(0)
	for range 20 { // nobody reads meanwhile
		time.Sleep(10 * time.Millisecond)
		most = max(most, heap()-before)
	}
	if bound := int64(32 << 20); most > bound {
		t.Errorf("a flood that nobody reads takes %d bytes, more than %d", most, bound)
	}
	_, err := recvBatch(s)
	checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, `plugin "fake" sent batch 4 without credit for it`)
	_, again := recvBatch(s)
	checkError(t, again, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, `plugin "fake" sent batch 4 without credit for it`)
	if after := heap() - before; after > 8<<20 {
		t.Errorf("after it is cut off a flood still takes %d bytes", after)
	}
}

// A bad event is set aside by itself, whole.
func TestSessionKeepsBadEvents(t *testing.T) {
	_, d := detector(t, "well", "bad events")
	s := open(t, d, SessionStart{MaxBytes: 4 << 20})
	if err := s.Credit(1); err != nil {
		t.Fatal(err)
	}
	b, err := recvBatch(s)
	if err != nil {
		t.Fatal(err)
	}
	type brief struct {
		ID, Problem string
		Raw, Whole  int
	}
	var got []brief
	for _, e := range b.Events {
		one := brief{ID: e.ID, Problem: e.Problem, Raw: len(e.Raw)}
		if e.Oversize != nil {
			one.Whole = int(e.Oversize.Length)
		}
		got = append(got, one)
	}
	want := []brief{
		{ID: `"id\xff"`, Problem: "the plugin sent an event whose id is not valid UTF-8", Raw: 3},
		{ID: "1", Raw: 2},
		{ID: "3", Problem: "the plugin sent an event that has 1048577 bytes, more than 1048576", Raw: sdk.OversizeHead, Whole: sdk.MaxEvent + 1},
		{Problem: "the plugin sent an event that has no id"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if string(b.Events[0].Raw) != "\x00\xff{" {
		t.Errorf("payload %q", b.Events[0].Raw)
	}
}

func TestSessionEndsInGoodOrder(t *testing.T) {
	_, d := detector(t, "well", "well")
	s := open(t, d, SessionStart{})
	s.Credit(5)
	b, err := recvBatch(s)
	if err != nil || b.Number != 1 || string(b.Cursor) != "\x01" || b.Bytes != 2 {
		t.Fatalf("batch %+v, %v", b, err)
	}
	if err := s.Ack(1); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := recvBatch(s); err != io.EOF {
		t.Errorf("after stop: %v, want io.EOF", err)
	}
	eventually(t, 5*time.Second, "sending fails", func() bool { return s.Ack(1) != nil })
	s.Close()
	s.Close()
}

func TestSessionOfAPluginThatCrashes(t *testing.T) {
	h, d := detector(t, "well", "crash")
	s := open(t, d, SessionStart{})
	s.Credit(5)
	if _, err := recvBatch(s); err != nil {
		t.Fatal(err)
	}
	s.Ack(1)
	_, err := recvBatch(s)
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, "ended during the call: exit status 2")
	// The next session is with the next process.
	next := open(t, d, SessionStart{Cursor: []byte{1}})
	next.Credit(1)
	if _, err := recvBatch(next); err != nil {
		t.Errorf("the next session: %v", err)
	}
	if n := h.Status()[0].Restarts; n != 1 {
		t.Errorf("%d restarts", n)
	}
}

func TestSessionIsCutWithItsContext(t *testing.T) {
	_, d := detector(t, "well", "well")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := d.Open(ctx, SessionStart{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel()
	if _, err := recvBatch(s); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want it to be cancelled", err)
	}
	if _, err := d.Open(ctx, SessionStart{}); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v, want it to be cancelled", err)
	}
}

// A detector made with the SDK: every event once, in order, over a crash and on.
func TestSessionWithTheSDK(t *testing.T) {
	h, d := detector(t, "sdk", `{"count": 5000, "size": 200, "token": "`+token+`"}`)
	seen, cursor := 0, []byte(nil)
	read := func(s *Session, most int) (ended bool) {
		s.Credit(4)
		for seen < most {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.Status != nil {
				if m.Status.State == SessionEnded {
					return true
				}
				continue
			}
			for _, e := range m.Batch.Events {
				if seen++; e.ID != strconv.Itoa(seen) || !e.Time.Equal(time.Unix(int64(seen), 0)) || len(e.Raw) != 200 || e.Problem != "" {
					t.Fatalf("event %d is %+v", seen, e)
				}
			}
			cursor = append(cursor[:0], m.Batch.Cursor...)
			if err := s.Ack(m.Batch.Number); err != nil {
				t.Fatal(err)
			}
			s.Credit(1)
		}
		return false
	}
	first := open(t, d, SessionStart{Once: true})
	read(first, 1000)
	first.Close()
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "restarted", func() bool { s := h.Status()[0]; return s.Restarts == 1 && s.State == Running })
	second := open(t, d, SessionStart{Cursor: cursor, Once: true})
	if !read(second, 1<<30) || seen != 5000 {
		t.Errorf("%d events, want 5000 and then the end", seen)
	}
	second.Stop()
	if _, err := recvBatch(second); err != io.EOF {
		t.Errorf("after stop: %v", err)
	}
	if got := h.Status()[0]; got.Version != "2.0.0" || strings.Contains(got.LastError, token) {
		t.Errorf("status %+v", got)
	}
}

// BenchmarkSession is the way of events from a plugin's Send to a model.Event.
func BenchmarkSession(b *testing.B) {
	const size = 1000
	_, d := detector(b, "sdk", `{"count": `+strconv.Itoa(b.N)+`, "size": `+strconv.Itoa(size)+`}`)
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	s := open(b, d, SessionStart{Once: true})
	s.Credit(8)
	events := 0
	for events < b.N {
		batch, err := recvBatch(s)
		if err != nil {
			b.Fatal(err)
		}
		events += len(batch.Events)
		s.Ack(batch.Number)
		s.Credit(1)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
