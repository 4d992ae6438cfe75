package sdk

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// olderLimit is how long a session waits for the one before it to end.
	olderLimit = 10 * time.Second
	// hookGrace is how long Acknowledged has after the end of its session.
	hookGrace = time.Second
)

var (
	errStopped  = errors.New("the core stopped the session")
	errReplaced = errors.New("a newer session of the instance has begun")
	errClosing  = errors.New("the instance is closing")
)

// detectorServer runs the sessions of detectors, one of each instance at a time.
type detectorServer struct {
	pluginv1.UnimplementedDetectorServiceServer
	server *Server
	turns  turns

	mu     sync.Mutex
	newest map[string]*running // by instance
}

// Detect is one session.
func (d *detectorServer) Detect(stream grpc.BidiStreamingServer[pluginv1.DetectRequest, pluginv1.DetectResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return inputError(codes.InvalidArgument, "the first request of a session must be start")
	}
	i, err := d.server.enterKind(first.GetInstance(), KindDetector)
	if err != nil {
		return err
	}
	defer i.leave()
	ctx, end, wait := i.whileOpen(stream.Context())
	defer wait()
	defer end(nil)
	run := &running{
		stream:  stream,
		session: newSession(start.GetCursor(), int(start.GetMaxEvents()), int(start.GetMaxBytes()), i.scrub),
		i:       i,
		end:     end,
	}
	run.session.pulse = max(0, start.GetPulse().AsDuration())
	release, err := d.begin(ctx, run)
	if err != nil {
		return err
	}
	defer release()
	// It returns when the stream has ended, which is when Detect has: nobody can wait.
	go run.receive()
	return run.run(ctx, Start{Cursor: start.GetCursor(), Once: start.GetOnce()})
}

// begin ends the session of the instance that runs, if one does, and waits until it has.
func (d *detectorServer) begin(ctx context.Context, run *running) (release func(), err error) {
	id := run.i.id
	d.mu.Lock()
	if older := d.newest[id]; older != nil {
		older.end(errReplaced)
	}
	d.newest[id] = run
	d.mu.Unlock()
	forget := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.newest[id] == run {
			delete(d.newest, id)
		}
	}
	wait, cancel := context.WithTimeout(ctx, olderLimit)
	defer cancel()
	free, err := d.turns.take(wait, id)
	switch {
	case err == nil:
		return func() { forget(); free() }, nil
	case ctx.Err() != nil:
		err = endOf(ctx)
	default:
		err = newStatus(codes.Unavailable, "the session before this one does not end", FaultPlugin, nil)
	}
	forget()
	return nil, err
}

// running is a session while it lasts.
type running struct {
	stream  grpc.BidiStreamingServer[pluginv1.DetectRequest, pluginv1.DetectResponse]
	session *session
	i       *instance
	end     context.CancelCauseFunc
}

func (r *running) send(m *pluginv1.DetectResponse) error {
	m.Instance = r.i.id
	return r.stream.Send(m)
}

// receive takes what the core says until the stream ends.
func (r *running) receive() {
	for {
		req, err := r.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errStopped
			}
			r.end(err)
			return
		}
		switch m := req.GetMessage().(type) {
		case *pluginv1.DetectRequest_Credit:
			r.session.grant(int64(m.Credit.GetBatches()))
		case *pluginv1.DetectRequest_Ack:
			if err := r.session.acknowledge(m.Ack.GetBatch()); err != nil {
				r.end(inputError(codes.InvalidArgument, err.Error()))
				return
			}
		case *pluginv1.DetectRequest_Stop:
			r.end(errStopped)
			return
		case *pluginv1.DetectRequest_Start:
			r.end(inputError(codes.InvalidArgument, "a session starts once"))
			return
		}
	}
}

// run drives the author's detector to the end of the session.
func (r *running) run(ctx context.Context, start Start) error {
	hooked := r.acknowledged(ctx)
	defer func() { <-hooked }()
	defer r.session.close()

	var result error
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		result = r.detect(ctx, start)
	}()
	if err := r.session.pump(ctx, returned, r.send); err != nil {
		r.end(err) // unless it was this end that made pump return
		r.session.close()
		<-returned
		return endOf(ctx)
	}
	if ctx.Err() != nil {
		return endOf(ctx)
	}
	if result == nil && start.Once {
		return r.ended(ctx)
	}
	if result == nil {
		result = errors.New("the detector returned, and its session goes on")
	}
	r.session.finish(true)
	if err := r.session.pump(ctx, nil, r.send); err != nil {
		return endOf(ctx)
	}
	return statusOf(ctx, result, r.i.scrub)
}

// ended sends what is left and tells that it was all, and waits for the core to stop
// the session: it may have to acknowledge yet.
func (r *running) ended(ctx context.Context) error {
	r.session.finish(false)
	if err := r.session.pump(ctx, nil, r.send); err != nil {
		r.end(err)
		return endOf(ctx)
	}
	if err := r.send(r.session.farewell()); err != nil {
		return err
	}
	<-ctx.Done()
	return endOf(ctx)
}

// detect calls the author's code; a panic in it ends the session.
func (r *running) detect(ctx context.Context, start Start) (err error) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(r.i.log, "Detect", p)
			err = errPanicked
		}
	}()
	if f, ok := r.i.value.(Fetcher); ok {
		return (&poller{fetcher: f, log: r.i.log, livesUntil: r.session.livesUntil}).Detect(ctx, start, r.session)
	}
	return r.i.value.(Detector).Detect(ctx, start, r.session)
}

// acknowledged runs the author's hook, if there is one, until the session is closed
// and a little longer. The channel is closed when the hook has returned for good.
func (r *running) acknowledged(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	hook, ok := r.i.value.(Acknowledged)
	if !ok {
		close(done)
		return done
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(done)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				logPanic(r.i.log, "Acknowledged", p)
			}
		}()
		stop := make(chan struct{})
		defer close(stop)
		go func() { // ends with this goroutine, at the latest hookGrace after the session
			select {
			case <-stop:
				return
			case <-r.session.over:
			}
			select {
			case <-stop:
			case <-time.After(hookGrace):
				cancel()
			}
		}()
		r.session.notify(ctx, hook, r.i.log)
	}()
	return done
}

// endOf is the status of a session that was ended: none where the core asked for it.
func endOf(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopped):
		return nil
	case errors.Is(cause, errReplaced), errors.Is(cause, errClosing):
		return newStatus(codes.Aborted, cause.Error(), FaultInput, nil)
	case errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		return status.FromContextError(cause).Err()
	default:
		return cause
	}
}
