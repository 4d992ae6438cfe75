package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// nextEnd remembers what due works out, until a hold changes or time passes.
type nextEnd struct {
	known bool
	after *time.Duration
}

// expire lets go whose time is over, and begins the time of those who came since the
// last tick: nobody's is shorter than what was asked for.
func (m *Machine) expire() {
	m.end.known = false
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		h, over := m.holds[id], false
		for i := range h.Owners {
			o := &h.Owners[i]
			switch {
			case !o.Wants() || o.After == 0:
			case o.Ends == 0:
				o.Ends = m.clock.Elapsed + o.After
				m.showEnd(h, o)
			case m.clock.Elapsed >= o.Ends:
				m.letGo(h, o, "", fmt.Sprintf("its time of %s is over", span(o.After)))
				over = true
			default:
				m.showEnd(h, o)
			}
		}
		if over {
			m.look(h)
		}
	}
}

// untilSlack is how wrong the end that is shown may be before it is written anew.
const untilSlack = 30 * time.Second

// showEnd says when an owner's time is over by the clock as it goes now.
func (m *Machine) showEnd(h *holdState, o *model.Owner) {
	until := m.at.Add(o.Ends - m.clock.Elapsed)
	if until.Sub(o.Until).Abs() > untilSlack {
		o.Until = until
		m.changedHold(h)
	}
}

// nextEnd is how long after the last tick a hold or pause has to be looked at; nil: none
// has an end.
func (m *Machine) nextEnd() *time.Duration {
	if m.end.known {
		return m.end.after
	}
	var next *time.Duration
	sooner := func(left time.Duration) {
		if next == nil || left < *next {
			next = &left
		}
	}
	for _, h := range m.holds {
		for i := range h.Owners {
			if o := &h.Owners[i]; o.Wants() && o.After != 0 {
				sooner(max(o.Ends-m.clock.Elapsed, 0)) // of one whose time has not begun: now
			}
		}
		if m.stuck(h) {
			sooner(max(h.Again-m.clock.Elapsed, 0))
		}
	}
	for _, p := range m.pauses {
		if p.For > 0 {
			sooner(m.left(p))
		}
	}
	if m.pause.For > 0 {
		sooner(m.left(m.pause))
	}
	m.end = nextEnd{known: true, after: next}
	return next
}

// span is a duration without the units that are nought: "4h", "1m30s".
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
