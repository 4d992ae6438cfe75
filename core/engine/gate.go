package engine

import (
	"context"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
)

// gate holds match back while decide's memory is full of what waits for an answer, a
// step or a limit: events wait in the log then, and when that is full at their sources.
// Answers and outcomes come in all the same, so that it opens again.
type gate struct {
	mu    sync.Mutex
	since time.Time     // it closed; zero: it is open
	open  chan struct{} // closed while it is open; nil: it never closed
}

// The gate closes at a load and opens again below another, so that it does not flap.
const (
	gateCloses = 1.0
	gateOpens  = 0.9
)

func (g *gate) tell(load decide.Memory, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.since.IsZero() && load.Load >= gateCloses:
		g.since, g.open = now, make(chan struct{})
	case !g.since.IsZero() && load.Load < gateOpens:
		close(g.open)
		g.since = time.Time{}
	}
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open, closed := g.open, !g.since.IsZero()
	g.mu.Unlock()
	if !closed {
		return nil
	}
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) troubles() []api.Trouble {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() {
		return nil
	}
	return []api.Trouble{{
		What:  "too many cases wait for answers, steps or limits: no more are opened until some are done",
		Since: g.since, Waits: "new events, in the log and at their sources",
		Do: "look at the enrichments and actions that do not answer; it goes on by itself",
	}}
}
