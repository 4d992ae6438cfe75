package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Ledger says of every event ever taken what became of it, and whether that adds up.
type Ledger struct {
	At      time.Time `json:"at"`
	Running bool      `json:"running"`
	// Since is zero for all that ever came, else the beginning of an hour.
	Since   time.Time      `json:"since,omitzero"`
	Sources []SourceLedger `json:"sources"`
	Signals SignalLedger   `json:"signals"`
	// Intents by state.
	Intents map[model.IntentState]uint64 `json:"intents"`
	// Missing are messages of the log that are not there any more.
	Missing []Missing `json:"missing"`
	// Faults say what does not add up, for people.
	Faults []string `json:"faults"`
	AddsUp bool     `json:"adds_up"`
}

// SourceLedger is the ledger of one source: Received is all the others together.
type SourceLedger struct {
	Source string `json:"source"`
	decide.Tally
	// Pending events are in the log and not decided; since when the oldest of them is.
	Pending      uint64    `json:"pending"`
	PendingSince time.Time `json:"pending_since,omitzero"`
	// Missing events were in messages that went from the log before they were decided.
	Missing uint64 `json:"missing"`
	Feed    Feed   `json:"feed"`
}

// SignalLedger counts signals. One waits while an answer about its case is pending.
type SignalLedger struct {
	Signals int `json:"signals"`
	Scored  int `json:"scored"`
	Waiting int `json:"waiting"`
	// Experimental are not among the others: they are scored by nothing, and reach nobody.
	Experimental uint64 `json:"experimental,omitempty"`
}

// Missing is a run of messages that are not in the log.
type Missing struct {
	Stream string      `json:"stream"`
	Seqs   decide.Span `json:"seqs"`
	// Decided: what they held is accounted for.
	Decided bool `json:"decided"`
	// Needed: Kelpie can't start without them.
	Needed bool `json:"needed,omitempty"`
	// Accepted: a person has said that their loss is to be lived with.
	Accepted bool `json:"accepted,omitempty"`
	// Events are what they held, as far as the messages around them tell.
	Events []MissingEvents `json:"events,omitempty"`
}

// MissingEvents are events of a source by their numbers: its first is 1, and the last of
// a message is its running total.
type MissingEvents struct {
	Source string      `json:"source"`
	Events decide.Span `json:"events"`
}

func (s *Server) ledger(r *http.Request) (any, error) {
	since := time.Time{}
	if text := r.URL.Query().Get("since"); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, bad("since must be a time, as 2026-03-01T12:00:00Z")
		}
		since = t.UTC().Truncate(time.Hour)
	}
	l, _, err := s.account(r.Context(), since)
	if err != nil {
		return nil, err
	}
	if source := r.URL.Query().Get("source"); source != "" {
		l.Sources = slices.DeleteFunc(l.Sources, func(s SourceLedger) bool { return s.Source != source })
		if len(l.Sources) == 0 {
			return nil, &Error{http.StatusNotFound, "nothing ever came of a source " + source}
		}
	}
	return l, nil
}

// account gathers what the ledger is made of, and draws it up.
func (s *Server) account(ctx context.Context, since time.Time) (Ledger, *evidence, error) {
	e := &evidence{since: since}
	if err := s.gather(ctx, e); err != nil {
		return Ledger{}, nil, err
	}
	l := e.ledger()
	for i := range l.Sources {
		if err := s.pending(ctx, e, &l.Sources[i]); err != nil {
			return Ledger{}, nil, err
		}
	}
	return l, e, nil
}

func (s *Server) gather(ctx context.Context, e *evidence) (err error) {
	if e.status, err = s.Engine.Status(ctx); err != nil {
		return err
	}
	// What is missing in the log before the store: what is decided and trimmed meanwhile is
	// then not missed. The log's ends after it: it has all that the store has decided.
	if e.log.events, e.log.inputs, err = s.Log.Missing(ctx); err != nil {
		return err
	}
	if e.Account, err = s.Store.Account(ctx, e.since); err != nil {
		return err
	}
	if err := s.ends(ctx, &e.log); err != nil {
		return err
	}
	return s.missing(ctx, e)
}

// evidence is what a ledger is drawn up from.
type evidence struct {
	store.Account
	since   time.Time
	status  Status
	log     logged
	missing []Missing
}

// logged is what the log says.
type logged struct {
	stats          eventlog.Stats
	events, inputs eventlog.Missing
	totals         map[string]uint64 // running total by source
}

// ends reads how far the log and each source in it have come.
func (s *Server) ends(ctx context.Context, l *logged) (err error) {
	names, err := s.Log.Instances(ctx)
	if err != nil {
		return err
	}
	l.totals = map[string]uint64{}
	for _, name := range names {
		last, _, err := s.Log.Last(ctx, name)
		if err != nil {
			return err
		}
		l.totals[name] = last.Total
	}
	l.stats, err = s.Log.Stats(ctx)
	return err
}

// mostMissing is how many runs of messages are looked into.
const mostMissing = 20

// missing finds out what the missing messages held.
func (s *Server) missing(ctx context.Context, e *evidence) error {
	for _, m := range e.runs() {
		if m.Stream == "EVENTS" && len(e.missing) < mostMissing {
			for source := range e.log.totals {
				held, err := s.between(ctx, source, m)
				if err != nil {
					return err
				}
				m.Events = append(m.Events, held...)
			}
			slices.SortFunc(m.Events, func(a, b MissingEvents) int { return compare(a.Source, b.Source) })
		}
		e.missing = append(e.missing, m)
	}
	return nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// between says which of a source's events a run of messages held: those between the message
// before and the message after it.
func (s *Server) between(ctx context.Context, source string, m Missing) ([]MissingEvents, error) {
	after, err := s.Log.NextOf(ctx, source, m.Seqs.To+1)
	if errors.Is(err, eventlog.ErrNotFound) {
		return nil, nil // if any, its last ones
	}
	if err != nil {
		return nil, err
	}
	before, err := s.Log.LastOf(ctx, source, m.Seqs.From)
	if err != nil && !errors.Is(err, eventlog.ErrNotFound) {
		return nil, err
	}
	if err != nil && m.Seqs.From > 1 {
		return nil, nil // where they begin is not known any more
	}
	last := after.Total - min(uint64(max(after.Count, 0)), after.Total)
	if last <= before.Total {
		return nil, nil
	}
	return []MissingEvents{{source, decide.Span{From: before.Total + 1, To: last}}}, nil
}

// pending finds the oldest message of a source that is not decided.
func (s *Server) pending(ctx context.Context, e *evidence, l *SourceLedger) error {
	if l.Pending == 0 {
		return nil
	}
	seq := e.Flags.Events.Low + 1
	for range 1000 { // what match works at is far less
		m, err := s.Log.NextOf(ctx, l.Source, seq)
		if errors.Is(err, eventlog.ErrNotFound) {
			return nil // decided meanwhile
		}
		if err != nil {
			return err
		}
		if !e.Flags.Events.Has(m.Seq) && m.Count > 0 {
			l.PendingSince = m.Time
			return nil
		}
		seq = m.Seq + 1
	}
	return nil
}
