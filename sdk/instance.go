package sdk

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// callLimit bounds a call that the core gave no deadline.
const callLimit = 5 * time.Minute

// instance is a configured connector, and counts the calls that are in it.
type instance struct {
	id        string
	connector *connector
	value     Instance
	log       *slog.Logger
	scrub     *secrets
	// before is what this one replaced; it may still be closing.
	before *instance

	closing chan struct{} // closed when the streams are to end
	calls   sync.WaitGroup
	ended   chan struct{} // closed when Close has returned
	once    sync.Once

	mu       sync.Mutex
	troubled time.Time // since when Health complains
}

func newInstance(id string, c *connector, log *slog.Logger, scrub *secrets) *instance {
	return &instance{
		id: id, connector: c, log: log, scrub: scrub, value: c.New(),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
}

func (i *instance) leave() { i.calls.Done() }

// bounded gives a call a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callLimit)
}

// whileOpen is the context of a stream: it ends when the instance closes. The caller
// must end it, and then calls wait.
func (i *instance) whileOpen(ctx context.Context) (_ context.Context, end context.CancelCauseFunc, wait func()) {
	ctx, end = context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-i.closing:
			end(errClosing)
		case <-ctx.Done():
		}
	}()
	return ctx, end, func() { <-watched }
}

// close ends the streams, waits for the calls and closes the value, and what the
// instance had replaced. The instance is out of the table: no call comes any more.
// It may be called more than once; each call returns when all that has happened.
func (i *instance) close() {
	i.once.Do(func() {
		defer close(i.ended)
		close(i.closing)
		i.calls.Wait()
		i.closeValue()
		if i.before != nil {
			i.before.close()
			i.before = nil
		}
	})
	<-i.ended
}

// closeValue calls the author's Close, whose panic or error ends in the log.
func (i *instance) closeValue() {
	closer, ok := i.value.(io.Closer)
	if !ok {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			logPanic(i.log, "Close", r)
		}
	}()
	if err := closer.Close(); err != nil {
		i.log.Warn("closing the instance", "error", err)
	}
}
