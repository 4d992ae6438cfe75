package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// EventLine is an event as the log holds it.
type EventLine struct {
	Source   string    `json:"source"`
	Seq      uint64    `json:"seq"`
	Index    int       `json:"index"`
	ID       string    `json:"id"`
	Time     time.Time `json:"time,omitzero"`
	Received time.Time `json:"received"`
	Title    string    `json:"title,omitempty"`
	Severity *int      `json:"severity,omitempty"`
	// Raw is the payload, if it is JSON; Bytes is it otherwise.
	Raw   json.RawMessage `json:"raw,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"`
	// Of events alone, not of those that were set aside.
	Revision    string           `json:"revision,omitempty"`
	Observables []sdk.Observable `json:"observables,omitempty"`
	Techniques  []string         `json:"techniques,omitempty"`
	Stopped     *bool            `json:"stopped,omitempty"`
	Link        string           `json:"link,omitempty"`
	// Reason is why it was set aside.
	Reason string `json:"reason,omitempty"`
}

// EventPage is the newest part of a list. Before asks for what is older: "SEQ/INDEX" of
// an event, or "SEQ" of a log message; empty at the end.
type EventPage struct {
	Events []EventLine `json:"events"`
	Before string      `json:"before"`
}

// mostEvents of one page.
const mostEvents = 10_000

// span says which events are asked for, newest first: the limit newest ones that are
// older than event index of log message seq; seq 0: the newest of all.
type span struct {
	source string
	seq    uint64
	index  int
	limit  int
}

func spanOf(r *http.Request) (span, error) {
	limit, err := number(r, "limit", 50, mostEvents)
	if err != nil {
		return span{}, err
	}
	sp := span{source: r.URL.Query().Get("source"), limit: max(limit, 1)}
	before := r.URL.Query().Get("before")
	if before == "" {
		return sp, nil
	}
	seq, index, within := strings.Cut(before, "/")
	if sp.seq, err = strconv.ParseUint(seq, 10, 63); err == nil && within {
		sp.index, err = strconv.Atoi(index)
	}
	if err != nil || sp.seq == 0 || sp.index < 0 {
		return span{}, bad(`before must be SEQ or SEQ/INDEX, as the last page said, such as "120/3"`)
	}
	return sp, nil
}

// query asks the log for the messages that hold the events. Below the first event of
// a message is the message before it.
func (sp span) query() eventlog.Query {
	q := eventlog.Query{Source: sp.source, Before: sp.seq, Limit: sp.limit}
	if sp.index > 0 {
		q.Before++
	}
	return q
}

// page collects a span's events from log messages, newest first.
func (sp span) page(p eventlog.Page, lines func(eventlog.Record) ([]EventLine, error)) (EventPage, error) {
	out := EventPage{Events: []EventLine{}}
	for _, rec := range p.Records {
		all, err := lines(rec)
		if err != nil {
			return EventPage{}, err
		}
		if rec.Seq == sp.seq {
			all = all[:min(sp.index, len(all))]
		}
		for i := len(all) - 1; i >= 0; i-- {
			if len(out.Events) == sp.limit {
				out.Before = fmt.Sprintf("%d/%d", rec.Seq, i+1)
				return out, nil
			}
			out.Events = append(out.Events, all[i])
		}
	}
	if p.Before > 0 {
		out.Before = strconv.FormatUint(p.Before, 10)
	}
	return out, nil
}

func (s *Server) events(r *http.Request) (any, error) {
	sp, err := spanOf(r)
	if err != nil {
		return nil, err
	}
	p, err := s.Log.ListEvents(r.Context(), sp.query())
	if err != nil {
		return nil, err
	}
	return sp.page(p, func(rec eventlog.Record) ([]EventLine, error) {
		if len(rec.Payload) == 0 {
			return nil, nil
		}
		return eventLines(rec)
	})
}

