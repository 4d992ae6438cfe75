package host

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// instance is one configured block and the process that serves it.
type instance struct {
	Instance
	// name in requests: the address and, where the Host had one of that address before,
	// a number, since a process may serve both for a while.
	name  string
	scrub *scrubber
	owner *supervisor
	calls traffic
	tally *tally // of its address
	need  allowance
	// unclear is what of its permissions makes no sense.
	unclear []string

	// Guarded by owner.mu. Stopped: it has left the process, and nothing is called any
	// more.
	state   State
	since   time.Time
	trouble string
}

// call runs do against the process that serves the instance, once that is up. The
// earlier of ctx, the instance's timeout and notAfter (if not zero) is the deadline of
// all of it.
func (i *instance) call(ctx context.Context, m method, notAfter time.Time, do func(context.Context, *grpc.ClientConn) error) error {
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
	defer i.leave(p)
	i.tally.flying.Add(1)
	defer i.tally.flying.Add(-1)
	began := time.Now()
	err = do(ctx, p.conn)
	i.tally.took(m, time.Since(began))
	return i.explain(ctx, p, err)
}

// leave ends a call that acquire let in.
func (i *instance) leave(p *process) {
	i.calls.leave()
	p.calls.leave()
}
