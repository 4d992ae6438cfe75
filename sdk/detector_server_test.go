package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// core is the core's side of a session.
type core struct {
	t      testing.TB
	id     string
	stream grpc.BidiStreamingClient[pluginv1.DetectRequest, pluginv1.DetectResponse]
	cancel context.CancelFunc
}

func (s *served) session(t testing.TB, id string, start *pluginv1.DetectStart) *core {
	t.Helper()
	return openSession(t, s.detect, id, start)
}

func openSession(t testing.TB, client pluginv1.DetectorServiceClient, id string, start *pluginv1.DetectStart) *core {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	t.Cleanup(cancel)
	stream, err := client.Detect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &core{t: t, id: id, stream: stream, cancel: cancel}
	c.send(&pluginv1.DetectRequest{Instance: id, Message: &pluginv1.DetectRequest_Start{Start: start}})
	return c
}

func (c *core) send(req *pluginv1.DetectRequest) {
	c.t.Helper()
	if err := c.stream.Send(req); err != nil {
		c.t.Fatal(err)
	}
}

func (c *core) credit(n int32) {
	c.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: n}}})
}

func (c *core) ack(n int64) {
	c.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: n}}})
}

func (c *core) stop() {
	c.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Stop{Stop: &pluginv1.DetectStop{}}})
}

// batch skips statuses.
func (c *core) batch() *pluginv1.Batch {
	c.t.Helper()
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("waiting for a batch: %v", err)
		}
		if m.GetInstance() != c.id {
			c.t.Fatalf("the session of %s reports for %q", c.id, m.GetInstance())
		}
		if b := m.GetBatch(); b != nil {
			return b
		}
	}
}

// state skips everything up to a status of a state.
func (c *core) state(want pluginv1.DetectorState) *pluginv1.DetectorStatus {
	c.t.Helper()
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("waiting for %v: %v", want, err)
		}
		if s := m.GetStatus(); s.GetState() == want && s != nil {
			return s
		}
	}
}

// end is what the stream ends with.
func (c *core) end() error {
	for {
		if _, err := c.stream.Recv(); err != nil {
			return err
		}
	}
}

const running0 = pluginv1.DetectorState_DETECTOR_STATE_RUNNING

func TestDetectDeliversAndAcknowledges(t *testing.T) {
	receipts := make(chan error, 1)
	told := make(chan string, 10)
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{
			acked: func(_ context.Context, cursor []byte) error { told <- string(cursor); return nil },
			detect: func(ctx context.Context, _ *fakeDetector, start Start, out Sender) error {
				if string(start.Cursor) != "c0" || start.Once {
					t.Errorf("start %+v", start)
				}
				r, err := out.Send(ctx, []Event{{ID: "1", Raw: []byte(`{"a":1}`)}}, []byte("c1"))
				if err != nil {
					return err
				}
				receipts <- r.Wait(ctx)
				<-ctx.Done()
				return ctx.Err()
			},
		}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{Cursor: []byte("c0")})
	c.state(running0)
	if got := <-told; got != "c0" {
		t.Errorf("the hook hears %q first, want the cursor that is durable", got)
	}
	c.credit(1)
	b := c.batch()
	if b.GetNumber() != 1 || string(b.GetCursor()) != "c1" || string(b.GetEvents()[0].GetRaw()) != `{"a":1}` {
		t.Errorf("batch %v", b)
	}
	select {
	case err := <-receipts:
		t.Fatalf("a receipt before the ack: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.ack(1)
	if err := <-receipts; err != nil {
		t.Errorf("the receipt: %v", err)
	}
	if got := <-told; got != "c1" {
		t.Errorf("the hook hears %q, want c1", got)
	}
	c.stop()
	if err := c.end(); !errors.Is(err, io.EOF) {
		t.Errorf("after stop the stream ends with %v", err)
	}
}

func TestDetectOnceReportsEndedAndWaits(t *testing.T) {
	var told atomic.Pointer[string]
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{
			acked: func(_ context.Context, cursor []byte) error { c := string(cursor); told.Store(&c); return nil },
			detect: func(ctx context.Context, _ *fakeDetector, start Start, out Sender) error {
				if !start.Once {
					t.Error("not once")
				}
				_, err := out.Send(ctx, numbered(0, 1000), []byte("end"))
				return err
			},
		}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{Once: true, MaxEvents: 400})
	c.credit(2)
	n := len(c.batch().GetEvents()) + len(c.batch().GetEvents())
	c.credit(5)
	last := c.batch()
	if n += len(last.GetEvents()); n != 1000 || last.GetNumber() != 3 || string(last.GetCursor()) != "end" {
		t.Errorf("%d events, the last batch %d with %q", n, last.GetNumber(), last.GetCursor())
	}
	c.state(pluginv1.DetectorState_DETECTOR_STATE_ENDED)
	c.ack(3) // after the end
	waitFor(t, func() bool { c := told.Load(); return c != nil && *c == "end" })
	c.stop()
	if err := c.end(); !errors.Is(err, io.EOF) {
		t.Errorf("after stop the stream ends with %v", err)
	}
}

