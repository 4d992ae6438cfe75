package decide

import (
	"bytes"
	"math"
)

// keptRules is what rules over several knew before the end of a run settled all: another
// run goes on from there, since what comes in it may be of the same time.
type keptRules struct {
	Rules   map[string]savedRule `json:"rules"`
	Waiting []waiter             `json:"waiting"` // in the order of their coming
	Windows []byte               `json:"windows"`
}

// settleAll settles all, and keeps what was before.
func (m *Machine) settleAll() {
	s := &m.several
	s.moved = true
	if s.kept != nil || len(s.rules) == 0 {
		return
	}
	var windows bytes.Buffer
	if err := s.windows.Snapshot(&windows); err != nil {
		return // of memory there is no error
	}
	s.kept = &keptRules{Rules: m.savedRules(), Windows: windows.Bytes()}
	for _, w := range m.inTurn() {
		s.kept.Waiting = append(s.kept.Waiting, *w)
	}
}

// goOn takes back what the end of the last run has settled. What was reported stays, and
// is a repeat when it is reported again.
func (m *Machine) goOn() error {
	s := &m.several
	if s.kept == nil {
		return nil
	}
	kept := s.kept
	s.kept = nil
	if err := s.windows.Restore(bytes.NewReader(kept.Windows)); err != nil {
		return err
	}
	m.restoreRules(kept.Rules)
	for _, w := range m.inTurn() {
		m.stopWaiting(w)
	}
	clear(s.queues)
	for _, w := range kept.Waiting {
		m.toWait(&waiter{ID: w.ID, Source: w.Source, At: w.At, Number: w.Number, Key: w.Key})
	}
	for _, w := range m.inTurn() {
		m.lookAt(w)
	}
	return nil
}

// mostAtEnd bounds how many signals of experimental rules an end remembers. One beyond it
// counts twice if the next run reports it as well.
const mostAtEnd = 100_000

// toldAtEnd tells whether a signal of an experimental rule was reported by the end of a run
// and not since, and remembers that one is now.
func (m *Machine) toldAtEnd(id string) bool {
	s := &m.several
	before := s.atEnd[id]
	switch {
	case !m.ended:
		delete(s.atEnd, id) // it is in the windows now, which know it when it comes again
	case len(s.atEnd) < mostAtEnd:
		s.atEnd[id] = true
	}
	return before
}

func (m *Machine) toWait(w *waiter) {
	m.several.waiting[w.ID] = w
	m.enqueue(w)
}

func (m *Machine) savedRules() map[string]savedRule {
	saved := map[string]savedRule{}
	for address, r := range m.several.by {
		saved[address] = savedRule{r.complete, r.since}
	}
	return saved
}

func (m *Machine) restoreRules(saved map[string]savedRule) {
	for address, s := range saved {
		if r := m.several.by[address]; r != nil {
			r.complete, r.since = s.Complete, s.Since
		}
	}
}

// completeAtEnd is when all is settled that a rule reads: beyond everything.
func (m *Machine) completeAtEnd(r *ruleState) (at int64, known bool) {
	newest := int64(math.MinInt64)
	for _, d := range r.reach {
		if k := m.marks[d]; k != nil {
			newest = max(newest, k.At)
		}
	}
	for _, from := range r.below {
		newest = max(newest, from.complete)
	}
	if newest == math.MinInt64 {
		return 0, false
	}
	return newest + int64(r.Watch.Within) + int64(max(r.Watch.Every, r.Watch.Within)), true
}
