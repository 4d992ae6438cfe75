package host

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Bounds of what a stream of answers hands back. A connector has no reason to come near
// them; one that does breaks the contract, which ends its stream.
const (
	maxAnswer       = 256 << 10 // a message
	maxAnswerCursor = 64 << 10
	maxAnswerKey    = 64
)

// PersonAnswer is what a person chose, as the connector tells it.
type PersonAnswer struct {
	// Key of the notify that was answered; empty: what the connector gave can be none.
	Key    string
	Option string
	Reason string
	User   string    // as the connector's product proved it
	At     time.Time // zero: it is not told
	// Cursor stands after the answer.
	Cursor []byte
}

// Plugin and Connector that the instance is of.
func (a *Action) Plugin() string    { return a.instance.Plugin }
func (a *Action) Connector() string { return a.instance.Connector }

// Answers opens the stream of what people chose, from cursor on, once the process is up.
// ctx is the stream's: when it ends, the stream is cut. The caller must Close the stream.
func (a *Action) Answers(ctx context.Context, cursor []byte) (*AnswerStream, error) {
	i := a.instance
	p, err := i.owner.acquire(ctx, i)
	if i.tally.call(answering, err); err != nil {
		return nil, err
	}
	i.tally.flying.Add(1)
	// A stream lasts; it is no call that a stop would wait for.
	i.leave(p)

	ctx, cancel := context.WithCancel(ctx)
	s := &AnswerStream{instance: i, process: p, ctx: ctx, cancel: cancel}
	s.stream, err = pluginv1.NewActionServiceClient(p.conn).Answers(ctx,
		&pluginv1.AnswersRequest{Instance: i.name, Cursor: cursor}, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		err = s.failed(err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// AnswerStream is an open stream of answers. Nothing is read ahead of Recv but what the
// transport's window holds: a plugin that sends faster than it is read waits.
type AnswerStream struct {
	instance *instance
	process  *process
	ctx      context.Context // the stream's
	cancel   context.CancelFunc
	stream   grpc.ServerStreamingClient[pluginv1.AnswersResponse]
	closed   sync.Once
}

// Recv waits for the next answer. It returns io.EOF when the plugin has ended the stream
// in good order, and otherwise an *Error; after either the stream is over. It is for one
// goroutine.
func (s *AnswerStream) Recv() (PersonAnswer, error) {
	m, err := s.stream.Recv()
	if err != nil {
		return PersonAnswer{}, s.failed(err)
	}
	i := s.instance
	if n := len(m.GetCursor()); n > maxAnswerCursor {
		return PersonAnswer{}, s.failed(i.breach("sent an answer with a cursor of %d bytes, more than %d", n, maxAnswerCursor))
	}
	if i.scrub.holds(string(m.GetCursor())) {
		return PersonAnswer{}, s.failed(i.breach("sent a cursor that holds a secret"))
	}
	return PersonAnswer{
		Key: answerKey(m.GetIdempotencyKey()), Option: i.scrub.message(m.GetOption()), Reason: i.scrub.message(m.GetReason()),
		User: i.scrub.message(m.GetUser()), At: timeModel(m.GetAt()), Cursor: m.GetCursor(),
	}, nil
}

// answerKey is empty for what is no key of ours.
func answerKey(key string) string {
	if len(key) > maxAnswerKey {
		return ""
	}
	for _, c := range []byte(key) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return key
}

// failed cuts the stream and says why it is over.
func (s *AnswerStream) failed(err error) error {
	err = s.instance.explain(s.ctx, s.process, err)
	s.cancel()
	if errors.Is(err, ErrTooLarge) {
		err = s.instance.breach("sent an answer of more than %d KiB", maxAnswer>>10)
	}
	if !errors.Is(err, io.EOF) {
		s.instance.tally.failed(answering, faultIn(err), reasonIn(err))
	}
	return err
}

// Close cuts the stream. It may be called more than once, and while Recv waits.
func (s *AnswerStream) Close() {
	s.closed.Do(func() {
		s.cancel()
		s.instance.tally.flying.Add(-1)
	})
}
