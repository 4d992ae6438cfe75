package decide

import (
	"container/heap"
	"math"
	"time"
)

// awakeMost is how much of the time between two inputs counts as time in which sources
// could have reported: after a longer one, Kelpie has been down.
const awakeMost = int64(2 * time.Minute)

// advance moves every rule on to where what it reads is complete, and has those signals
// fed that no earlier one can take the place of any more. A rule that reads what is on
// its way in this input stays where it is until that has come.
func (m *Machine) advance() {
	for _, r := range m.several.rules {
		r.moving = false
		for _, from := range r.below {
			r.moving = r.moving || from.moving
		}
		if r.moving {
			continue
		}
		if at, known := m.completeOf(r); known && at > r.complete {
			r.complete, r.look = at, true
			if !r.Single {
				before := len(m.several.reports)
				m.reported(m.several.windows.Pass(r.Address, time.Unix(0, at).UTC()))
				r.moving = len(m.several.reports) > before
			}
		}
		m.settleRule(r)
	}
}

// settleRule has the signals of a rule over several fed that will not become earlier.
func (m *Machine) settleRule(r *ruleState) {
	s := &m.several
	q := s.queues[r.Address]
	look := r.look
	r.look = false
	if r.Single || q == nil || !look {
		return
	}
	var stay []waitEntry // until they are fed
	for len(*q) > 0 && (*q)[0].at <= r.complete {
		e := heap.Pop(q).(waitEntry)
		w := e.w
		if w.gone || w.At != e.at {
			continue
		}
		stay = append(stay, e)
		if !w.ready && w.Ask == "" {
			m.feedNext(w)
			r.moving = true
		}
	}
	for _, e := range stay {
		heap.Push(q, e)
	}
}

// completeOf says up to which time all has come that a rule reads. Sources are as far as
// their newest event, less the lateness; one that is quiet goes with decide's own time,
// and holds back nobody else.
func (m *Machine) completeOf(r *ruleState) (at int64, known bool) {
	if m.ended {
		at, known = m.completeAtEnd(r)
		return m.beforeWaiting(r, at), known
	}
	lateness := int64(m.settings.Correlate.Lateness)
	patience := lateness + min(int64(r.Watch.Within), lateness)
	lowest, quiet := int64(math.MaxInt64), int64(math.MinInt64)
	r.silent = true
	for _, d := range r.detectors {
		k := m.marks[d]
		r.silent = r.silent && k == nil
		switch {
		case k == nil || k.At == unmarked:
			if m.awake-r.since < patience {
				r.silent = false
				return 0, false // it may be a slow one
			}
		case m.awake-k.Awake >= patience:
			quiet = max(quiet, k.At+(m.awake-k.Awake)-lateness)
		default:
			lowest = min(lowest, k.At-lateness)
		}
	}
	at, known = lowest, lowest != math.MaxInt64
	if !known {
		at, known = quiet, quiet != math.MinInt64
	}
	for _, from := range r.below {
		r.silent = r.silent && from.silent
		if from.silent {
			continue
		}
		if from.complete == math.MinInt64 {
			return 0, false
		}
		if !known || from.complete < at {
			at, known = from.complete, true
		}
	}
	return m.beforeWaiting(r, at), known
}

// beforeWaiting bounds how far a rule has come by what waits to be read.
func (m *Machine) beforeWaiting(r *ruleState, at int64) int64 {
	for _, address := range r.signals {
		if first, waits := m.several.queues[address].first(); waits {
			at = min(at, first-1)
		}
	}
	return at
}
