package enrich

import (
	"context"
	"time"
)

// change is a set of sources that takes the place of the one before.
type change struct {
	settings Settings
	done     chan struct{}
}

// running is what works by the settings in force: a lane for each source, and the
// shadows, by address.
type running struct {
	lanes   map[string]*lane
	shadows map[string]*shadow
	// memory is of the sources, aside of the shadows: these push nothing out of the
	// cache of what counts.
	memory, aside *memory
}

// lane is one source's queue, running.
type lane struct {
	queue *queue
	leave context.CancelFunc
	done  chan struct{}
}

// Apply answers for these sources from now on. One that was there before keeps what it
// has queued and under way, and goes on by its new settings; the askers of one that is
// gone are told so. It returns when that holds, or ctx has ended, and then it may come
// to hold yet. Run must be running.
func (e *Enricher) Apply(ctx context.Context, s Settings) error {
	c := change{settings: s, done: make(chan struct{})}
	select {
	case e.changes() <- c:
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

func (e *Enricher) changes() chan change {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked == nil {
		e.asked = make(chan change)
	}
	return e.asked
}

// apply begins and ends queues, and hands out settings. Run alone calls it.
func (e *Enricher) apply(ctx context.Context, r *running, s Settings) {
	fresh := e.lanes(r, s)
	e.shade(ctx, r, s) // before any of them asks anything
	for _, l := range fresh {
		var stay context.Context
		stay, l.leave = context.WithCancel(ctx)
		go func() {
			defer close(l.done)
			defer l.leave()
			l.queue.run(stay)
		}()
	}
	e.Wake()
}

// shade begins and ends shadows, and has the sources' queues tell those that there are.
// What the queues have under way goes on as it was.
func (e *Enricher) shade(ctx context.Context, r *running, s Settings) {
	wanted, ears := map[string]bool{}, map[string][]ear{}
	var fresh, leaving []*shadow
	for _, source := range s.Shadows {
		sh := r.shadows[source.Address]
		if sh != nil && sh.first() != source.Shadow {
			leaving = append(leaving, sh)
			sh = nil
		}
		if sh == nil {
			sh = newShadow(e, source, s.Own, r.aside)
			fresh = append(fresh, sh)
			r.shadows[source.Address] = sh
		} else {
			sh.settle(source, s.Own)
		}
		wanted[source.Address] = true
		ears[source.Shadow] = append(ears[source.Shadow], ear{shadow: sh, first: true})
	}
	for address, sh := range r.shadows {
		if !wanted[address] {
			leaving = append(leaving, sh)
			delete(r.shadows, address)
		}
	}
	for address, l := range r.lanes {
		list := ears[address]
		l.queue.ears.Store(&list)
	}
	e.mu.Lock()
	e.shadows = nil
	for _, source := range s.Shadows {
		e.shadows = append(e.shadows, r.shadows[source.Address])
	}
	e.mu.Unlock()
	for _, sh := range leaving {
		sh.leave()
	}
	for _, sh := range leaving {
		<-sh.done
	}
	for _, sh := range fresh {
		var stay context.Context
		stay, sh.leave = context.WithCancel(ctx)
		go func() {
			defer close(sh.done)
			defer sh.leave()
			sh.run(stay)
		}()
	}
}

// lanes ends those of the sources that are gone, and returns those that are to begin.
func (e *Enricher) lanes(r *running, settings Settings) (fresh []*lane) {
	m, lanes, sources := r.memory, r.lanes, settings.Sources
	wanted := map[string]bool{}
	for _, s := range sources {
		wanted[s.Address] = true
	}
	var leaving []*lane
	e.mu.Lock()
	e.sources = append([]Source{}, sources...)
	if e.stats == nil {
		e.stats, e.wakes = map[string]Stat{}, map[string]chan struct{}{}
	}
	for address, l := range lanes {
		if !wanted[address] {
			l.leave()
			leaving = append(leaving, l)
			delete(lanes, address)
			delete(e.wakes, address)
			delete(e.stats, address)
		}
	}
	for _, s := range sources {
		l := lanes[s.Address]
		if l == nil {
			l = &lane{queue: newQueue(e, s, settings.Own, m), done: make(chan struct{})}
			lanes[s.Address], e.wakes[s.Address] = l, l.queue.wake
			fresh = append(fresh, l)
			continue
		}
		l.queue.next.Store(&terms{s, settings.Own})
	}
	e.mu.Unlock()
	// Their calls are cut, so that this is soon.
	for _, l := range leaving {
		<-l.done
	}
	return fresh
}

// settle goes on by other settings.
func (q *queue) settle(t terms) {
	before, s := q.source, t.source
	s.BatchLimit = max(s.BatchLimit, 1)
	q.source, q.own = s, t.own
	if s.Patience != before.Patience {
		q.hurry()
	}
	if s.PerMinute != before.PerMinute || s.PerDay != before.PerDay || s.Key != before.Key {
		// What held it back may be no more.
		q.heldUntil, q.heldReason, q.stat.Limited = time.Time{}, "", time.Time{}
	}
}

// hurry gives every asker that waits the patience that holds now. Their order stays, as
// it is that of asking.
func (q *queue) hurry() {
	q.deadlines.keep(func(d *deadline) bool {
		for _, a := range d.lookup.asks {
			if a.ID == d.ask {
				d.at = a.AskedAt.Add(q.source.Patience)
				return !d.lookup.gone
			}
		}
		return false
	})
}
