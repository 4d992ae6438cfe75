package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// nextEnd remembers what due works out, until a hold or question changes or time passes.
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
	for _, q := range m.openInOrder() {
		m.expireQuestion(q)
	}
}

// expireQuestion begins the time of a question that was delivered since the last tick, and
// looks whether it is over, or that of who is asked now. However long nothing was told of
// the time, each level has its own.
func (m *Machine) expireQuestion(q *questionState) {
	switch {
	case q.AcceptedAt.IsZero():
		return
	case q.Wait > 0 && q.Ends == 0:
		q.Ends = m.clock.Elapsed + q.Wait
		m.changedQuestion(q)
	case q.Wait > 0 && m.clock.Elapsed >= q.Ends:
		m.closeQuestion(q, model.QuestionTimedOut)
		m.considerFirst(q.Case)
		return
	}
	if q.Ends > 0 {
		if until := m.at.Add(q.Ends - m.clock.Elapsed); until.Sub(q.Until).Abs() > untilSlack {
			q.Until = until
			m.changedQuestion(q)
		}
	}
	switch {
	case q.Last():
	case q.Next == 0:
		q.Next = m.clock.Elapsed + q.Levels[q.Level+1].After
		m.changedQuestion(q)
	case m.clock.Elapsed >= q.Next:
		m.nextLevel(q)
		m.considerFirst(q.Case)
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

// nextEnd is how long after the last tick a hold, question or pause has to be looked at,
// or something to be told that is gathered; nil: there is nothing that ends.
func (m *Machine) nextEnd() *time.Duration {
	if m.end.known {
		return m.end.after
	}
	var next *time.Duration
	due := func(at time.Duration) { // of what has not begun: now
		if left := max(at-m.clock.Elapsed, 0); next == nil || left < *next {
			next = &left
		}
	}
	for _, h := range m.holds {
		for i := range h.Owners {
			o := &h.Owners[i]
			if !o.Wants() || o.After == 0 {
				continue
			}
			due(o.Ends)
		}
		if m.stuck(h) {
			due(h.Again)
		}
	}
	for _, q := range m.open {
		if q.AcceptedAt.IsZero() {
			continue
		}
		if q.Wait > 0 {
			due(q.Ends)
		}
		if !q.Last() {
			due(q.Next)
		}
	}
	for _, p := range m.pauses {
		if p.For > 0 {
			due(p.Ends)
		}
	}
	if m.pause.For > 0 {
		due(m.pause.Ends)
	}
	for _, g := range m.gathering {
		if left := g.left(m); next == nil || left < *next {
			next = &left
		}
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
