package shadow

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Detector compares what two detectors reported. An event of one is seen by the other if
// that has an event at most Window before or after it, by the time at which it happened,
// with a subject or an indicator of the same kind and value that is not in never_join.
type Detector struct {
	Shadow string  `json:"shadow"`
	First  string  `json:"first"`
	Window float64 `json:"window_seconds"`
	Sides  struct {
		First  Events `json:"first"`
		Shadow Events `json:"shadow"`
	} `json:"sides"`
	// Lag is how much later Kelpie had the shadow's event than the first's, of those that
	// both have: half are within P50, 99 of 100 within P99; negative: it had it sooner.
	// Sooner counts the first's events that the shadow reported before it.
	Lag struct {
		P50    float64 `json:"p50_seconds"`
		P99    float64 `json:"p99_seconds"`
		Sooner int     `json:"sooner"`
	} `json:"lag"`
}

// Events are one detector's: Read is all the others together.
type Events struct {
	Read int `json:"read"`
	// Held were let through by no pipeline; Unreadable could not be read; Nameless have
	// nothing to compare by.
	Held       int `json:"held"`
	Unreadable int `json:"unreadable"`
	Nameless   int `json:"nameless"`
	// Both has an event of the other as well, Only has none.
	Both int `json:"both"`
	Only int `json:"only"`
	// Titles of those that only it has, and of those that both have, the most severe first.
	OnlyTitles []Title `json:"only_titles"`
	BothTitles []Title `json:"both_titles"`
	// Limited: there were more events than are compared, and these are the newest.
	Limited bool `json:"limited,omitempty"`
}

// Title is what some events are called, with one of them.
type Title struct {
	Title    string         `json:"title"`
	Severity int            `json:"severity"` // the highest
	Count    int            `json:"count"`
	Time     time.Time      `json:"time"` // of the latest
	Value    sdk.Observable `json:"value"`
	Seq      uint64         `json:"seq"`
	Index    int            `json:"index"`
}

// Bounds of what is read and shown.
const (
	mostEvents   = 20_000 // of one detector
	pageMessages = 64
	mostTitles   = 10
)

// event is one as it is compared.
type event struct {
	title          string
	severity       int
	time, received time.Time
	keys           []sdk.Observable
	seq            uint64
	index          int
	counts         bool // it is of the time that is asked about
}

func (r *Reporter) detector(ctx context.Context, s *match.Source, q Query) (Detector, error) {
	d := Detector{Shadow: s.Detector, First: s.Shadow, Window: q.Window.Seconds()}
	first := match.Source{Detector: s.Shadow}
	for _, other := range r.Match.Sources {
		if other.Detector == s.Shadow {
			first = other
		}
	}
	ones, err := r.events(ctx, match.NewReader(first, first), s.Shadow, q, &d.Sides.First)
	if err != nil {
		return d, err
	}
	others, err := r.events(ctx, match.NewReader(*s, first), s.Detector, q, &d.Sides.Shadow)
	if err != nil {
		return d, err
	}
	d.pair(ones, others, q.Window)
	return d, nil
}

// events reads those since the time asked about, and as many before as may be paired with
// them.
func (r *Reporter) events(ctx context.Context, reader *match.Reader, detector string, q Query, out *Events) ([]event, error) {
	never := r.Decide.Correlate.Never
	from := q.Since.Add(-q.Window)
	var all []event
	for before := uint64(0); ; {
		page, err := r.Log.ListEvents(ctx, eventlog.Query{Source: detector, Before: before, Limit: pageMessages})
		if err != nil {
			return nil, err
		}
		for _, rec := range page.Records {
			b, err := model.DecodeBatch(rec.Payload)
			if errors.Is(err, model.ErrBatch) { // damaged, or only a cursor
				continue
			}
			if err != nil {
				return nil, err
			}
			if b.Received.Before(from) {
				return all, nil
			}
			for i := range b.Events {
				if len(all) >= mostEvents {
					out.Limited = true
					return all, nil
				}
				if e, ok := out.read(reader, &b, i, rec.Seq, q.Since, never); ok {
					all = append(all, e)
				}
			}
		}
		if before = page.Before; before == 0 {
			return all, nil
		}
	}
}

