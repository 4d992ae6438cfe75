package decide

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

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

// What a signal is to what is known.
const (
	newSignal = iota
	revisedSignal
	repeatedSignal
	experimentalSignal
)

// signal takes a new signal or a later revision. An equal revision, or one that is
// not later in EVENTS, is a repeat. What a rule over several reports has no place there:
// it comes in its order.
func (m *Machine) signal(in *model.Signal) (what int, err error) {
	if in.Experimental {
		return m.experimental(in), nil
	}
	state := m.stateOf(in)
	if s, known := m.index.Signal(in.ID); known {
		old := &m.signals[s]
		if old.revision == state.revision || !in.Several() && !in.Position.After(old.position) {
			m.releaseTexts(&state)
			return repeatedSignal, nil
		}
		what = revisedSignal
		state.published, state.opened = old.published, old.opened
		shrunk := state.severity < old.severity || state.stopped != old.stopped || state.title != old.title ||
			state.technique != old.technique || state.rule != old.rule || state.source != old.source
		for _, r := range m.index.Refs(s) {
			m.idle = append(m.idle, r.Value)
		}
		m.releaseTexts(old)
		*old = state
		m.grouped(m.index.PutRefs(in.ID, in.Time, m.refsOf(in.Observables, in.Time)), shrunk)
	} else {
		e := m.index.PutRefs(in.ID, in.Time, m.refsOf(in.Observables, in.Time))
		m.keepSignal(e.Signal, state)
		m.grouped(e, false)
	}
	s, _ := m.index.Signal(in.ID)
	m.cases[m.index.Group(s)].changedAt = m.at
	m.openFor(m.cases[m.index.Group(s)], in, what)
	m.changed.signals[in.ID] = *in
	if !in.Several() {
		m.markSource(in.Source, m.index.Time(s))
	}
	for _, r := range m.index.Refs(s) {
		if r.Role == correlate.Same {
			continue
		}
		m.remember(r.Value, s)
		m.askAt(r.Value, question{by: in.ID, signal: m.index.ID(s), at: in.Time})
	}
	return what, nil
}

// experimental has a signal kept, and nothing else come of it. One that was reported before,
// when its rule was in production, stays what it is.
func (m *Machine) experimental(in *model.Signal) (what int) {
	if _, known := m.index.Signal(in.ID); known {
		return repeatedSignal
	}
	if before, ok := m.changed.experimental[in.ID]; !ok || in.Several() || in.Position.After(before.Position) {
		m.changed.experimental[in.ID] = *in
	}
	return experimentalSignal
}

func (m *Machine) keepSignal(n correlate.SignalNum, state signalState) {
	if int(n) == len(m.signals) {
		m.signals = append(m.signals, state)
		return
	}
	m.signals[n] = state
}

func (m *Machine) releaseTexts(s *signalState) {
	for _, n := range [...]uint32{s.rule, s.source, s.title, s.technique} {
		m.texts.release(n)
	}
}

// stateOf holds the texts that it names.
func (m *Machine) stateOf(in *model.Signal) signalState {
	sum := sha256.Sum256([]byte(in.Revision))
	state := signalState{
		position:  in.Position,
		revision:  binary.BigEndian.Uint64(sum[:]),
		rule:      m.texts.hold(in.Rule),
		source:    m.texts.hold(in.Source),
		title:     m.texts.hold(in.Title),
		technique: m.texts.hold(joinTechniques(in.Techniques)),
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