func TestDetectEndsWithAnError(t *testing.T) {
	for name, c := range map[string]struct {
		detect func(context.Context, Sender) error
		code   codes.Code
		want   string
	}{
		"an Error": {
			func(context.Context, Sender) error {
				return &Error{Reason: Denied, Fault: FaultVendor, Err: errors.New("s3cr3t refused")}
			}, codes.PermissionDenied, "(secret) refused",
		},
		"another": {
			func(context.Context, Sender) error { return io.ErrUnexpectedEOF }, codes.Unknown, "unexpected EOF",
		},
		"nil though it goes on": {
			func(context.Context, Sender) error { return nil }, codes.Unknown, "its session goes on",
		},
		"a panic": {
			func(context.Context, Sender) error { panic("s3cr3t") }, codes.Internal, "panicked",
		},
		"a context's error of its own": {
			func(context.Context, Sender) error { return context.DeadlineExceeded }, codes.Unknown, "deadline",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveHere(t, detectorPlugin(func() Instance {
				return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
					if _, err := out.Send(ctx, numbered(0, 1), []byte("c")); err != nil {
						t.Error(err)
					}
					return c.detect(ctx, out)
				}}
			}))
			s.configure(t, "detector.x", asDetector, `{"token":"s3cr3t"}`)
			session := s.session(t, "detector.x", &pluginv1.DetectStart{})
			err := session.end()
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%v, want %v %q", err, c.code, c.want)
			}
			if told := FromStatus(err); told == nil {
				t.Error("no ErrorInfo")
			}
			if strings.Contains(s.logs.String(), "s3cr3t") {
				t.Error("the secret is in the log")
			}
		})
	}
}

func TestDetectSendsWhatWasTakenBeforeAnError(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, d *fakeDetector, _ Start, out Sender) error {
			// The credit is there before the error, so that it is used.
			first, err := out.Send(ctx, numbered(0, 1), []byte("c0"))
			if err != nil {
				return err
			}
			if err := first.Wait(ctx); err != nil {
				return err
			}
			if _, err := out.Send(ctx, numbered(1, 1), []byte("c1")); err != nil {
				return err
			}
			return errors.New("broken")
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{})
	c.credit(2)
	c.batch()
	c.ack(1)
	if got := string(c.batch().GetCursor()); got != "c1" {
		t.Errorf("cursor %q", got)
	}
	if err := c.end(); status.Code(err) != codes.Unknown {
		t.Errorf("%v", err)
	}
}

