package connectortest

import (
	"sync"
	"time"
)

// Clock is a time that a test moves. A connector that looks at the time has a field for
// it, Now func() time.Time, which is time.Now outside of tests.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{at: at} }

// Now is its time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves it on; by less than 0: back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
