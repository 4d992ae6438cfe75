package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// outlet records what a session sends.
type outlet struct {
	mu       sync.Mutex
	batches  []*pluginv1.Batch
	at       []time.Time
	statuses []*pluginv1.DetectorStatus
}

func (o *outlet) send(m *pluginv1.DetectResponse) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := m.GetBatch(); b != nil {
		o.batches = append(o.batches, b)
		o.at = append(o.at, time.Now())
	} else {
		o.statuses = append(o.statuses, m.GetStatus())
	}
	return nil
}

func (o *outlet) seen() []*pluginv1.Batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.batches)
}

func (o *outlet) said() []*pluginv1.DetectorStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.statuses)
}

// sentAt is when a batch was sent, by its index.
func (o *outlet) sentAt(n int) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at[n]
}

// pumped runs a session's pump until the end of the test.
func pumped(t testing.TB, s *session) *outlet {
	o := &outlet{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.pump(ctx, nil, o.send) }()
	t.Cleanup(func() { cancel(); <-done })
	return o
}

func numbered(from, n int) []Event {
	events := make([]Event, n)
	for i := range events {
		events[i] = Event{ID: fmt.Sprint(from + i), Raw: []byte(`{}`)}
	}
	return events
}

func TestSessionJoinsForTwoMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(nil, 0, 0, &secrets{})
		s.grant(10)
		out := pumped(t, s)
		begin := time.Now()
		var receipts []Receipt
		for i := range 3 {
			r, err := s.Send(t.Context(), numbered(i, 1), []byte(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
			time.Sleep(600 * time.Microsecond)
		}
		time.Sleep(time.Second)
		got := out.seen()
		if len(got) != 1 || len(got[0].GetEvents()) != 3 || string(got[0].GetCursor()) != "2" {
			t.Fatalf("batches %v, want one of three events", got)
		}
		if waited := out.sentAt(0).Sub(begin); waited != JoinDelay {
			t.Errorf("it went out after %v, want %v", waited, JoinDelay)
		}
		if err := s.acknowledge(1); err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			if err := r.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSessionSendsFullBatchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession([]byte("start"), 0, 0, &secrets{})
		s.grant(10)
		out := pumped(t, s)
		begin := time.Now()
		if _, err := s.Send(t.Context(), numbered(0, 1300), []byte("end")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now := time.Since(begin); now != 0 {
			t.Errorf("%v passed", now)
		}
		time.Sleep(JoinDelay)
		synctest.Wait()
		var shape []string
		for _, b := range out.seen() {
			shape = append(shape, fmt.Sprintf("%d:%d:%s", b.GetNumber(), len(b.GetEvents()), b.GetCursor()))
		}
		if got, want := strings.Join(shape, " "), "1:512:start 2:512:start 3:276:end"; got != want {
			t.Errorf("batches %s, want %s", got, want)
		}
	})
}

func TestSessionBatchesAreBoundedInBytes(t *testing.T) {
	s := newSession(nil, 0, 0, &secrets{})
	s.grant(100)
	out := pumped(t, s)
	var events []Event
	for i, size := range []int{400 << 10, 400 << 10, 400 << 10, MaxEvent, 10, MaxEvent + 1, 5 << 20} {
		events = append(events, Event{ID: fmt.Sprint(i), Raw: bytes.Repeat([]byte{'x'}, size)})
	}
	if _, err := s.Send(t.Context(), events, []byte("c")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { b := out.seen(); return len(b) > 0 && string(b[len(b)-1].GetCursor()) == "c" })
	var shape []string
	for _, b := range out.seen() {
		var ids []string
		for _, e := range b.GetEvents() {
			ids = append(ids, e.GetId())
		}
		shape = append(shape, strings.Join(ids, ","))
	}
	if got, want := strings.Join(shape, " "), "0,1 2 3 4,5,6"; got != want {
		t.Errorf("batches %s, want %s", got, want)
	}
	last := out.seen()[3].GetEvents()[2]
	if over := last.GetOversize(); over.GetLength() != 5<<20 || over.GetPlace() != "6" || len(over.GetSha256()) != 32 || len(last.GetRaw()) != OversizeHead {
		t.Errorf("an event of 5 MiB: %d bytes of %v", len(last.GetRaw()), over)
	}
}

