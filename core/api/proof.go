package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// ledger draws up the ledger, and says what does not add up.
func (e *evidence) ledger() Ledger {
	l := Ledger{
		At: e.status.At, Running: e.status.Running, Since: e.since, Sources: []SourceLedger{},
		Signals: SignalLedger{
			Signals: e.Counts.Signals, Scored: e.Counts.Signals - e.Counts.SignalsWaiting, Waiting: e.Counts.SignalsWaiting,
		},
		Intents: e.Counts.Intents, Missing: e.missing, Faults: []string{},
	}
	if l.Missing == nil {
		l.Missing = []Missing{}
	}
	l.Faults = append(l.Faults, e.positions()...)
	for i := range e.missing {
		if m := &e.missing[i]; !m.Accepted {
			l.Faults = append(l.Faults, m.text())
		}
	}
	l.Faults = append(l.Faults, unlisted("EVENTS", e.log.events)...)
	l.Faults = append(l.Faults, unlisted("INPUTS", e.log.inputs)...)
	for _, s := range e.states() {
		row, faults := e.source(&s)
		row.Feed = feedOf(s, e.status)
		l.Signals.Experimental += s.Sum.Experimental
		l.Sources = append(l.Sources, row)
		l.Faults = append(l.Faults, faults...)
	}
	l.AddsUp = len(l.Faults) == 0
	return l
}

// states are those of all sources, also of those that nothing was decided of.
func (e *evidence) states() []decide.SourceState {
	all := slices.Clone(e.Sources)
	known := func(source string) bool {
		return slices.ContainsFunc(all, func(s decide.SourceState) bool { return s.Source == source })
	}
	for source := range e.log.totals {
		if !known(source) {
			all = append(all, decide.SourceState{Source: source})
		}
	}
	for _, d := range e.status.Detectors {
		if !known(d.Instance) {
			all = append(all, decide.SourceState{Source: d.Instance})
		}
	}
	slices.SortFunc(all, func(a, b decide.SourceState) int { return compare(a.Source, b.Source) })
	return all
}

// source is a source's row. What was received is the running total in the log's headers;
// what of that is not decided is in a message that waits, or in one that is missing.
func (e *evidence) source(s *decide.SourceState) (SourceLedger, []string) {
	row := SourceLedger{Source: s.Source, Tally: s.Sum}
	var faults []string
	fault := func(format string, args ...any) {
		faults = append(faults, s.Source+": "+fmt.Sprintf(format, args...))
	}
	total, inLog := e.log.totals[s.Source]
	if inLog && total < s.Total {
		fault("the log counts %d events, and %d are decided: its last messages are gone", total, s.Total)
	}
	received := max(total, s.Total)
	open := s.Events.Missing(decide.Span{From: 1, To: received})
	for _, m := range e.missing {
		if m.Stream != "EVENTS" || m.Decided {
			continue
		}
		for _, held := range m.Events {
			if held.Source == s.Source {
				row.Missing += common(open, held.Events)
			}
		}
	}
	for _, gap := range open {
		row.Pending += gap.Len()
	}
	row.Pending -= row.Missing
	if n, had := s.Sum.Received, s.Events.Len(); n != had {
		fault("%d events are counted, and %d were there to count", n, had)
	}
	if n, sum := s.Sum.Received, s.Sum.Sum(); n != sum {
		fault("%d events are decided, and %d are accounted for", n, sum)
	}
	if row.Pending > 0 && e.log.stats.Events.Last <= e.Flags.Events.Low {
		fault("%d events are not decided, and no message waits that holds them", row.Pending)
	}
	for _, note := range s.Notes {
		fault("%s", note)
	}
	if s.Unnoted > 0 {
		fault("and %d more like these", s.Unnoted)
	}
	row.Received = received
	hours := decide.Tally{}
	for i := range e.Hours {
		if h := &e.Hours[i]; h.Source == s.Source {
			hours.Add(&h.Tally)
		}
	}
	switch {
	case !e.since.IsZero():
		// What had not been decided when it began, and what came since.
		row.Received = received - (s.Sum.Received - min(hours.Received, s.Sum.Received))
		row.Tally = hours
		row.Tally.Received = hours.Received + row.Pending + row.Missing
	case hours.Received != s.Sum.Received || hours.Sum() != s.Sum.Sum():
		fault("its hours hold %d events, and their sum is %d", hours.Received, s.Sum.Received)
	}
	if row.all() != row.Received {
		fault("%d events were received, and %d are accounted for", row.Received, row.all())
	}
	return row, faults
}

