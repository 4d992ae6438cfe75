package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// found is an event with the batch that it came in. Seq is 0 if it is not stored.
type found struct {
	batch model.Batch
	index int
	seq   uint64
	note  string
	// alone: of the batch only this event is known; size is how many it had, 0: not known.
	alone bool
	size  int
}

func (f *found) count() int {
	if f.alone {
		return f.size
	}
	return len(f.batch.Events)
}

// lookupError says for people what was not found, or found more than once.
type lookupError struct {
	what error
	text string
}

func (e *lookupError) Error() string { return e.text }
func (e *lookupError) Unwrap() error { return e.what }

func notFound(format string, args ...any) error {
	return &lookupError{ErrNotFound, fmt.Sprintf(format, args...)}
}

// Bounds of the search for an event by its id, from the newest on.
const (
	mostBatches = 10_000
	pageBatches = 256
	// mostRejected messages of a source are looked through for why an event was set aside.
	mostRejected = 2000
)

// find finds the event that a query names.
func (t *Tracer) find(ctx context.Context, q Query) (found, error) {
	if t.Store == nil || t.Log == nil {
		return found{}, notFound("nothing is stored")
	}
	if seq, index, ok := place(q.Event); ok {
		f, err := t.at(ctx, seq, index)
		if !errors.Is(err, ErrNotFound) || strings.Contains(q.Event, "/") {
			return f, err
		}
	}
	switch {
	case q.Event == "":
		return found{}, notFound("an event without a name")
	case strings.HasPrefix(q.Event, "s-"):
		if f, err := t.ofSignal(ctx, q.Event); !errors.Is(err, ErrNotFound) {
			return f, err
		}
	case strings.HasPrefix(q.Event, "c-"):
		if f, err := t.ofCase(ctx, q.Event); !errors.Is(err, ErrNotFound) {
			return f, err
		}
	case strings.HasPrefix(q.Event, "detector."):
		if f, err := t.newest(ctx, q.Event); !errors.Is(err, ErrNotFound) {
			return f, err
		}
	}
	return t.ofID(ctx, q)
}

// place reads "SEQ/INDEX", and "SEQ.INDEX" too.
func place(name string) (seq uint64, index int, ok bool) {
	s, i, ok := strings.Cut(name, "/")
	if !ok {
		s, i, ok = strings.Cut(name, ".")
	}
	if !ok {
		return 0, 0, false
	}
	seq, err1 := strconv.ParseUint(s, 10, 63)
	n, err2 := strconv.ParseUint(i, 10, 31)
	return seq, int(n), err1 == nil && err2 == nil
}

// at is the event at a place of the log.
func (t *Tracer) at(ctx context.Context, seq uint64, index int) (found, error) {
	rec, err := t.Log.GetEvent(ctx, seq)
	if errors.Is(err, eventlog.ErrNotFound) {
		return t.setAside(ctx, seq, index)
	}
	if err != nil {
		return found{}, err
	}
	b, err := batchOf(rec)
	if err != nil {
		return found{}, err
	}
	if index >= len(b.Events) {
		return found{}, notFound("no event %d/%d: that message has %d", seq, index, len(b.Events))
	}
	return found{batch: b, index: index, seq: seq}, nil
}

// batchOf reads a message as match does.
func batchOf(rec eventlog.Record) (model.Batch, error) {
	if len(rec.Payload) == 0 {
		return model.Batch{Source: rec.Source}, nil
	}
	b, err := model.DecodeBatch(rec.Payload)
	if err != nil {
		return b, fmt.Errorf("message %d of the log is damaged: %w", rec.Seq, err)
	}
	b.Source, b.Maker = rec.Source, rec.Maker.Name()
	return b, nil
}

// setAside is an event that only REJECTED still has.
func (t *Tracer) setAside(ctx context.Context, seq uint64, index int) (found, error) {
	e, err := t.rejected(ctx, "", seq, index)
	if err != nil {
		return found{}, err
	}
	if e == nil {
		return found{}, notFound("no event %d/%d in the log, which may hold it no more", seq, index)
	}
	event := model.Event{ID: e.ID, Raw: e.Raw, Oversize: e.Oversize}
	return found{
		batch: model.Batch{Source: e.Source, Received: e.Received, Events: make([]model.Event, index+1)}, index: index, seq: seq,
		alone: true, note: "the log holds it no more: it is as it was set aside, without what the connector had read",
	}.with(event), nil
}

func (f found) with(e model.Event) found {
	f.batch.Events[f.index] = e
	return f
}

