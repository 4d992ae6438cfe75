package host

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// instance is one configured block and the process that serves it.
type instance struct {
	Instance
	scrub *scrubber
	owner *supervisor

	// Guarded by owner.mu.
	state   State
	since   time.Time
	trouble string
}

// call runs do against the process that serves the instance, once that is up. The
// earlier of ctx, the instance's timeout and notAfter (if not zero) is the deadline of
// all of it.
func (i *instance) call(ctx context.Context, notAfter time.Time, do func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, i.Timeout)
	defer cancel()
	if !notAfter.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, notAfter)
		defer stop()
	}
	p, err := i.owner.acquire(ctx, i)
	if err != nil {
		return err
	}
	defer p.calls.leave()
	return i.explain(ctx, p, do(ctx, p.conn))
}