// Whatever is sent, granted and acknowledged, and when: the batches never exceed the
// credit, have no gap, hold the events in order and within the bounds, their cursors
// never claim an event that they do not hold, and a receipt is done when and only when
// its events are acknowledged.
func TestSessionProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		maxEvents := rapid.IntRange(1, 6).Draw(rt, "max events")
		maxBytes := rapid.IntRange(100, 2000).Draw(rt, "max bytes")
		sizes := rapid.SliceOfN(rapid.IntRange(0, 15), 1, 12).Draw(rt, "sends")
		raws := rapid.SliceOfN(rapid.IntRange(0, 900), 1, 8).Draw(rt, "raw sizes")
		credits := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 8).Draw(rt, "credits")

		s := newSession([]byte("0"), maxEvents, maxBytes, &secrets{})
		var granted int64
		var mu sync.Mutex
		var batches []*pluginv1.Batch
		var problem string
		fail := func(format string, args ...any) {
			if problem == "" {
				problem = fmt.Sprintf(format, args...)
			}
		}
		send := func(m *pluginv1.DetectResponse) error {
			b := m.GetBatch()
			if b == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, b)
			if int64(len(batches)) > granted {
				fail("batch %d with a credit of %d", len(batches), granted)
			}
			if b.GetNumber() != int64(len(batches)) {
				fail("batch %d is numbered %d", len(batches), b.GetNumber())
			}
			if n := len(b.GetEvents()); n > maxEvents || n > 1 && proto.Size(b) > maxBytes {
				fail("%d events with %d bytes in a batch of %d and %d", n, proto.Size(b), maxEvents, maxBytes)
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		pumpDone := make(chan struct{})
		go func() { defer close(pumpDone); _ = s.pump(ctx, nil, send) }()

		// The sender: the cursor after a Send is the number of events so far.
		type sent struct {
			receipt Receipt
			events  int
		}
		var receipts []sent
		senderDone := make(chan error, 1)
		go func() {
			total := 0
			for _, n := range sizes {
				events := make([]Event, n)
				for i := range events {
					events[i] = Event{ID: fmt.Sprint(total + i), Raw: make([]byte, raws[(total+i)%len(raws)])}
				}
				total += n
				r, err := s.Send(ctx, events, []byte(fmt.Sprint(total)))
				if err != nil {
					senderDone <- err
					return
				}
				receipts = append(receipts, sent{r, total})
			}
			s.finish(false)
			nudge(s.wake)
			senderDone <- nil
		}()
		for i := 0; ; i++ {
			select {
			case <-pumpDone:
			default:
				n := int64(credits[i%len(credits)])
				if i >= len(credits) { // in the end there is enough
					n++
				}
				mu.Lock()
				granted += n
				mu.Unlock()
				s.grant(n)
				time.Sleep(50 * time.Microsecond)
				continue
			}
			break
		}
		if err := <-senderDone; err != nil {
			rt.Fatal(err)
		}
		if problem != "" {
			rt.Fatal(problem)
		}
		events, claimed := 0, 0
		for _, b := range batches {
			for _, e := range b.GetEvents() {
				if e.GetId() != fmt.Sprint(events) {
					rt.Fatalf("event %s comes as number %d", e.GetId(), events)
				}
				events++
			}
			claims := 0
			if _, err := fmt.Sscan(string(b.GetCursor()), &claims); err != nil || claims > events || claims < claimed {
				rt.Fatalf("cursor %q after %d events and %d", b.GetCursor(), events, claimed)
			}
			claimed = claims
		}
		total := 0
		for _, n := range sizes {
			total += n
		}
		if events != total || claimed != total {
			rt.Fatalf("%d events, cursor %d, of %d", events, claimed, total)
		}

		upto := rapid.IntRange(0, len(batches)).Draw(rt, "acknowledged")
		if err := s.acknowledge(int64(upto)); err != nil {
			rt.Fatal(err)
		}
		durable := 0
		for _, b := range batches[:upto] {
			durable += len(b.GetEvents())
		}
		s.close()
		for _, r := range receipts {
			err := r.receipt.Wait(ctx)
			if (err == nil) && r.events > durable || (err != nil && upto == len(batches)) {
				rt.Fatalf("the receipt of %d events says %v with %d durable", r.events, err, durable)
			}
			if err != nil && !errors.Is(err, ErrSessionOver) {
				rt.Fatal(err)
			}
		}
	})
}