// all is what the classes add up to.
func (s *SourceLedger) all() uint64 { return s.Sum() + s.Pending + s.Missing }

// common is how many numbers of a span are in some spans that do not overlap.
func common(spans []decide.Span, of decide.Span) (n uint64) {
	for _, s := range spans {
		if from, to := max(s.From, of.From), min(s.To, of.To); from <= to {
			n += to - from + 1
		}
	}
	return n
}

// positions holds the log's ends against what is decided.
func (e *evidence) positions() []string {
	var faults []string
	st := e.log.stats
	if last := e.Position.Seq; last > st.Inputs.Last {
		faults = append(faults, fmt.Sprintf("INPUTS ends at %d, and %d is decided: the log is older than the database", st.Inputs.Last, last))
	}
	if last := e.Flags.Events.High(); last > st.Events.Last {
		faults = append(faults, fmt.Sprintf("EVENTS ends at %d, and %d is decided: the log is older than the database", st.Events.Last, last))
	}
	return faults
}

// runs are the missing messages, those that are decided apart from those that are not.
func (e *evidence) runs() []Missing {
	var all []Missing
	add := func(stream string, seqs decide.Span, decided, needed, accepted bool) {
		all = append(all, Missing{Stream: stream, Seqs: seqs, Decided: decided, Needed: needed, Accepted: accepted})
	}
	in := func(seqs decide.Span, accepted uint64) {
		for _, s := range e.Flags.Events.Missing(seqs) {
			add("EVENTS", s, false, false, s.To <= accepted)
		}
		for _, s := range without(seqs, e.Flags.Events.Missing(seqs)) {
			add("EVENTS", s, true, false, s.To <= accepted)
		}
	}
	for _, r := range e.log.events.Runs {
		in(decide.Span{From: r.From, To: r.To}, e.log.events.Accepted)
	}
	at := e.Position.Seq
	for _, r := range e.log.inputs.Runs {
		seqs := decide.Span{From: r.From, To: r.To}
		accepted := r.To <= e.log.inputs.Accepted
		if r.From <= at {
			done := decide.Span{From: r.From, To: min(r.To, at)}
			add("INPUTS", done, true, done.To > uint64(e.Checkpoint), accepted)
		}
		if r.To > at {
			add("INPUTS", decide.Span{From: max(seqs.From, at+1), To: seqs.To}, false, true, accepted)
		}
	}
	return all
}

// without is what is left of a span when some spans in it, in order, are taken out.
func without(of decide.Span, out []decide.Span) []decide.Span {
	var left []decide.Span
	for _, s := range out {
		if s.From > of.From {
			left = append(left, decide.Span{From: of.From, To: s.From - 1})
		}
		of.From = s.To + 1
	}
	if of.From <= of.To {
		left = append(left, of)
	}
	return left
}

func unlisted(stream string, m eventlog.Missing) []string {
	listed := uint64(0)
	for _, r := range m.Runs {
		listed += r.To - r.From + 1
	}
	if m.Messages <= listed {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d more messages are missing", stream, m.Messages-listed)}
}

// text says what is missing, and what that means.
func (m *Missing) text() string {
	text := fmt.Sprintf("%s %v is missing", m.Stream, m.Seqs)
	if m.Seqs.Len() > 1 {
		text = fmt.Sprintf("%s %v are missing", m.Stream, m.Seqs)
	}
	var held []string
	for _, h := range m.Events {
		events := "events"
		if h.Events.Len() == 1 {
			events = "event"
		}
		held = append(held, fmt.Sprintf("%s %v of %s", events, h.Events, h.Source))
	}
	with := ""
	if len(held) > 0 {
		with = ", with " + strings.Join(held, " and ")
	}
	switch {
	case m.Stream == "EVENTS" && m.Decided:
		return text + with + "; what became of them is known"
	case m.Stream == "EVENTS":
		return text + with + ", and was not decided; nothing after it can be trimmed"
	case m.Needed && m.Decided:
		return text + "; it is decided, but no checkpoint has it: the next start needs it"
	case m.Needed:
		return text + ", and was not decided: what it held is not known"
	}
	return text + "; it is decided, and only a replay would need it"
}
