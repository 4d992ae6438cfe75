package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that frameCodec falls back on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Detector is a configured detector.
type Detector struct{ instance *instance }

// SessionStart is where a session begins.
type SessionStart struct {
	// Cursor of the last durable batch; nil the first time.
	Cursor []byte
	// Once: the plugin reads what there is, reports SessionEnded, and waits for Stop.
	Once bool
	// MaxEvents and MaxBytes bound a batch; 0: model.MaxBatchEvents and
	// model.MaxBatchBytes.
	MaxEvents int
	MaxBytes  int
}

// SessionMessage holds a batch or a status.
type SessionMessage struct {
	Batch  *SessionBatch
	Status *SessionStatus
}

// SessionBatch is what a detector reports at once. The events' Raw are parts of one
// buffer that nothing else uses.
type SessionBatch struct {
	// Number counts from 1 in each session, without gaps.
	Number int64
	Events []model.Event
	// Cursor stands after the events.
	Cursor []byte
	// Bytes of the events' payloads.
	Bytes int
}

// SessionState is how a detector's source is.
type SessionState string

// The states of a source.
const (
	SessionRunning  SessionState = "running"
	SessionTroubled SessionState = "troubled" // can't be read now; the plugin tries again
	SessionEnded    SessionState = "ended"    // with Once: all there was has been sent
)

// SessionStatus is what a detector says about its source.
type SessionStatus struct {
	State   SessionState
	Message string
	Since   time.Time
	// Behind is how far the source's newest event is away, in BehindUnit; 0: not
	// known, or not at all.
	Behind     int64
	BehindUnit string
}

// Address of the instance, "detector.eve".
func (d *Detector) Address() string { return d.instance.Address }

// Maker is the connector, and the version of the cursors that it makes.
func (d *Detector) Maker() (plugin, connector string, cursorVersion int) {
	return d.instance.Plugin, d.instance.Connector, d.instance.CursorVersion
}

