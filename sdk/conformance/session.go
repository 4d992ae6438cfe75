package conformance

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// sessionBegins is how long the first message of a session is waited for, where it need
	// not come.
	sessionBegins = 500 * time.Millisecond
	// quiet is how long a source whose end is not known must give nothing to be taken as
	// read.
	quiet = time.Second
)

// errNothing is next's error when nothing came in time.
var errNothing = errors.New("nothing came")

// session is a session of a detector, as the core drives it.
type session struct {
	stream   pluginv1.DetectorService_DetectClient
	cancel   context.CancelFunc
	messages chan *pluginv1.DetectResponse
	reading  sync.WaitGroup
	over     chan struct{} // closed when the stream has ended
	err      error         // why, after over; nil: it was closed in good order
}

// sessionStart is what a session is asked for.
type sessionStart struct {
	cursor    []byte
	once      bool
	maxEvents int
	credit    int
	pulse     time.Duration
}

// open begins a session. The caller must end it.
func (p *process) open(ctx context.Context, id string, start sessionStart) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := p.detect.Detect(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &session{stream: stream, cancel: cancel, messages: make(chan *pluginv1.DetectResponse, 16), over: make(chan struct{})}
	s.reading.Go(func() {
		defer close(s.over)
		for {
			m, err := stream.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					s.err = err
				}
				return
			}
			select {
			case s.messages <- m:
			case <-ctx.Done():
				s.err = ctx.Err()
				return
			}
		}
	})
	if start.maxEvents == 0 {
		start.maxEvents = sdk.MaxBatchEvents
	}
	begin := &pluginv1.DetectStart{Cursor: start.cursor, Once: start.once, MaxEvents: int32(start.maxEvents), MaxBytes: sdk.MaxBatchBytes}
	if start.pulse > 0 {
		begin.Pulse = durationpb.New(start.pulse)
	}
	s.send(&pluginv1.DetectRequest{Instance: id, Message: &pluginv1.DetectRequest_Start{Start: begin}})
	if start.credit > 0 {
		s.credit(start.credit)
	}
	return s, nil
}

// send tells the plugin something; that it has gone shows in the stream's end.
func (s *session) send(m *pluginv1.DetectRequest) { _ = s.stream.Send(m) }

func (s *session) credit(batches int) {
	s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: int32(batches)}}})
}

func (s *session) ack(batch int64) {
	s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: batch}}})
}

func (s *session) stop() {
	s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Stop{Stop: &pluginv1.DetectStop{}}})
}

// next waits for a message. errNothing: none came; io.EOF: the session has ended in good
// order.
func (s *session) next(limit time.Duration) (*pluginv1.DetectResponse, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case m := <-s.messages:
		return m, nil
	default:
	}
	select {
	case m := <-s.messages:
		return m, nil
	case <-s.over:
		select { // what came before the end
		case m := <-s.messages:
			return m, nil
		default:
		}
		if s.err == nil {
			return nil, io.EOF
		}
		return nil, s.err
	case <-timer.C:
		return nil, errNothing
	}
}

// end breaks the session off.
func (s *session) end() {
	s.cancel()
	s.reading.Wait()
}

// endsWithin tells whether the stream ends within a time; what still comes is dropped.
func (s *session) endsWithin(d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	for {
		select {
		case <-s.over:
			return true
		case <-s.messages:
		case <-limit.C:
			return false
		}
	}
}
