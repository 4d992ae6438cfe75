package decide

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Tally counts what became of events, each once. Received, which comes from the
// running totals in the log's headers and from nothing else, equals Sum.
type Tally struct {
	Received uint64 `json:"received"`
	Matched  uint64 `json:"matched,omitempty"`
	Fact     uint64 `json:"fact,omitempty"`
	Passed   uint64 `json:"passed,omitempty"`
	// Repeat: all that it would have reported was known already.
	Repeat   uint64         `json:"repeat,omitempty"`
	Ignored  map[string]int `json:"ignored,omitempty"`  // by ignore
	Rejected map[string]int `json:"rejected,omitempty"` // by reason
	Shadow   map[string]int `json:"shadow,omitempty"`   // by what the source is the shadow of
	// Lost: its message went from the log before it was decided.
	Lost uint64 `json:"lost,omitempty"`

	// Signals are new ones, Revised later revisions, Repeated those that changed
	// nothing.
	Signals  uint64 `json:"signals,omitempty"`
	Revised  uint64 `json:"revised,omitempty"`
	Repeated uint64 `json:"repeated,omitempty"`
	// Experimental are signals of experimental rules, which are not among the others. A
	// repeat of one counts again: nothing is remembered of them.
	Experimental uint64 `json:"experimental,omitempty"`
	// Fired counts by rule what Signals and Experimental count.
	Fired map[string]int `json:"fired,omitempty"`
	// Asked counts, by the rule whose signal was the first to need them, lookups.
	Asked map[string]int `json:"asked,omitempty"`
	// Redelivered counts EVENTS messages that had been counted before.
	Redelivered uint64 `json:"redelivered,omitempty"`
}

// Sum is how many events are in one of the classes.
func (t *Tally) Sum() uint64 {
	return t.Matched + t.Fact + t.Passed + t.Repeat + t.Lost + Total(t.Ignored) + Total(t.Rejected) + Total(t.Shadow)
}

// Total of counts by name.
func Total(counts map[string]int) uint64 {
	n := uint64(0)
	for _, k := range counts {
		n += uint64(k)
	}
	return n
}

// Add adds another tally.
func (t *Tally) Add(o *Tally) {
	t.Received += o.Received
	t.Matched += o.Matched
	t.Fact += o.Fact
	t.Passed += o.Passed
	t.Repeat += o.Repeat
	t.Lost += o.Lost
	t.Signals += o.Signals
	t.Revised += o.Revised
	t.Repeated += o.Repeated
	t.Experimental += o.Experimental
	t.Redelivered += o.Redelivered
	addNames(&t.Ignored, o.Ignored, maxNames)
	addNames(&t.Rejected, o.Rejected, maxNames)
	addNames(&t.Shadow, o.Shadow, maxNames)
	addNames(&t.Fired, o.Fired, maxRules)
	addNames(&t.Asked, o.Asked, maxRules)
}

// Bounds of what the ledger keeps of a source. Names beyond the first are counted
// under otherName: a configuration has few ignores, and match few reasons.
const (
	maxNotes  = 20
	maxNames  = 256
	maxRules  = 4096
	otherName = "other"
)

func addNames(into *map[string]int, from map[string]int, most int) {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		n := from[name]
		if n == 0 {
			continue
		}
		if *into == nil {
			*into = map[string]int{}
		}
		if _, known := (*into)[name]; !known && len(*into) >= most {
			name = otherName
		}
		(*into)[name] += n
	}
}

func (t *Tally) clone() Tally {
	c := *t
	c.Ignored, c.Rejected, c.Shadow = maps.Clone(t.Ignored), maps.Clone(t.Rejected), maps.Clone(t.Shadow)
	c.Fired, c.Asked = maps.Clone(t.Fired), maps.Clone(t.Asked)
	return c
}

// addName adds to the count of a name.
func addName(into *map[string]int, name string, n int) {
	if n == 0 {
		return
	}
	if *into == nil {
		*into = map[string]int{}
	}
	(*into)[name] += n
}

// Ledger counts what became of one source's events that were decided in one hour of
// decide's time.
type Ledger struct {
	Source string    `json:"source"`
	Hour   time.Time `json:"hour"`
	Tally
}