func eventLines(rec eventlog.Record) ([]EventLine, error) {
	b, err := model.DecodeBatch(rec.Payload)
	if err != nil {
		return nil, err
	}
	lines := make([]EventLine, len(b.Events))
	for i := range b.Events {
		lines[i] = lineOf(&b, &b.Events[i], rec.Seq, i)
	}
	return lines, nil
}

// MostBehind is how many of what is behind a signal of a rule over several are listed with
// their events: the first ones and the last.
const MostBehind = 10

// Behind are those of a signal's members that are listed, and how many between them are
// not. The list ends early where more are behind the signal than it has members.
func Behind(g *model.Signal) (first, last []model.Member, between int) {
	all := g.Members
	if len(all) <= MostBehind && g.Size <= MostBehind {
		return all, nil, 0
	}
	if g.Size > len(all) { // of the last nothing is known
		first = all[:min(len(all), MostBehind)]
		return first, nil, g.Size - len(first)
	}
	return all[:MostBehind/2], all[len(all)-MostBehind/2:], len(all) - MostBehind
}

// Place is how an event is named by where it lies in the log.
func Place(p model.Position) string { return fmt.Sprintf("%d/%d", p.Seq, p.Index) }

// behind reads the events behind signals, as far as they are listed and still there. Of
// many signals it reads those of the first ones.
func (s *Server) behind(ctx context.Context, signals []model.Signal) (map[string]EventLine, error) {
	const most = 50 // signals
	wanted, n := map[uint64]map[int]bool{}, 0
	for i := range signals {
		if !signals[i].Several() {
			continue
		}
		if n++; n > most {
			break
		}
		first, last, _ := Behind(&signals[i])
		for _, m := range slices.Concat(first, last) {
			if wanted[m.Position.Seq] == nil {
				wanted[m.Position.Seq] = map[int]bool{}
			}
			wanted[m.Position.Seq][m.Position.Index] = true
		}
	}
	found := map[string]EventLine{}
	for _, seq := range slices.Sorted(maps.Keys(wanted)) {
		rec, err := s.Log.GetEvent(ctx, seq)
		if errors.Is(err, eventlog.ErrNotFound) || err == nil && len(rec.Payload) == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines, err := eventLines(rec)
		if err != nil {
			continue // it is damaged
		}
		for i := range lines {
			if wanted[seq][i] {
				found[Place(model.Position{Seq: seq, Index: i})] = lines[i]
			}
		}
	}
	return found, nil
}

// lineOf is an event of a batch.
func lineOf(b *model.Batch, e *model.Event, seq uint64, i int) EventLine {
	l := EventLine{
		Source: b.Source, Seq: seq, Index: i, ID: e.ID, Time: e.Time, Received: b.Received,
		Title: e.Title, Severity: e.Severity, Revision: e.Revision, Observables: e.Observables,
		Techniques: e.Techniques, Stopped: e.Stopped, Link: e.Link, Reason: e.Problem,
	}
	l.payload(e.Raw)
	return l
}

func (s *Server) rejected(r *http.Request) (any, error) {
	sp, err := spanOf(r)
	if err != nil {
		return nil, err
	}
	p, err := s.Log.ListRejected(r.Context(), sp.query())
	if err != nil {
		return nil, err
	}
	return sp.page(p, func(rec eventlog.Record) ([]EventLine, error) {
		var all []model.Rejected
		if err := json.Unmarshal(rec.Payload, &all); err != nil {
			return nil, err
		}
		lines := make([]EventLine, len(all))
		for i, e := range all {
			lines[i] = EventLine{Source: e.Source, Seq: e.Seq, Index: e.Index, ID: e.ID, Received: e.Received, Reason: e.Reason}
			lines[i].payload(e.Raw)
		}
		return lines, nil
	})
}

// payload shows bytes as JSON where they are.
func (l *EventLine) payload(raw []byte) {
	if utf8.Valid(raw) && json.Valid(raw) {
		l.Raw = raw
		return
	}
	l.Bytes = raw
}
