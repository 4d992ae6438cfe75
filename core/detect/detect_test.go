package detect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const eve = "detector.eve"

// entry is a message of the log.
type entry struct {
	header eventlog.Header
	batch  model.Batch
	size   int
}

// memoryLog keeps to the contract of eventlog.Source. publish, if it is set, comes
// before a message is written, and written tells whether it is all the same.
type memoryLog struct {
	mu      sync.Mutex
	entries []entry
	session int
	publish func(h eventlog.Header) (written bool, err error)
}

func (l *memoryLog) last() eventlog.Header {
	if len(l.entries) == 0 {
		return eventlog.Header{}
	}
	return l.entries[len(l.entries)-1].header
}

func (l *memoryLog) Begin(context.Context, string) (Writer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session++
	return &memoryWriter{l, l.session, l.last()}, nil
}

type memoryWriter struct {
	log     *memoryLog
	session int
	begun   eventlog.Header
}

func (w *memoryWriter) Last() eventlog.Header { return w.begun }

func (w *memoryWriter) Publish(_ context.Context, h eventlog.Header, payload []byte) (uint64, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.session != w.session:
		return 0, eventlog.ErrFenced
	case len(h.Cursor)+len(payload) > eventlog.MaxPayload, len(h.Cursor) > eventlog.MaxCursor:
		return 0, eventlog.ErrTooLarge
	case len(h.BatchID) > 256:
		return 0, errors.New("the batch id is too long")
	case h.BatchID == l.last().BatchID:
		return uint64(len(l.entries)), nil
	case h.Total != l.last().Total+uint64(h.Count):
		return 0, fmt.Errorf("total %d after %d: %w", h.Total, l.last().Total, eventlog.ErrFenced)
	}
	written, err := true, error(nil)
	if l.publish != nil {
		written, err = l.publish(h)
	}
	if written {
		b, decodeErr := model.DecodeBatch(bytes.Clone(payload))
		if decodeErr != nil || len(b.Events) != h.Count || b.Source != eve {
			return 0, fmt.Errorf("payload of %d events for %d: %w", len(b.Events), h.Count, errors.Join(decodeErr))
		}
		h.Cursor = bytes.Clone(h.Cursor)
		l.entries = append(l.entries, entry{h, b, len(payload)})
	}
	return uint64(len(l.entries)), err
}

// ids of all events in the log.
func (l *memoryLog) ids() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		for _, ev := range e.batch.Events {
			all = append(all, ev.ID)
		}
	}
	return all
}

// script is a plugin that sends what it is told to, session by session, the last one
// again and again.
type script struct {
	mu       sync.Mutex
	sessions [][]any // Message, error, or func()
	cursors  []string
	acked    []int64
	credit   int
	open     func() error
	stopped  int
	deaf     bool // it does not end when it is told to stop
}

func (p *script) Open(ctx context.Context, _ Instance, cursor []byte, _ bool) (Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		if err := p.open(); err != nil {
			return nil, err
		}
	}
	p.cursors = append(p.cursors, string(cursor))
	p.credit = 0
	n := min(len(p.cursors), len(p.sessions)) - 1
	return &scriptSession{ctx: ctx, p: p, rest: p.sessions[n], stop: make(chan struct{})}, nil
}

type scriptSession struct {
	ctx  context.Context
	p    *script
	rest []any
	stop chan struct{}
	once sync.Once
}

func (s *scriptSession) Recv() (Message, error) {
	if len(s.rest) == 0 {
		select {
		case <-s.stop:
			return Message{}, io.EOF
		case <-s.ctx.Done():
			return Message{}, s.ctx.Err()
		}
	}
	next := s.rest[0]
	s.rest = s.rest[1:]
	switch v := next.(type) {
	case error:
		return Message{}, v
	case Status:
		return Message{Status: &v}, nil
	case Batch:
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		if s.p.credit--; s.p.credit < 0 {
			return Message{}, errors.New("no credit")
		}
		return Message{Batch: &v}, nil
	}
	panic("not in a script")
}

func (s *scriptSession) Credit(n int) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.credit += n
	return nil
}

func (s *scriptSession) Ack(n int64) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.acked = append(s.p.acked, n)
	return nil
}

func (s *scriptSession) Close() {}

// Stop ends the session when the script is at its end, unless the plugin is deaf.
func (s *scriptSession) Stop() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.stopped++
	if !s.p.deaf {
		s.once.Do(func() { close(s.stop) })
	}
	return nil
}

// acks so far.
func (p *script) acks() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.acked)
}

func batch(number int64, cursor string, ids ...string) Batch {
	b := Batch{Number: number, Cursor: []byte(cursor)}
	for _, id := range ids {
		b.Events = append(b.Events, model.Event{ID: id, Raw: []byte(`{"id":"` + id + `"}`)})
	}
	return b
}

var ended = Status{Ended: true}

type rig struct {
	*Detector
	cancel context.CancelFunc
	ended  chan struct{}
}