// SourceState is how far one source has come, and what became of all its events.
type SourceState struct {
	Source string `json:"source"`
	// Total is the highest running total of its messages that were decided.
	Total uint64 `json:"total"`
	// Counted are the events of these messages, by their own counts. It equals Total
	// when nothing is missing and nothing was counted twice.
	Counted uint64 `json:"counted"`
	// LastSeq is the last of its messages in EVENTS.
	LastSeq uint64 `json:"last_seq"`
	// CleanSeq is what LastSeq was when none of its events were missing.
	CleanSeq uint64 `json:"clean_seq,omitempty"`
	// LastAt is when a message with events was last decided.
	LastAt time.Time `json:"last_at,omitzero"`
	// Events are those that are decided, by number: a source's first event is 1, and
	// the last of a message is its running total.
	Events Spans `json:"events"`
	// Sum of all hours.
	Sum Tally `json:"sum"`
	// RejectedFirst and RejectedLast are when the first and the last event was rejected.
	RejectedFirst time.Time `json:"rejected_first,omitzero"`
	RejectedLast  time.Time `json:"rejected_last,omitzero"`
	// Notes say where running totals and counts did not agree; Unnoted counts those
	// that there was no room for.
	Notes   []string `json:"notes,omitempty"`
	Unnoted uint64   `json:"unnoted,omitempty"`
}

