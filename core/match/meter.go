package match

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// Use is what a rule or pipeline has taken of the events that were measured.
type Use struct {
	Of string `json:"of"` // address
	// Events that were measured, one of MeasuredOf that came to it.
	Events  uint64 `json:"events"`
	Matched uint64 `json:"matched"` // of these
	// Took is the time of them all. A pipeline's is that of its conditions and its map.
	Took time.Duration `json:"took_ns"`
}

// Each is the time that one event takes.
func (u *Use) Each() time.Duration {
	if u.Events == 0 {
		return 0
	}
	return u.Took / time.Duration(u.Events)
}

// MeasuredOf is of how many events one is measured, since to read the clock takes as long
// as a small condition. It is prime, so that it goes through what comes in turns.
const MeasuredOf = 61

// Meter adds up what workers measure. It is safe for concurrent use. A nil Meter measures
// nothing.
type Meter struct {
	clock time.Duration // what reading it twice takes
	mu    sync.Mutex
	uses  map[string]*Use
}

// NewMeter has measured nothing yet.
func NewMeter() *Meter {
	m := &Meter{clock: math.MaxInt64, uses: map[string]*Use{}}
	for range 100 {
		m.clock = min(m.clock, time.Since(time.Now()))
	}
	return m
}

func (m *Meter) add(of string, took time.Duration, matched bool) {
	took = max(took-m.clock, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.uses[of]
	if u == nil {
		u = &Use{Of: of}
		m.uses[of] = u
	}
	u.Events++
	u.Took += took
	if matched {
		u.Matched++
	}
}

// Uses are all that was measured, by address.
func (m *Meter) Uses() []Use {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Use, 0, len(m.uses))
	for _, u := range m.uses {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Use) int { return cmp.Compare(a.Of, b.Of) })
	return all
}

// lap times the parts of one event's way, one after another. A nil lap times nothing.
type lap struct {
	meter *Meter
	since time.Time
}

// lap of the next event, if it is one of those that are measured.
func (w *Worker) lap() *lap {
	if w.meter == nil {
		return nil
	}
	if w.unmeasured++; w.unmeasured < MeasuredOf {
		return nil
	}
	w.unmeasured = 0
	w.measured.meter = w.meter
	return &w.measured
}

func (l *lap) begin() {
	if l != nil {
		l.since = time.Now()
	}
}

// end enters the part that ends now, and begins the next.
func (l *lap) end(of string, matched bool) {
	if l != nil {
		l.meter.add(of, time.Since(l.since), matched)
		l.begin()
	}
}
