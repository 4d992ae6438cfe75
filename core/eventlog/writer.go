package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// writer publishes to one subject, one message at a time, each expecting the
// one before it. It never tries again by itself.
type writer struct {
	log     *Log
	stream  string
	subject string
	// adopt lets the writer go on after a message that it does not know: it is
	// the subject's only writer, so the message is one whose answer it missed.
	adopt bool

	mu    sync.Mutex
	slot  *slot  // what is remembered of the subject; nil: not known yet, or nothing
	seq   uint64 // the subject's last sequence, 0 when there is none
	doubt bool   // seq is to be asked for before the next publish
	buf   []byte
}

// entry is a message of the log with its frame.
type entry struct {
	seq uint64
	frame
}

// publish writes f and returns its sequence. When there is no answer, or a
// wrong one, the subject's last message tells: if it has f's id, f was written.
// The caller holds w.mu.
func (w *writer) publish(ctx context.Context, f frame) (uint64, error) {
	if err := f.check(); err != nil {
		return 0, fmt.Errorf("%s: %w", w.subject, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.log.timeout, errNoAnswer)
	defer cancel()
	srv, err := w.log.healthy(ctx)
	if err != nil {
		if context.Cause(ctx) == errNoAnswer {
			err = fmt.Errorf("%w: %w", ErrSick, errNoAnswer)
		}
		return 0, fmt.Errorf("%s: %w", w.subject, err)
	}
	if w.doubt {
		if seq, err := w.resolve(ctx, f.id); err != nil || seq > 0 {
			return seq, w.failed(ctx, srv, err)
		}
	}
	w.buf = f.append(w.buf[:0])
	defer w.shrink()
	seq, err := srv.publish(ctx, w.subject, w.seq, w.buf)
	if errors.Is(err, errWrongLast) && w.adopt {
		if seq, err := w.resolve(ctx, f.id); err != nil || seq > 0 {
			return seq, w.failed(ctx, srv, err)
		}
		seq, err = srv.publish(ctx, w.subject, w.seq, w.buf)
	}
	switch {
	case err == nil:
		return w.settled(seq, f.total), nil
	case errors.Is(err, ErrFull), errors.Is(err, ErrTooLarge):
		return 0, fmt.Errorf("%s: %w", w.subject, err)
	case errors.Is(err, errUnnamed):
		w.doubt = true
		return 0, w.failed(ctx, srv, err)
	}

	w.doubt = true
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	if last, lookErr := w.look(look); lookErr == nil && last.id == f.id {
		return w.settled(last.seq, last.total), nil
	}
	return 0, w.failed(ctx, srv, err)
}

var errNoAnswer = errors.New("no answer in time")

// resolve brings the last sequence up to date. It returns a sequence when the
// subject's last message has the id, and ErrFenced when another has written.
func (w *writer) resolve(ctx context.Context, id string) (uint64, error) {
	last, err := w.look(ctx)
	switch {
	case err != nil:
		return 0, err
	case last.seq > 0 && last.id == id:
		return w.settled(last.seq, last.total), nil
	case last.seq != w.seq && !w.adopt:
		return 0, errWrongLast
	}
	w.settled(last.seq, last.total)
	return 0, nil
}

// failed turns what stopped a publish into what the caller has to decide on.
func (w *writer) failed(ctx context.Context, srv *server, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errWrongLast):
		err = ErrFenced
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrClosed), errors.Is(err, ErrSick):
	case ctx.Err() != nil && context.Cause(ctx) != errNoAnswer:
		err = context.Cause(ctx)
	default:
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		srv.markBroken(fmt.Errorf("publish to %s: %w", w.subject, err))
		err = fmt.Errorf("%w: %w", ErrSick, context.Cause(srv.broken))
	}
	return fmt.Errorf("%s: %w", w.subject, err)
}

// look returns the subject's last message, an empty entry when there is none. A server
// that could not write is not believed: it also gives what it has in memory alone, whose
// sync has failed, and a power cut would take that. It is marked before it gives it.
func (w *writer) look(ctx context.Context) (entry, error) {
	srv, err := w.log.server(ctx)
	if err != nil {
		return entry{}, err
	}
	msg, err := srv.last(ctx, w.stream, w.subject)
	if srv.broken.Err() != nil {
		return entry{}, fmt.Errorf("%w: %w", ErrSick, context.Cause(srv.broken))
	} else if errors.Is(err, jetstream.ErrMsgNotFound) {
		return entry{}, nil
	} else if err != nil {
		return entry{}, fmt.Errorf("last message of %s: %w", w.subject, err)
	}
	f, err := parseFrame(msg.Data)
	if err != nil {
		return entry{}, fmt.Errorf("%s %d: %w", w.subject, msg.Sequence, err)
	}
	return entry{msg.Sequence, f}, nil
}

// carry writes an empty message with the last one's header when the last one is
// below the given sequence, so that trimming does not lose the header. It
// returns the subject's last sequence, 0 when there is none: what may be trimmed
// ends below it. The caller holds w.mu.
func (w *writer) carry(ctx context.Context, below uint64) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.log.timeout, errNoAnswer)
	defer cancel()
	srv, err := w.log.healthy(ctx)
	if err != nil {
		return 0, err
	}
	last, err := w.look(ctx)
	if err != nil || last.seq >= below || last.seq == 0 {
		return last.seq, err
	}
	if last.seq != w.seq && !w.adopt {
		return last.seq, nil // what was written without an answer is its session's to settle
	}
	last.count, last.payload = 0, nil
	seq, err := srv.publish(ctx, w.subject, last.seq, last.append(nil))
	if err != nil {
		w.doubt = true
		return last.seq, fmt.Errorf("%s: %w", w.subject, err)
	}
	return w.settled(seq, last.total), nil
}

// settled notes the subject's last message, which the log has answered for.
func (w *writer) settled(seq, total uint64) uint64 {
	w.seq, w.doubt = seq, false
	if w.slot == nil {
		w.slot = w.log.mark.slotOf(w.stream, w.subject)
	}
	w.slot.acknowledged(seq, total)
	return seq
}

// shrink gives back the buffer of a rare huge message.
func (w *writer) shrink() {
	if cap(w.buf) > 2<<20 {
		w.buf = nil
	}
}