func TestSessionSendIsSafeForConcurrentUse(t *testing.T) {
	s := newSession(nil, 0, 0, &secrets{})
	s.grant(1 << 20)
	out := pumped(t, s)
	var wg sync.WaitGroup
	const senders, each = 8, 200
	for n := range senders {
		wg.Go(func() {
			for i := range each {
				if _, err := s.Send(t.Context(), numbered(n*each+i, 1), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	count := func() int {
		n := 0
		for _, b := range out.seen() {
			n += len(b.GetEvents())
		}
		return n
	}
	waitFor(t, func() bool { return count() == senders*each })
	ids := map[string]bool{}
	for _, b := range out.seen() {
		for _, e := range b.GetEvents() {
			ids[e.GetId()] = true
		}
	}
	if len(ids) != senders*each {
		t.Errorf("%d different events, want %d", len(ids), senders*each)
	}
}

func TestSessionSendWithoutRoom(t *testing.T) {
	s := newSession(nil, 2, 0, &secrets{})
	pumped(t, s)
	if _, err := s.Send(t.Context(), numbered(0, 2), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Send(ctx, numbered(2, 1), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send without credit: %v, want its context's error", err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Send(t.Context(), numbered(3, 1), nil)
		waiting <- err
	}()
	s.close()
	if err := <-waiting; !errors.Is(err, ErrSessionOver) {
		t.Errorf("Send in a session that ends: %v, want ErrSessionOver", err)
	}
	if _, err := s.Send(t.Context(), nil, []byte("x")); !errors.Is(err, ErrSessionOver) {
		t.Errorf("Send after the end: %v, want ErrSessionOver", err)
	}
}

func TestSessionCursorAlone(t *testing.T) {
	s := newSession([]byte("a"), 0, 0, &secrets{})
	s.grant(5)
	out := pumped(t, s)
	same, err := s.Send(t.Context(), nil, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := same.Wait(t.Context()); err != nil {
		t.Errorf("nothing is durable at once: %v", err)
	}
	cursor := []byte("b")
	if _, err := s.Send(t.Context(), nil, cursor); err != nil {
		t.Fatal(err)
	}
	cursor[0] = 'x' // it was copied
	waitFor(t, func() bool { return len(out.seen()) == 1 })
	if b := out.seen()[0]; len(b.GetEvents()) != 0 || string(b.GetCursor()) != "b" {
		t.Errorf("batch %v, want the cursor alone", b)
	}
}

func TestSessionStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scrub := &secrets{}
		scrub.add("s3cr3t")
		s := newSession(nil, 0, 0, scrub)
		out := pumped(t, s)
		synctest.Wait()
		for i := range 50 { // the backlog alone: once a second
			s.Status(nil, int64(50-i), "events")
			synctest.Wait()
		}
		s.Status(errors.New("s3cr3t \xff"), 1, "events") // trouble: at once
		synctest.Wait()
		s.Status(errors.New("s3cr3t \xff"), 1, "events")
		time.Sleep(5 * time.Second)
		s.Status(nil, 0, "")
		synctest.Wait()
		s.Status(nil, 7, "events")
		time.Sleep(statusEvery / 2)
		synctest.Wait()
		if n := len(out.said()); n != 3 {
			t.Errorf("%d statuses before a second has passed", n)
		}
		time.Sleep(statusEvery / 2)
		synctest.Wait()
		var got []string
		for _, st := range out.said() {
			got = append(got, fmt.Sprintf("%v %q %d", st.GetState(), st.GetMessage(), st.GetBehind()))
		}
		want := []string{
			`DETECTOR_STATE_RUNNING "" 0`,
			`DETECTOR_STATE_TROUBLED "(secret) ` + "\uFFFD" + `" 1`,
			`DETECTOR_STATE_RUNNING "" 0`,
			`DETECTOR_STATE_RUNNING "" 7`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("statuses\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if said := out.said(); said[1].GetSince().AsTime().Equal(said[2].GetSince().AsTime()) {
			t.Error("the trouble and its end are since the same time")
		}
	})
}

func TestEventsOfAnyContentCanBeSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, name)) }
		severity := rapid.Int().Draw(t, "severity")
		e := Event{
			ID: text("id"), Revision: text("revision"), Raw: []byte(text("raw")), Title: text("title"),
			Severity: &severity, Link: text("link"), Problem: text("problem"), Techniques: []string{text("technique")},
			Observables: []Observable{{Kind: text("kind"), Value: text("value"), Role: Role(text("role"))}},
			Time:        time.Unix(rapid.Int64().Draw(t, "time"), 0),
		}
		var out pluginv1.Event
		size := eventToProto(&e, &out)
		encoded, err := proto.Marshal(&out)
		if err != nil {
			t.Fatal(err)
		}
		if len(encoded) > size {
			t.Fatalf("%d bytes, counted as %d", len(encoded), size)
		}
		if out.GetId() == "" || !bytes.Equal(out.GetRaw(), e.Raw) {
			t.Fatal("an event lost its id or its bytes")
		}
		if got := out.GetSeverity(); got < 0 || got > 100 {
			t.Fatalf("severity %d", got)
		}
	})
}

