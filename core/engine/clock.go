package engine

import (
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
)

// clock is the time that goes into messages: UTC, and never back. Where the machine's
// clock was put back, or stands before what was decided already, time passes at half
// speed until the machine's has come up: so that whatever waits for a time to come
// waits at most twice as long.
type clock struct {
	machine func() time.Time // with a monotonic reading

	mu   sync.Mutex
	last time.Time // given out
	seen time.Time // of the machine, then
}

func newClock(machine func() time.Time, notBefore time.Time) *clock {
	return &clock{machine: machine, last: notBefore.UTC(), seen: machine()}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.machine()
	passed := max(seen.Sub(c.seen), 0)
	if wall := fault.Wall(seen).UTC(); wall.After(c.last) {
		c.last = wall
	} else {
		c.last = c.last.Add(passed / 2)
	}
	c.seen = seen
	return c.last
}

// ahead is how far the machine's clock stands before the time given out.
func (c *clock) ahead() time.Duration {
	now := c.now()
	return now.Sub(fault.Wall(c.machine()))
}