func (s *SourceState) note(format string, args ...any) {
	if len(s.Notes) >= maxNotes {
		s.Unnoted++
		return
	}
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

func (s *SourceState) clone() SourceState {
	c := *s
	c.Events, c.Sum = s.Events.Clone(), s.Sum.clone()
	c.Notes = slices.Clone(s.Notes)
	return c
}

// match takes the first result for each message of EVENTS.
func (m *Machine) match(r *model.MatchResult) error {
	if r.Source == "" { // it stands for a message that is lost
		if !m.events.Has(r.Seq) {
			m.mark(r.Seq)
			m.passed.Add(Span{r.Seq, r.Seq})
			m.lost()
		}
		return nil
	}
	if m.events.Has(r.Seq) {
		m.tally(r.Source, &Tally{Redelivered: 1})
		return nil
	}
	m.mark(r.Seq)
	m.matching = r.Seq
	t, err := m.signalsOf(r)
	if err != nil {
		return err
	}
	m.facts(r)
	m.count(r, t)
	m.lost()
	return nil
}

// mark remembers that a message of EVENTS is decided.
func (m *Machine) mark(seq uint64) {
	m.changed.flags = true
	m.events.Add(Span{seq, seq})
	if m.events.Low > seq { // it was what some that came before it have waited for
		m.catchUp(m.events.Low)
	}
}

// signalsOf takes a message's signals. An event is matched if one of its signals is
// new or a later revision, and else a repeat.
func (m *Machine) signalsOf(r *model.MatchResult) (*Tally, error) {
	t := &Tally{}
	for i := 0; i < len(r.Signals); {
		event, news := r.Signals[i].Position.Index, false
		for ; i < len(r.Signals) && r.Signals[i].Position.Index == event; i++ {
			asks := len(m.changed.asks)
			what, err := m.signal(&r.Signals[i])
			if err != nil {
				return nil, err
			}
			if what != repeatedSignal && what != experimentalSignal {
				m.toRules(r.Signals[i].ID, r.Signals[i].Rule, r.Signals[i].Time, nil)
			}
			addName(&t.Asked, r.Signals[i].Rule, len(m.changed.asks)-asks)
			switch what {
			case repeatedSignal:
				t.Repeated++
			case revisedSignal:
				t.Revised++
			case newSignal:
				t.Signals++
				addName(&t.Fired, r.Signals[i].Rule, 1)
			case experimentalSignal:
				t.Experimental++
				addName(&t.Fired, r.Signals[i].Rule, 1)
			}
			news = news || what != repeatedSignal
		}
		if news {
			t.Matched++
		} else {
			t.Repeat++
		}
	}
	return t, nil
}

// count enters what became of a message's events, and holds it against the header.
func (m *Machine) count(r *model.MatchResult, t *Tally) {
	s := m.sourceOf(r.Source)
	if n := t.Matched + t.Repeat; n != uint64(r.Counts.Matched) {
		s.note("EVENTS %d: %d events matched, and %d have signals", r.Seq, r.Counts.Matched, n)
	}
	t.Received = uint64(r.Count)
	t.Fact, t.Passed = uint64(r.Counts.Fact), uint64(r.Counts.Passed)
	t.Ignored, t.Rejected, t.Shadow = r.Counts.Ignored, r.Counts.Rejected, r.Counts.Shadow
	switch sum := t.Sum(); {
	case r.Damaged:
		s.note("EVENTS %d: its header can't be read; which events it held is not known", r.Seq)
	case sum != t.Received:
		s.note("EVENTS %d: it holds %d events, and %d are accounted for", r.Seq, t.Received, sum)
	}
	m.tally(r.Source, t)
	s.Counted += t.Received
	if t.Received > 0 && m.at.After(s.LastAt) {
		s.LastAt = m.at
	}
	if !r.Damaged {
		s.tile(r)
		m.noteGaps(s)
	}
}

// tile enters which events a message holds: those that end with its running total.
func (s *SourceState) tile(r *model.MatchResult) {
	switch n := uint64(r.Count); {
	case n > r.Total:
		s.note("EVENTS %d: it holds %d events, and its running total is %d", r.Seq, n, r.Total)
	case n > 0:
		tile := Span{r.Total - n + 1, r.Total}
		if had := s.Events.Add(tile); had > 0 {
			s.note("EVENTS %d: %d of its events, %v, were counted before", r.Seq, had, tile)
		}
	}
	switch {
	case r.Seq > s.LastSeq && r.Total < s.Total:
		s.note("EVENTS %d: the running total went back from %d to %d", r.Seq, s.Total, r.Total)
	case r.Seq < s.LastSeq && r.Total > s.Total:
		s.note("EVENTS %d: its running total %d is beyond the %d of EVENTS %d", r.Seq, r.Total, s.Total, s.LastSeq)
	}
	s.LastSeq, s.Total = max(s.LastSeq, r.Seq), max(s.Total, r.Total)
}

// noteGaps remembers whether events of a source are still to be decided.
func (m *Machine) noteGaps(s *SourceState) {
	if s.Events.Low < s.Total {
		m.gaps[s.Source] = true
		return
	}
	delete(m.gaps, s.Source)
	if s.LastSeq <= m.events.Low {
		s.CleanSeq = s.LastSeq
	}
}

// lost enters events that will never be decided: they are below a source's running
// total, and no message of EVENTS that could hold them is left to be decided. A power
// cut had taken the one that did, or its loss was accepted.
func (m *Machine) lost() {
	for _, source := range slices.Sorted(maps.Keys(m.gaps)) {
		s := m.counts[source]
		if s.LastSeq > m.events.Low {
			continue
		}
		t := &Tally{}
		between := Span{s.CleanSeq + 1, s.LastSeq}
		explained := m.passed.Some(between)
		for _, gap := range s.Events.Missing(Span{1, s.Total}) {
			t.Lost += gap.Len()
			if !explained {
				s.note("events %v are in no message of EVENTS: the running totals leave them out", gap)
			}
		}
		s.Events = Spans{Low: max(s.Total, s.Events.High())}
		t.Received = t.Lost
		s.Counted += t.Lost
		m.tally(source, t)
		m.noteGaps(s)
	}
}

// tally adds to a source's row of the hour and to its sum.
func (m *Machine) tally(source string, t *Tally) {
	row := m.ledger[source]
	if row == nil {
		row = &Ledger{Source: source, Hour: m.at.Truncate(time.Hour)}
		m.ledger[source] = row
	}
	m.changed.ledger[ledgerKey{source, row.Hour.Unix()}] = row
	row.Add(t)
	s := m.sourceOf(source)
	s.Sum.Add(t)
	if len(t.Rejected) > 0 {
		if s.RejectedLast = m.at; s.RejectedFirst.IsZero() {
			s.RejectedFirst = m.at
		}
	}
}

func (m *Machine) sourceOf(source string) *SourceState {
	s := m.counts[source]
	if s == nil {
		s = &SourceState{Source: source}
		m.counts[source] = s
	}
	m.changed.sources[source] = s
	return s
}

// Sums are how many asks and intents there are in each state.
type Sums struct {
	Asks    map[model.AnswerState]uint64 `json:"asks"`
	Intents map[model.IntentState]uint64 `json:"intents"`
}

func newSums() Sums {
	return Sums{map[model.AnswerState]uint64{}, map[model.IntentState]uint64{}}
}

func (s Sums) clone() Sums { return Sums{maps.Clone(s.Asks), maps.Clone(s.Intents)} }

// countAsk enters that an ask has another state; one that is new has none before.
func (m *Machine) countAsk(from, to model.AnswerState) {
	m.changed.sums = true
	move(m.sums.Asks, from, to)
}

// countIntent enters that an intent has another state; one that is new has none before.
func (m *Machine) countIntent(from, to model.IntentState) {
	m.changed.sums = true
	move(m.sums.Intents, from, to)
}

func move[S ~string](counts map[S]uint64, from, to S) {
	if from != "" {
		if counts[from]--; counts[from] == 0 {
			delete(counts, from)
		}
	}
	counts[to]++
}
