package decide

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// clock is the time that has passed, as ticks told it, for deadlines: no change of the
// machine's clock makes it go faster or stand still. Within one life of the machine it
// is the uptime that counts. From one life to the next only the machine's clock knows,
// which may have been wrong before or after: of the two times that it may have been,
// since the last tick and by what the clock should show now, the shorter counts, and
// never less than nothing.
type clock struct {
	Boot   string        `json:"boot,omitempty"`
	Uptime time.Duration `json:"uptime,omitempty"`
	// Wall is the machine's clock at the last tick; Expected is what it would have
	// shown had nobody set it since the life of the machine began.
	Wall     time.Time     `json:"wall,omitzero"`
	Expected time.Time     `json:"expected,omitzero"`
	Elapsed  time.Duration `json:"elapsed,omitempty"`
}

func (c *clock) tick(t *model.Tick) {
	if t.Boot == "" && t.Wall.IsZero() {
		return // it tells nothing
	}
	wall := t.Wall.UTC()
	switch {
	case c.Wall.IsZero():
		c.Expected = wall
	case t.Boot != "" && t.Boot == c.Boot:
		passed := max(t.Uptime-c.Uptime, 0)
		c.Elapsed += passed
		c.Expected = c.Expected.Add(passed)
	default:
		c.Elapsed += max(min(wall.Sub(c.Wall), wall.Sub(c.Expected)), 0)
		c.Expected = wall
	}
	c.Boot, c.Uptime, c.Wall = t.Boot, t.Uptime, wall
}