// Open begins a session, once the process is up. ctx is the session's: when it ends,
// the session is cut. The caller must Close the session.
func (d *Detector) Open(ctx context.Context, start SessionStart) (*Session, error) {
	if start.MaxEvents <= 0 {
		start.MaxEvents = model.MaxBatchEvents
	}
	if start.MaxBytes <= 0 {
		start.MaxBytes = model.MaxBatchBytes
	}
	t := d.instance.tally
	p, err := d.instance.owner.acquire(ctx, d.instance)
	if err != nil {
		t.call(detecting, err)
		return nil, err
	}
	t.call(detecting, nil) // how it ends, the session counts
	t.flying.Add(1)
	// A session lasts; it is no call that a stop would wait for.
	d.instance.leave(p)

	ctx, cancel := context.WithCancel(ctx)
	s := &Session{instance: d.instance, process: p, ctx: ctx, cancel: cancel, start: start}
	var pulse *durationpb.Duration
	if slices.Contains(p.about.Capabilities, sdk.DetectPulse) {
		every := d.instance.owner.launch.timing.Pulse
		s.pulse, pulse = every, durationpb.New(every)
	}
	s.stream, err = p.conn.NewStream(ctx, &pluginv1.DetectorService_ServiceDesc.Streams[0],
		pluginv1.DetectorService_Detect_FullMethodName, grpc.ForceCodecV2(frameCodec{}))
	if err == nil {
		err = s.stream.SendMsg(&pluginv1.DetectRequest{
			Instance: d.instance.name,
			Message: &pluginv1.DetectRequest_Start{Start: &pluginv1.DetectStart{
				Cursor: start.Cursor, Once: start.Once,
				MaxEvents: int32(start.MaxEvents), MaxBytes: int32(start.MaxBytes),
				Pulse: pulse,
			}},
		})
	}
	if err != nil {
		err = s.failed(err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// Session is an open session of a detector. Recv is for one goroutine; the rest may
// be used concurrently with it and with each other.
type Session struct {
	instance *instance
	process  *process
	ctx      context.Context // the stream's
	cancel   context.CancelFunc
	stream   grpc.ClientStream
	start    SessionStart

	sending sync.Mutex
	mu      sync.Mutex
	credit  int64 // batches that the plugin may still send
	number  int64 // of the last batch
	ended   error
	closed  bool

	troubled bool // by the last status; Recv's
	// pulse is how often the plugin gives a sign of life; 0: it gives none.
	pulse time.Duration
}

// missedPulses are how many signs of life may be missing.
const missedPulses = 3

// Recv waits for the next batch or status. It returns io.EOF when the plugin has
// ended the session in good order, and otherwise an *Error. A batch that breaks the
// contract (a gap in the numbers, no credit, too large) ends the session; an event
// that does, does not: it comes with its Problem set.
func (s *Session) Recv() (SessionMessage, error) {
	var f frame
	if err := s.receive(&f); err != nil {
		return SessionMessage{}, s.failed(err)
	}
	m, err := decodeFrame(f.data)
	if err != nil {
		return SessionMessage{}, s.cut(s.instance.breach("sent what is not a message of the contract: %v", err))
	}
	if err := s.instance.answeredFor(m.instance); err != nil {
		return SessionMessage{}, s.cut(err)
	}
	switch {
	case m.batch != nil:
		if err := s.check(m.batch); err != nil {
			return SessionMessage{}, s.cut(err)
		}
	case m.status != nil:
		m.status.Message = s.instance.scrub.message(m.status.Message)
		if l := s.instance.owner.launch; m.status.State == SessionTroubled && l.denied(m.status.Message) {
			m.status.Message = l.hinted(m.status.Message)
		}
		m.status.BehindUnit = s.instance.scrub.message(m.status.BehindUnit)
		s.note(m.status)
	}
	return SessionMessage{Batch: m.batch, Status: m.status}, nil
}

// receive waits for a message, as long as the plugin may be silent.
func (s *Session) receive(f *frame) error {
	if s.pulse > 0 {
		stop := afterTicks(s.pulse, missedPulses, func() {
			_ = s.cut(&Error{
				Instance: s.instance.Address, Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrSilent,
				Message: fmt.Sprintf("plugin %q has given no sign of life in this session for %s: what reads its source is stuck", s.instance.Plugin, missedPulses*s.pulse),
			})
		})
		defer stop()
	}
	return s.stream.RecvMsg(f)
}

// afterTicks calls a function after so many ticks, unless it is stopped before. While this
// process stands still, as it does on SIGSTOP, none is counted but one: what came meanwhile
// has a tick to be read in.
func afterTicks(every time.Duration, ticks int, do func()) (stop func()) {
	var mu sync.Mutex
	var next *time.Timer
	over := false
	mu.Lock()
	defer mu.Unlock()
	next = time.AfterFunc(every, func() {
		mu.Lock()
		defer mu.Unlock()
		ticks--
		switch {
		case over:
		case ticks > 0:
			next.Reset(every)
		default:
			over = true
			do()
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		next.Stop()
	}
}

// note counts each time that the source can't be read any more.
func (s *Session) note(st *SessionStatus) {
	troubled := st.State == SessionTroubled
	if troubled && !s.troubled {
		s.instance.tally.failed(detecting, sdk.FaultVendor, cmp.Or(st.Message, "its source cannot be read"))
	}
	s.troubled = troubled
}

// check holds a batch against what the plugin was allowed.
func (s *Session) check(b *SessionBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.Number != s.number+1:
		return s.instance.breach("sent batch %d after batch %d", b.Number, s.number)
	case s.credit < 1:
		return s.instance.breach("sent batch %d without credit for it", b.Number)
	case len(b.Events) > s.start.MaxEvents:
		return s.instance.breach("sent a batch of %d events, more than %d", len(b.Events), s.start.MaxEvents)
	case len(b.Events) > 1 && b.Bytes > s.start.MaxBytes:
		return s.instance.breach("sent a batch of %d bytes, more than %d", b.Bytes, s.start.MaxBytes)
	}
	s.number++
	s.credit--
	return nil
}

// Credit allows the plugin to send so many batches more.
func (s *Session) Credit(batches int) error {
	s.mu.Lock()
	s.credit += int64(batches)
	s.mu.Unlock()
	return s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{
		Credit: &pluginv1.DetectCredit{Batches: int32(batches)},
	}})
}

// Ack says that all batches up to this one are durable.
func (s *Session) Ack(batch int64) error {
	return s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{
		Ack: &pluginv1.DetectAck{Batch: batch},
	}})
}

// Stop asks for the end: the plugin reads nothing more and ends the session, upon
// which Recv returns io.EOF. What it still sends before may be taken.
func (s *Session) Stop() error {
	return s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Stop{Stop: &pluginv1.DetectStop{}}})
}

func (s *Session) send(m *pluginv1.DetectRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	err := s.stream.SendMsg(m)
	if errors.Is(err, io.EOF) {
		// The stream is over; why, Recv says.
		return &Error{Instance: s.instance.Address, Message: "the session is over", NotSent: true, Err: io.EOF}
	}
	return s.explain(err)
}

// Close cuts the session. It may be called more than once.
func (s *Session) Close() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.instance.tally.flying.Add(-1)
	}
}

// cut ends the session for a reason of ours.
func (s *Session) cut(err error) error {
	err = s.failed(err)
	s.cancel()
	return err
}

// failed keeps the first reason for which the session ended.
func (s *Session) failed(err error) error {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended != nil {
		return ended
	}
	err = s.explain(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = err
		if err != nil && !errors.Is(err, io.EOF) {
			s.instance.tally.failed(detecting, faultIn(err), reasonIn(err))
		}
	}
	return s.ended
}

func (s *Session) explain(err error) error {
	return s.instance.explain(s.ctx, s.process, err)
}

// frame is a message as it came, not taken apart.
type frame struct{ data []byte }

// frameCodec gives a stream's messages as they came, so that events need not be
// copied once more: protobuf's own decoder copies every payload.
type frameCodec struct{}

func (frameCodec) Name() string { return "proto" }

func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	return encoding.GetCodecV2("proto").Marshal(v)
}

func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return encoding.GetCodecV2("proto").Unmarshal(data, v)
	}
	f.data = data.Materialize()
	return nil
}
