package decide

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
)

// signalState is what is remembered of a signal beside what the index holds.
type signalState struct {
	position  model.Position
	revision  uint64              // of its revision's hash
	published correlate.SignalNum // the earliest of the case that the store has it in, +1; 0: none
	rule      uint32
	source    uint32
	title     uint32
	technique uint32 // of all its techniques, joined
	severity  uint8
	stopped   uint8
	opened    bool // its case id was ever in use
}

// Whether the control stopped it, as it is kept.
const (
	stoppedUnknown = iota
	stoppedNo
	stoppedYes
)

// maxNotes bounds SourceState.Notes.
const maxNotes = 20

// match takes the first result for each message of EVENTS.
func (m *Machine) match(r *model.MatchResult) error {
	if r.Source == "" { // it stands for a message that a power cut has taken
		m.mark(r.Seq)
		return nil
	}
	row := m.ledgerOf(r.Source)
	if r.Seq <= m.low || m.above[r.Seq] {
		row.Redelivered++
		return nil
	}
	m.mark(r.Seq)
	m.count(r, row)
	for i := range r.Signals {
		if err := m.signal(&r.Signals[i], row); err != nil {
			return err
		}
	}
	return nil
}

// mark remembers that a message of EVENTS is decided: all up to a low mark, and a
// set above it.
func (m *Machine) mark(seq uint64) {
	m.changed.flags = true
	if seq > m.low {
		m.above[seq] = true
	}
	for m.above[m.low+1] {
		delete(m.above, m.low+1)
		m.low++
	}
}

func (m *Machine) ledgerOf(source string) *Ledger {
	row := m.ledger[source]
	if row == nil {
		row = &Ledger{Source: source, Hour: m.at.Truncate(time.Hour)}
		m.ledger[source] = row
	}
	m.changed.ledger[ledgerKey{source, row.Hour.Unix()}] = row
	return row
}

func (m *Machine) count(r *model.MatchResult, row *Ledger) {
	c := &r.Counts
	row.Matched += uint64(c.Matched)
	row.Fact += uint64(c.Fact)
	row.Passed += uint64(c.Passed)
	n := uint64(c.Matched + c.Fact + c.Passed)
	n += tally(&row.Ignored, c.Ignored)
	n += tally(&row.Rejected, c.Rejected)
	row.Received += n

	s := m.counts[r.Source]
	if s == nil {
		s = &SourceState{Source: r.Source}
		m.counts[r.Source] = s
	}
	m.changed.sources[r.Source] = s
	s.Counted += n
	switch {
	case r.Seq > s.LastSeq && r.Total < s.Total:
		s.note(fmt.Sprintf("message %d: the running total went back from %d to %d", r.Seq, s.Total, r.Total))
	case r.Seq < s.LastSeq && r.Total > s.Total:
		s.note(fmt.Sprintf("message %d: its running total %d is beyond the %d of message %d", r.Seq, r.Total, s.Total, s.LastSeq))
	}
	if r.Seq > s.LastSeq {
		s.LastSeq, s.Total = r.Seq, r.Total
	}
	if s.Counted > s.Total {
		s.note(fmt.Sprintf("message %d: %d events are counted, its running total is %d", r.Seq, s.Counted, s.Total))
	}
}

func tally(into *map[string]int, from map[string]int) (sum uint64) {
	if *into == nil && len(from) > 0 {
		*into = map[string]int{}
	}
	for name, n := range from {
		(*into)[name] += n
		sum += uint64(n)
	}
	return sum
}

func (s *SourceState) note(text string) {
	if len(s.Notes) < maxNotes {
		s.Notes = append(s.Notes, text)
	}
}

// signal takes a new signal or a later revision. An equal revision, or one that is
// not later in EVENTS, is a repeat.
func (m *Machine) signal(in *model.Signal, row *Ledger) error {
	state := m.stateOf(in)
	if s, known := m.index.Signal(in.ID); known {
		old := &m.signals[s]
		if old.revision == state.revision || !in.Position.After(old.position) {
			row.Repeated++
			return nil
		}
		row.Revised++
		state.published, state.opened = old.published, old.opened
		shrunk := state.severity < old.severity || state.stopped != old.stopped || state.title != old.title ||
			state.technique != old.technique || state.rule != old.rule
		*old = state
		m.grouped(m.index.Put(in.ID, in.Time, in.Observables), shrunk)
	} else {
		row.Signals++
		e := m.index.Put(in.ID, in.Time, in.Observables)
		if int(e.Signal) != len(m.signals) {
			return fmt.Errorf("signal %s is number %d of %d", in.ID, e.Signal, len(m.signals))
		}
		m.signals = append(m.signals, state)
		m.grouped(e, false)
	}
	s, _ := m.index.Signal(in.ID)
	m.changed.signals[s] = *in
	for _, r := range m.index.Refs(s) {
		m.ask(r.Value, in.ID, in.Time)
	}
	return nil
}

func (m *Machine) stateOf(in *model.Signal) signalState {
	sum := sha256.Sum256([]byte(in.Revision))
	state := signalState{
		position:  in.Position,
		revision:  binary.BigEndian.Uint64(sum[:]),
		rule:      m.texts.number(in.Rule),
		source:    m.texts.number(in.Source),
		title:     m.texts.number(in.Title),
		technique: m.texts.number(joinTechniques(in.Techniques)),
		severity:  uint8(min(max(in.Severity, 0), 100)),
	}
	if in.Stopped != nil {
		state.stopped = stoppedNo
		if *in.Stopped {
			state.stopped = stoppedYes
		}
	}
	return state
}

func joinTechniques(techniques []string) string {
	techniques = slices.Clone(techniques)
	slices.Sort(techniques)
	return strings.Join(slices.Compact(techniques), "\n")
}

func splitTechniques(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "\n")
}
