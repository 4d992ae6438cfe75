package api

import (
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
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
	// Reason is why it was set aside.
	Reason string `json:"reason,omitempty"`
}

// EventPage is the newest part of a list; Before asks for what is older, 0 at the
// end.
type EventPage struct {
	Events []EventLine `json:"events"`
	Before uint64      `json:"before"`
}

// mostEvents of one page.
const mostEvents = 10_000

func query(r *http.Request) (eventlog.Query, int, error) {
	limit, err := number(r, "limit", 50, mostEvents)
	if err != nil {
		return eventlog.Query{}, 0, err
	}
	before, err := number(r, "before", 0, 1<<62)
	if err != nil {
		return eventlog.Query{}, 0, err
	}
	return eventlog.Query{Source: r.URL.Query().Get("source"), Before: uint64(before), Limit: max(limit, 1)}, limit, nil
}

// page collects events, newest first, from log messages until limit is reached. A
// message is never cut, so that Before stays a position of the log.
func page(p eventlog.Page, limit int, lines func(eventlog.Record) ([]EventLine, error)) (EventPage, error) {
	out := EventPage{Events: []EventLine{}, Before: p.Before}
	for _, rec := range p.Records {
		if len(out.Events) >= limit {
			out.Before = rec.Seq + 1
			break
		}
		all, err := lines(rec)
		if err != nil {
			return EventPage{}, err
		}
		for i := len(all) - 1; i >= 0; i-- {
			out.Events = append(out.Events, all[i])
		}
	}
	return out, nil
}

func (s *Server) events(r *http.Request) (any, error) {
	q, limit, err := query(r)
	if err != nil {
		return nil, err
	}
	p, err := s.Log.ListEvents(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return page(p, limit, func(rec eventlog.Record) ([]EventLine, error) {
		if len(rec.Payload) == 0 {
			return nil, nil
		}
		b, err := model.DecodeBatch(rec.Payload)
		if err != nil {
			return nil, err
		}
		lines := make([]EventLine, len(b.Events))
		for i, e := range b.Events {
			lines[i] = EventLine{
				Source: b.Source, Seq: rec.Seq, Index: i, ID: e.ID, Time: e.Time, Received: b.Received,
				Title: e.Title, Severity: e.Severity, Reason: e.Problem,
			}
			lines[i].payload(e.Raw)
		}
		return lines, nil
	})
}

func (s *Server) rejected(r *http.Request) (any, error) {
	q, limit, err := query(r)
	if err != nil {
		return nil, err
	}
	p, err := s.Log.ListRejected(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return page(p, limit, func(rec eventlog.Record) ([]EventLine, error) {
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