func TestEventLimits(t *testing.T) {
	many := make([]Observable, 1<<14)
	for i := range many {
		many[i] = Observable{Kind: "url", Value: strings.Repeat("u", 100)}
	}
	var out pluginv1.Event
	eventToProto(&Event{ID: "a\xff\x00b", Raw: []byte("{}"), Observables: many, Problem: "was odd"}, &out)
	if got, want := out.GetId(), "a\\xff\x00b"; got != want {
		t.Errorf("id %q, want %q", got, want)
	}
	if len(out.GetObservables()) != 0 || !strings.HasPrefix(out.GetProblem(), "was odd; its observables") || string(out.GetRaw()) != "{}" {
		t.Errorf("too many observables: %d with problem %q", len(out.GetObservables()), out.GetProblem())
	}
	out.Reset()
	eventToProto(&Event{Raw: []byte("{}")}, &out)
	if !strings.HasPrefix(out.GetId(), "sha256:44136fa3") || out.GetProblem() == "" {
		t.Errorf("an event without id: %v", &out)
	}
	out.Reset()
	eventToProto(&Event{ID: "x", Raw: make([]byte, MaxEvent), Oversize: &Oversize{Place: "mail 7", Length: 99}}, &out)
	if len(out.GetRaw()) != OversizeHead || out.GetOversize().GetPlace() != "mail 7" || out.GetOversize().GetLength() != 99 {
		t.Errorf("an author's oversize: %v", out.GetOversize())
	}
}

// Events a second out of a session, without the transport.
func BenchmarkSessionSend(b *testing.B) {
	raw := bytes.Repeat([]byte("x"), 1300)
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSession(nil, 0, 0, &secrets{})
			s.grant(1 << 20)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.pump(ctx, nil, func(m *pluginv1.DetectResponse) error {
					s.grant(1)
					return s.acknowledge(m.GetBatch().GetNumber())
				})
			}()
			events := make([]Event, n)
			for i := range events {
				events[i] = Event{ID: "id", Raw: raw, Title: "title", Observables: []Observable{{Kind: IP, Value: "10.1.2.3"}}}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Send(ctx, events, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
			cancel()
			<-done
		})
	}
}

// An acknowledgement may be on its way when the session is closed.
func TestSessionIsAcknowledgedAfterItsEnd(t *testing.T) {
	s := newSession(nil, 0, 0, &secrets{})
	s.grant(1)
	out := pumped(t, s)
	receipt, err := s.Send(t.Context(), numbered(0, 1), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(out.seen()) == 1 })
	s.close()
	if err := s.acknowledge(1); err != nil {
		t.Error(err)
	}
	if err := receipt.Wait(t.Context()); !errors.Is(err, ErrSessionOver) {
		t.Errorf("Wait = %v, want that the session is over", err)
	}
}