// rejected is what REJECTED says of an event; nil: nothing.
func (t *Tracer) rejected(ctx context.Context, source string, seq uint64, index int) (*model.Rejected, error) {
	q := eventlog.Query{Source: source, Limit: pageBatches}
	for looked := 0; looked < mostRejected; {
		p, err := t.Log.ListRejected(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, rec := range p.Records {
			var all []model.Rejected
			if err := json.Unmarshal(rec.Payload, &all); err != nil {
				continue
			}
			for i := range all {
				if all[i].Seq == seq && all[i].Index == index {
					return &all[i], nil
				}
			}
		}
		if looked += len(p.Records); p.Before == 0 || len(p.Records) == 0 {
			break
		}
		q.Before = p.Before
	}
	return nil, nil
}

// ofSignal is the event of a signal; where the log holds it no more, as the signal has it.
func (t *Tracer) ofSignal(ctx context.Context, id string) (found, error) {
	g, _, err := t.Store.Signal(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return found{}, notFound("no signal %s", id)
	}
	if err != nil {
		return found{}, err
	}
	if g.Several() && len(g.Members) > 0 {
		first := g.Members[0].Position
		f, err := t.at(ctx, first.Seq, first.Index)
		f.note = fmt.Sprintf("%s reported %s of %d events, and this is the first", t.Shown(g.Rule), g.ID, g.Size)
		return f, err
	}
	f, err := t.at(ctx, g.Position.Seq, g.Position.Index)
	if err == nil && f.batch.Events[f.index].ID == g.EventID || err != nil && !errors.Is(err, ErrNotFound) {
		return f, err
	}
	severity := g.Severity
	return found{
		batch: model.Batch{Source: g.Source, Maker: t.Makers[g.Source], Received: g.Time, Events: make([]model.Event, 1)}, seq: g.Position.Seq,
		alone: true, note: "the log holds it no more: it is as the signal has it, with the time of the event for that of its receipt",
	}.with(model.Event{
		ID: g.EventID, Revision: g.Revision, Raw: g.Raw, Time: g.Time, Title: g.Title, Severity: &severity,
		Observables: g.Observables, Techniques: g.Techniques, Stopped: g.Stopped, Link: g.Link,
	}), nil
}

// ofCase is the event of a case's first signal.
func (t *Tracer) ofCase(ctx context.Context, id string) (found, error) {
	ids, err := t.Store.FindCases(ctx, id, 2)
	if err != nil {
		return found{}, err
	}
	if len(ids) == 0 {
		return found{}, notFound("no case %s", id)
	}
	if len(ids) > 1 && ids[0] != id {
		return found{}, &lookupError{ErrSeveral, "more than one case that begins with " + id}
	}
	c, err := t.Store.Case(ctx, ids[0])
	if err != nil {
		return found{}, err
	}
	signals, err := t.Store.CaseSignals(ctx, c.ID, false)
	if err != nil {
		return found{}, err
	}
	if len(signals) == 0 {
		return found{}, notFound("no signal in case %s", c.ID)
	}
	f, err := t.ofSignal(ctx, signals[0].ID)
	if n := len(signals); n > 1 && err == nil {
		f.note = strings.TrimPrefix(fmt.Sprintf("%s; the case has %d signals, and this is the event of its first, %s", strings.TrimSuffix(f.note, "; "), n, signals[0].ID), "; ")
	}
	return f, err
}

// identity is the address under which a detector is known.
func (t *Tracer) identity(detector string) string {
	for i := range t.Match.Sources {
		if s := &t.Match.Sources[i]; s.Name == detector {
			return s.Detector
		}
	}
	return detector
}

// newest is the last event that a detector has reported.
func (t *Tracer) newest(ctx context.Context, detector string) (found, error) {
	var f found
	err := t.search(ctx, t.identity(detector), func(b model.Batch, seq uint64) bool {
		if len(b.Events) == 0 {
			return false
		}
		f = found{batch: b, index: len(b.Events) - 1, seq: seq, note: "it is the newest event of " + detector}
		return true
	})
	if err == nil && f.seq == 0 {
		err = notFound("no event of %s in the log", detector)
	}
	return f, err
}

// ofID is the event with an id, the latest revision of it: among the newest of the log
// or, where a signal has come of it, wherever it is.
func (t *Tracer) ofID(ctx context.Context, q Query) (found, error) {
	source := t.identity(q.Source)
	for i := range t.Match.Sources {
		s := &t.Match.Sources[i]
		if source != "" && s.Detector != source {
			continue
		}
		for _, id := range t.signalIDs(s.Detector, t.Makers[s.Detector], q.Event) {
			if f, err := t.ofSignal(ctx, id); !errors.Is(err, ErrNotFound) {
				return f, err
			}
		}
	}
	var f found
	err := t.search(ctx, source, func(b model.Batch, seq uint64) bool {
		for i := len(b.Events) - 1; i >= 0; i-- {
			if b.Events[i].ID == q.Event {
				f = found{batch: b, index: i, seq: seq}
				return true
			}
		}
		return false
	})
	if err == nil && f.seq == 0 {
		err = notFound("no event, signal or case %q; of events the newest %d batches were looked through", q.Event, mostBatches)
	}
	return f, err
}

// signalIDs are the ids of all signals that may have come of an event under the
// configuration.
func (t *Tracer) signalIDs(source, maker, event string) []string {
	var ids []string
	for i := range t.Match.Sources {
		s := &t.Match.Sources[i]
		if s.Detector != source {
			continue
		}
		for j := range s.Pipelines {
			p := &s.Pipelines[j]
			ids = append(ids, model.SignalID(p.Address, source, maker, event))
			for k := range p.Rules {
				ids = append(ids, model.SignalID(p.Rules[k].Address, source, maker, event))
			}
		}
	}
	return ids
}

// search goes through the log from the newest batch on, until is says that it was the one.
func (t *Tracer) search(ctx context.Context, source string, is func(b model.Batch, seq uint64) bool) error {
	q := eventlog.Query{Source: source, Limit: pageBatches}
	for looked := 0; looked < mostBatches; {
		p, err := t.Log.ListEvents(ctx, q)
		if err != nil {
			return err
		}
		for _, rec := range p.Records {
			b, err := batchOf(rec)
			if err != nil {
				continue // what is damaged has no event that could be it
			}
			if is(b, rec.Seq) {
				return nil
			}
		}
		if looked += len(p.Records); p.Before == 0 || len(p.Records) == 0 {
			return nil
		}
		q.Before = p.Before
	}
	return nil
}
