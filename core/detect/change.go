package detect

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// change is a set of instances that takes the place of the one before.
type change struct {
	instances []Instance
	replaced  []string // addresses whose sessions begin anew
	done      chan struct{}
}

// keeper keeps the sessions of one instance.
type keeper struct {
	leave context.CancelFunc // asks it to end in good order
	done  chan struct{}
}

// errNotRunning means that Run does not run, or has a source's end to wait for.
var errNotRunning = errors.New("sessions are not kept now")

// Apply keeps the sessions of these instances from now on. Those of instances that are
// not among them, or are replaced, end in good order: the plugin is told to stop, and
// what was on its way is logged and acknowledged. Those of new and of replaced ones
// begin after that, where the log says; all others go on undisturbed. It returns when
// that has happened, or ctx has ended, and then it may happen yet. Run must be running,
// without Once.
func (d *Detector) Apply(ctx context.Context, instances []Instance, replaced []string) error {
	if d.Settings.Once {
		return errNotRunning
	}
	c := change{instances: instances, replaced: replaced, done: make(chan struct{})}
	select {
	case d.changes() <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Detector) changes() chan change {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked == nil {
		d.asked = make(chan change)
	}
	return d.asked
}

// apply ends and begins sessions. Run alone calls it.
func (d *Detector) apply(ctx context.Context, keepers map[string]*keeper, c change) {
	wanted := map[string]bool{}
	for _, in := range c.instances {
		wanted[in.Address] = true
	}
	var leaving []*keeper
	for address, k := range keepers {
		if !wanted[address] || slices.Contains(c.replaced, address) {
			k.leave()
			leaving = append(leaving, k)
			delete(keepers, address)
		}
	}
	for _, k := range leaving {
		<-k.done
	}
	d.mu.Lock()
	d.instances = append([]Instance{}, c.instances...)
	for address := range d.reports {
		if !wanted[address] {
			delete(d.reports, address)
		}
	}
	d.mu.Unlock()
	for _, in := range c.instances {
		if keepers[in.Address] == nil {
			stay, leave := context.WithCancel(ctx)
			k := &keeper{leave: leave, done: make(chan struct{})}
			keepers[in.Address] = k
			go func() {
				defer close(k.done)
				defer leave()
				d.keep(ctx, stay, in)
			}()
		}
	}
}

// stopping tells the plugin to stop when stay ends, and cuts the session if it goes on
// for too long. The caller calls end when the session is over.
func stopping(ctx, stay context.Context, plugin Session, cut context.CancelFunc) (end func()) {
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-stay.Done():
		}
		_ = plugin.Stop() // one that is gone already has ended
		limit := time.NewTimer(stopLimit)
		defer limit.Stop()
		select {
		case <-over:
		case <-ctx.Done():
		case <-limit.C:
			cut()
		}
	})
	return func() {
		close(over)
		watching.Wait()
	}
}