// read counts an event, and gives it if it can be compared.
func (out *Events) read(reader *match.Reader, b *model.Batch, i int, seq uint64, since time.Time, never func(sdk.Observable) bool) (event, bool) {
	counts := !b.Received.Before(since)
	count := func(n *int) {
		if counts {
			*n++
		}
	}
	count(&out.Read)
	m, how := reader.Read(b, &b.Events[i])
	switch how {
	case match.Held:
		count(&out.Held)
		return event{}, false
	case match.Unreadable:
		count(&out.Unreadable)
		return event{}, false
	}
	e := event{
		title: m.Title, severity: m.Severity, time: m.Time, received: b.Received, seq: seq, index: i, counts: counts,
	}
	for _, o := range m.Observables {
		if o.Role != sdk.NoRole && !never(o) {
			e.keys = append(e.keys, plain(o))
		}
	}
	if len(e.keys) == 0 {
		count(&out.Nameless)
		return event{}, false
	}
	return e, true
}

// pair finds for each event of one whether the other has it.
func (d *Detector) pair(ones, others []event, window time.Duration) {
	byOther, byOne := index(others), index(ones)
	var lags []time.Duration
	titles := [4]titles{{}, {}, {}, {}}
	for i := range ones {
		e := &ones[i]
		other := byOther.nearest(e, window)
		if !e.counts {
			continue
		}
		if other == nil {
			d.Sides.First.Only++
			titles[0].add(e)
			continue
		}
		d.Sides.First.Both++
		titles[1].add(e)
		lag := other.received.Sub(e.received)
		if lags = append(lags, lag); lag < 0 {
			d.Lag.Sooner++
		}
	}
	for i := range others {
		e := &others[i]
		switch {
		case !e.counts:
		case byOne.nearest(e, window) == nil:
			d.Sides.Shadow.Only++
			titles[2].add(e)
		default:
			d.Sides.Shadow.Both++
			titles[3].add(e)
		}
	}
	d.Sides.First.OnlyTitles, d.Sides.First.BothTitles = titles[0].sorted(), titles[1].sorted()
	d.Sides.Shadow.OnlyTitles, d.Sides.Shadow.BothTitles = titles[2].sorted(), titles[3].sorted()
	slices.Sort(lags)
	if n := len(lags); n > 0 {
		d.Lag.P50, d.Lag.P99 = lags[n/2].Seconds(), lags[min(n*99/100, n-1)].Seconds()
	}
}

// lookup finds events by what they have, in the order of their times.
type lookup map[sdk.Observable][]*event

func index(all []event) lookup {
	x := lookup{}
	for i := range all {
		for _, key := range all[i].keys {
			x[key] = append(x[key], &all[i])
		}
	}
	for _, list := range x {
		slices.SortFunc(list, func(a, b *event) int { return a.time.Compare(b.time) })
	}
	return x
}

// nearest is the event that shares something with e and is the nearest in time, within the
// window; nil: there is none.
func (x lookup) nearest(e *event, window time.Duration) *event {
	var best *event
	for _, key := range e.keys {
		list := x[key]
		at, _ := slices.BinarySearchFunc(list, e.time, func(o *event, t time.Time) int { return o.time.Compare(t) })
		for _, i := range []int{at - 1, at} {
			if i < 0 || i >= len(list) {
				continue
			}
			if d := list[i].time.Sub(e.time).Abs(); d <= window && (best == nil || d < best.time.Sub(e.time).Abs()) {
				best = list[i]
			}
		}
	}
	return best
}

// titles are events by what they are called.
type titles map[string]*Title

func (t titles) add(e *event) {
	x := t[e.title]
	if x == nil {
		x = &Title{Title: e.title}
		t[e.title] = x
	}
	x.Count++
	x.Severity = max(x.Severity, e.severity)
	if x.Count == 1 || e.time.After(x.Time) {
		x.Time, x.Value, x.Seq, x.Index = e.time, e.keys[0], e.seq, e.index
	}
}

func (t titles) sorted() []Title {
	all := []Title{}
	for _, x := range t {
		all = append(all, *x)
	}
	slices.SortFunc(all, func(a, b Title) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Title, b.Title))
	})
	return all[:min(len(all), mostTitles)]
}