func begin(t testing.TB, l *memoryLog, p *script, s Settings) *rig {
	s.Instances = []Instance{{Address: eve, Finite: true}}
	g := &rig{ended: make(chan struct{}), Detector: &Detector{
		Settings: s, Plugins: p, Log: l, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.ended)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return g
}

func (g *rig) stop() {
	g.cancel()
	<-g.ended
}

// TestOnce reads a source to its end and goes on there the next time.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLog{}
		p := &script{sessions: [][]any{
			{Status{Behind: 3, BehindUnit: "events"}, batch(1, "c1", "a", "b"), batch(2, "c2", "c"), batch(3, "c2"), batch(4, "c3"), ended},
			{batch(1, "c4", "d"), ended},
			{batch(1, "c1", "a", "b"), ended},
		}}
		<-begin(t, l, p, Settings{Once: true}).ended
		g := begin(t, l, p, Settings{Once: true})
		<-g.ended
		if diff := cmp.Diff([]string{"a", "b", "c", "d"}, l.ids()); diff != "" {
			t.Error(diff)
		}
		if r := g.Reports()[0]; r.State != Ended || r.Total != 4 {
			t.Errorf("report %+v", r)
		}
		<-begin(t, l, p, Settings{Once: true, Rewind: true}).ended
		if diff := cmp.Diff([]string{"", "c3", ""}, p.cursors); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int64{1, 2, 3, 4, 1, 1}, p.acked); diff != "" {
			t.Error(diff)
		}
		// A cursor that moves on is kept without events; one that does not, is not.
		if n := len(l.entries); n != 5 || l.entries[2].header.Count != 0 || l.last().Total != 6 {
			t.Errorf("%d entries, %+v", n, l.last())
		}
	})
}

// TestSessionsEndForGoodReasons, and the next one starts from the log's cursor.
func TestSessionsEndForGoodReasons(t *testing.T) {
	long := batch(2, "c2")
	for i := range model.MaxBatchEvents + 1 {
		long.Events = append(long.Events, model.Event{ID: fmt.Sprint(i)})
	}
	for name, c := range map[string]struct {
		second any
		reason string
	}{
		"the stream fails":       {errors.New("plugin \"file\" crashed"), `plugin "file" crashed`},
		"the plugin ends it":     {io.EOF, "the plugin ended the session"},
		"a number left out":      {batch(3, "c3", "x"), "the plugin sent batch 3 after 1"},
		"a number twice":         {batch(1, "c1", "x"), "the plugin sent batch 1 after 1"},
		"too many events":        {long, "the plugin sent 513 events in a batch; at most 512 are allowed"},
		"a cursor without bound": {batch(2, strings.Repeat("c", eventlog.MaxCursor+1), "x"), "the plugin sent a cursor of 262145 bytes; at most 262144 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &memoryLog{}
				p := &script{sessions: [][]any{{batch(1, "c1", "a"), c.second}, {batch(1, "c2", "b")}}}
				g := begin(t, l, p, Settings{})
				synctest.Wait()
				if r := g.Reports()[0]; r.State != Troubled || r.Message != c.reason || r.Total != 1 {
					t.Errorf("report %+v", r)
				}
				time.Sleep(firstRetry)
				synctest.Wait()
				if r := g.Reports()[0]; r.State != Running || r.Message != "" || r.Total != 2 {
					t.Errorf("report %+v", r)
				}
				g.stop()
				if r := g.Reports()[0]; r.State != Stopped {
					t.Errorf("report %+v", r)
				}
				if diff := cmp.Diff([]string{"", "c1"}, p.cursors); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]string{"a", "b"}, l.ids()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestUnreadableSource: with Once it is given up, otherwise it is tried for ever, more
// and more slowly.
func TestUnreadableSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := &script{open: func() error { tries++; return errors.New("no such file") }}
		g := begin(t, &memoryLog{}, p, Settings{Once: true})
		<-g.ended
		if r := g.Reports()[0]; tries != giveUp || r.State != Troubled || r.Message != "no such file" {
			t.Errorf("%d tries, report %+v", tries, r)
		}
		tries = 0
		g = begin(t, &memoryLog{}, p, Settings{})
		time.Sleep(time.Hour)
		g.stop()
		if tries < 120 || tries > 250 {
			t.Errorf("%d tries in an hour", tries)
		}
	})
}

// TestFullLog: the batch waits, once only gets in, and the plugin is not acknowledged
// before.
func TestFullLog(t *testing.T) {
	for _, reason := range []error{eventlog.ErrFull, eventlog.ErrSick} {
		for _, written := range []bool{false, true} {
			if written && reason == eventlog.ErrFull {
				continue
			}
			t.Run(fmt.Sprint(reason, written), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					until := time.Now().Add(time.Hour)
					l := &memoryLog{publish: func(eventlog.Header) (bool, error) {
						if time.Now().Before(until) {
							return written, fmt.Errorf("events: %w", reason)
						}
						return true, nil
					}}
					p := &script{sessions: [][]any{{batch(1, "c1", "a"), batch(2, "c2", "b")}}}
					g := begin(t, l, p, Settings{})
					synctest.Wait()
					if r := g.Reports()[0]; r.State != NoRoom || !strings.Contains(r.Message, reason.Error()) || len(p.acks()) > 0 {
						t.Errorf("report %+v, acknowledged %v", r, p.acks())
					}
					time.Sleep(2 * time.Hour)
					synctest.Wait()
					if r := g.Reports()[0]; r.State != Running || r.Message != "" {
						t.Errorf("report %+v", r)
					}
					g.stop()
					if diff := cmp.Diff([]string{"a", "b"}, l.ids()); diff != "" {
						t.Error(diff)
					}
					if len(p.cursors) != 1 || len(p.acks()) != 2 {
						t.Errorf("%d sessions, acknowledged %v", len(p.cursors), p.acked)
					}
				})
			})
		}
	}
}

func TestStopWhileTheLogIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLog{publish: func(eventlog.Header) (bool, error) { return false, eventlog.ErrFull }}
		p := &script{sessions: [][]any{{batch(1, "c1", "a")}}}
		g := begin(t, l, p, Settings{})
		time.Sleep(time.Minute)
		began := time.Now()
		g.stop()
		if took := time.Since(began); took > time.Second || len(p.acks()) > 0 {
			t.Errorf("it took %v, acknowledged %v", took, p.acked)
		}
	})
}

// TestFenced: another session took over, as after a stop that took too long.
func TestFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLog{}
		l.publish = func(eventlog.Header) (bool, error) {
			l.publish = nil
			return false, eventlog.ErrFenced
		}
		p := &script{sessions: [][]any{{batch(1, "c1", "a")}, {batch(1, "c1", "a")}}}
		g := begin(t, l, p, Settings{})
		time.Sleep(time.Minute)
		g.stop()
		if len(p.cursors) != 2 || len(p.acks()) != 1 || len(l.ids()) != 1 {
			t.Errorf("%d sessions, acknowledged %v, %v", len(p.cursors), p.acked, l.ids())
		}
	})
}

// TestLargeBatch: one that takes more than a message may goes in parts, and an event
// that does so alone is set aside.
func TestLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batch(1, "c1")
		for i := range model.MaxBatchEvents {
			e := model.Event{ID: fmt.Sprint(i), Raw: []byte("{}")}
			for n := range 100 {
				e.Observables = append(e.Observables, sdk.Observable{Kind: sdk.URL, Value: fmt.Sprintf("https://%0300d.example/", n)})
			}
			b.Events = append(b.Events, e)
		}
		monster := model.Event{ID: strings.Repeat("m", 9<<20), Raw: []byte(`{"a":1}`), Oversize: &sdk.Oversize{Place: strings.Repeat("p", 1<<20)}}
		b.Events[100] = monster
		l := &memoryLog{}
		p := &script{sessions: [][]any{{batch(1, "c0", "first"), func() Batch { b.Number = 2; return b }(), batch(3, "c2", "last"), ended}}}
		g := begin(t, l, p, Settings{Once: true})
		<-g.ended
		ids := l.ids()
		if len(ids) != model.MaxBatchEvents+2 || ids[0] != "first" || ids[1] != "0" || ids[512] != "511" || ids[513] != "last" {
			t.Fatalf("%d ids", len(ids))
		}
		problems := 0
		for i, e := range l.entries {
			if want := i == 0 || i >= len(l.entries)-2; want != (string(e.header.Cursor) != "c0" || i == 0) {
				t.Errorf("entry %d of %d has cursor %q", i, len(l.entries), e.header.Cursor)
			}
			for _, ev := range e.batch.Events {
				if ev.Problem != "" {
					problems++
					if !strings.Contains(ev.Problem, "more than the log takes in one message") || len(ev.ID) > 5<<10 || string(ev.Raw) != `{"a":1}` {
						t.Errorf("%.100s: %s", ev.ID, ev.Problem)
					}
				}
			}
		}
		if problems != 1 || len(l.entries) < 5 || l.last().Total != 514 {
			t.Errorf("%d problems in %d entries, total %d", problems, len(l.entries), l.last().Total)
		}
		if diff := cmp.Diff([]int64{1, 2, 3}, p.acked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTidy(t *testing.T) {
	big := bytes.Repeat([]byte("x"), sdk.MaxEvent+1)
	events := []model.Event{{Raw: []byte("a")}, {Raw: []byte("a"), Problem: "not JSON"}, {ID: "big", Raw: big}, {ID: "fits", Raw: big[1:]}}
	tidy(events)
	if e := events[0]; e.ID != "none:"+model.RevisionOf([]byte("a")) || e.Problem != "no id" {
		t.Errorf("%+v", e)
	}
	if e := events[1]; e.ID == "" || e.Problem != "not JSON" {
		t.Errorf("%+v", e)
	}
	if e := events[2]; len(e.Raw) != sdk.OversizeHead || e.Oversize == nil || e.Oversize.Length != sdk.MaxEvent+1 {
		t.Errorf("%d bytes, %+v", len(e.Raw), e.Oversize)
	}
	if e := events[3]; len(e.Raw) != sdk.MaxEvent || e.Oversize != nil {
		t.Errorf("%d bytes, %+v", len(e.Raw), e.Oversize)
	}
}