func TestDetectOneSessionAtATime(t *testing.T) {
	var now, most atomic.Int32
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, d *fakeDetector, _ Start, out Sender) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if _, err := out.Send(ctx, numbered(0, 1), nil); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	first := s.session(t, "detector.x", &pluginv1.DetectStart{})
	first.state(running0)
	s.configure(t, "detector.y", asDetector, `{}`)
	other := s.session(t, "detector.y", &pluginv1.DetectStart{})
	other.credit(1)
	other.batch()

	newest := s.session(t, "detector.x", &pluginv1.DetectStart{})
	newest.credit(1)
	newest.batch()
	if err := first.end(); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "newer session") {
		t.Errorf("the older session ends with %v", err)
	}
	// A changed configuration ends the session too, and the next one waits for it.
	s.configure(t, "detector.x", asDetector, `{"path":"new"}`)
	if err := newest.end(); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "closing") {
		t.Errorf("the session of a replaced instance ends with %v", err)
	}
	again := s.session(t, "detector.x", &pluginv1.DetectStart{})
	again.credit(1)
	again.batch()
	if n := most.Load(); n > 2 { // x and y
		t.Errorf("%d sessions at once", n)
	}
	other.stop()
	if err := other.end(); !errors.Is(err, io.EOF) {
		t.Errorf("the other instance's session ends with %v", err)
	}
}

func TestDetectManySessionsRaceForOneInstance(t *testing.T) {
	var now atomic.Int32
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, _ Sender) error {
			if n := now.Add(1); n > 1 {
				t.Errorf("%d at once", n)
			}
			defer now.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	sessions := make([]*core, 10)
	for i := range sessions {
		sessions[i] = s.session(t, "detector.x", &pluginv1.DetectStart{})
	}
	ends := make(chan error, len(sessions))
	for _, c := range sessions {
		go func() { ends <- c.end() }()
	}
	for range len(sessions) - 1 {
		if err := <-ends; status.Code(err) != codes.Aborted {
			t.Errorf("an older session ends with %v", err)
		}
	}
	if _, err := s.plugin.Close(testContext(t), &pluginv1.CloseRequest{Instance: "detector.x"}); err != nil {
		t.Error(err)
	}
	if err := <-ends; status.Code(err) != codes.Aborted {
		t.Errorf("the last session ends with %v", err)
	}
}

func TestDetectIsCancelledAtOnce(t *testing.T) {
	returned := make(chan time.Time, 1)
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
			for {
				if _, err := out.Send(ctx, numbered(0, 100), nil); err != nil {
					returned <- time.Now()
					return err
				}
			}
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{})
	c.credit(3)
	c.batch()
	begin := time.Now()
	c.cancel()
	select {
	case at := <-returned:
		if took := at.Sub(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestDetectRefusesWhatIsNoSession(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
			<-ctx.Done()
			return ctx.Err()
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	start := &pluginv1.DetectRequest_Start{Start: &pluginv1.DetectStart{}}
	for name, c := range map[string]struct {
		requests []*pluginv1.DetectRequest
		code     codes.Code
		want     string
	}{
		"no start": {[]*pluginv1.DetectRequest{{Instance: "detector.x"}}, codes.InvalidArgument, "must be start"},
		"unknown":  {[]*pluginv1.DetectRequest{{Instance: "detector.y", Message: start}}, codes.NotFound, "not configured"},
		"twice": {
			[]*pluginv1.DetectRequest{{Instance: "detector.x", Message: start}, {Message: start}},
			codes.InvalidArgument, "starts once",
		},
		"an ack of nothing": {
			[]*pluginv1.DetectRequest{
				{Instance: "detector.x", Message: start},
				{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: 1}}},
			}, codes.InvalidArgument, "was not sent",
		},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := s.detect.Detect(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			session := &core{t: t, stream: stream}
			for _, req := range c.requests {
				session.send(req)
			}
			if err := session.end(); status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %v %q", err, c.code, c.want)
			}
		})
	}
}

func TestDetectReceiptsFailWhenTheSessionEnds(t *testing.T) {
	outcome := make(chan error, 1)
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
			r, err := out.Send(ctx, numbered(0, 1), nil)
			if err != nil {
				return err
			}
			// A request handler waits by its own context, not the session's.
			go func() { outcome <- r.Wait(context.Background()) }()
			<-ctx.Done()
			return ctx.Err()
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{})
	c.credit(1)
	c.batch()
	c.stop()
	if err := <-outcome; !errors.Is(err, ErrSessionOver) {
		t.Errorf("the receipt: %v, want ErrSessionOver", err)
	}
}

