package sdk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
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

	mu      sync.Mutex
	closing chan struct{} // closed when nothing may begin any more
	calls   sync.WaitGroup
	ended   chan struct{} // closed when Close has returned
	once    sync.Once

	troubled time.Time // since when Health complains
}

func newInstance(id string, c *connector, log *slog.Logger, scrub *secrets) *instance {
	return &instance{
		id: id, connector: c, log: log, scrub: scrub, value: c.New(),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
}

// enter counts a call in, unless the instance is closing. The context that it returns
// has a deadline.
func (i *instance) enter(ctx context.Context) (context.Context, func(), error) {
	if !i.begin() {
		return nil, nil, inputError(codes.NotFound, fmt.Sprintf("instance %q is closing", i.id))
	}
	if _, ok := ctx.Deadline(); ok {
		return ctx, i.calls.Done, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	return ctx, func() { cancel(); i.calls.Done() }, nil
}

// stream counts a call in that lasts until the instance closes.
func (i *instance) stream(ctx context.Context) (context.Context, func(), error) {
	if !i.begin() {
		return nil, nil, inputError(codes.NotFound, fmt.Sprintf("instance %q is closing", i.id))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-i.closing:
			cancel(errClosing)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-watched; i.calls.Done() }, nil
}

func (i *instance) begin() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.closing:
		return false
	default:
	}
	i.calls.Add(1)
	return true
}

// close lets no further call in, ends the streams, waits for what runs and closes the
// value, and what the instance had replaced. It may be called more than once; each
// call returns when all that has happened.
func (i *instance) close() {
	i.once.Do(func() {
		defer close(i.ended)
		i.mu.Lock()
		close(i.closing)
		i.mu.Unlock()
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