func TestDetectHookThatHangsDoesNotHoldTheSession(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{
			acked: func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() },
			detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
				<-ctx.Done()
				return ctx.Err()
			},
		}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{Cursor: []byte("c")})
	c.state(running0)
	begin := time.Now()
	c.stop()
	if err := c.end(); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestDetectCarriesAnyBytes(t *testing.T) {
	events := []Event{
		{ID: "ünïcode 犬 🐕", Raw: []byte("{\"a\":\"犬\\u0000\x01\"}"), Title: "tab\tnull\x00bell\a \u202e"},
		{ID: "bad \xc3\x28", Raw: []byte("\xff\xfe\x00 not JSON"), Problem: "is not UTF-8 at \xff"},
		{ID: "1 MiB", Raw: bytes.Repeat([]byte{0}, MaxEvent)},
	}
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
			_, err := out.Send(ctx, events, []byte{0, 0xff})
			return err
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{Once: true})
	c.credit(10)
	var got []*pluginv1.Event
	for len(got) < len(events) {
		got = append(got, c.batch().GetEvents()...)
	}
	for i := range events {
		if !bytes.Equal(got[i].GetRaw(), events[i].Raw) {
			t.Errorf("event %d: its bytes have changed", i)
		}
	}
	if got[0].GetId() != events[0].ID || got[0].GetTitle() != events[0].Title || got[1].GetId() != "bad \\xc3(" || got[2].GetOversize() != nil {
		t.Errorf("ids %q, %q, title %q", got[0].GetId(), got[1].GetId(), got[0].GetTitle())
	}
}

// Events a second through gRPC in this process, by the size of the batches.
func BenchmarkDetect(b *testing.B) {
	s := serveHere(b, childPlugin())
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s.configure(b, "detector.x", asDetector, fmt.Sprintf(`{"path":"%d"}`, n))
			benchmarkSession(b, s.detect, n)
		})
	}
}

// The same from another process, over a unix socket with AutoMTLS.
func BenchmarkDetectProcess(b *testing.B) {
	c := startChild(b)
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c.configure(b, "detector.x", asDetector, fmt.Sprintf(`{"path":"%d"}`, n))
			benchmarkSession(b, pluginv1.NewDetectorServiceClient(c.conn), n)
		})
	}
}

func benchmarkSession(b *testing.B, client pluginv1.DetectorServiceClient, n int) {
	// A batch holds what one Send sends: nothing is joined.
	c := openSession(b, client, "detector.x", &pluginv1.DetectStart{MaxEvents: int32(n)})
	c.credit(16)
	b.ReportAllocs()
	received := 0
	for b.Loop() {
		batch := c.batch()
		received += len(batch.GetEvents())
		c.credit(1)
		c.ack(batch.GetNumber())
	}
	b.ReportMetric(float64(received)/b.Elapsed().Seconds(), "events/s")
	c.cancel()
	_ = c.end()
}

// TestDetectSendsWhatFitsWhole: a Send that fits into a batch is never split over two, so
// that a session which ends in between has all of it, with its cursor, or nothing.
func TestDetectSendsWhatFitsWhole(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{detect: func(ctx context.Context, _ *fakeDetector, _ Start, out Sender) error {
			for at := 0; ; at += 90 {
				if _, err := out.Send(ctx, numbered(at, 90), fmt.Appendf(nil, "%d", at+90)); err != nil {
					return err
				}
			}
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{}`)
	c := s.session(t, "detector.x", &pluginv1.DetectStart{MaxEvents: 200})
	c.credit(20)
	total := 0
	for range 20 {
		b := c.batch()
		total += len(b.GetEvents())
		if string(b.GetCursor()) != fmt.Sprint(total) {
			t.Fatalf("after %d events the cursor is %s", total, b.GetCursor())
		}
	}
	c.stop()
}
