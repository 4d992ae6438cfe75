package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Became is what has become of an event.
type Became string

// What becomes of events.
const (
	BecameMatched  Became = "matched" // it made signals
	BecameFact     Became = "fact"    // it feeds a rule over several
	BecameIgnored  Became = "ignored"
	BecamePassed   Became = "passed" // nothing wanted it
	BecameRejected Became = "rejected"
	BecameShadow   Became = "shadow"  // it is only compared
	BecameWaiting  Became = "waiting" // it is not decided yet
)

// TailLine is an event with what has become of it.
type TailLine struct {
	EventLine
	Became Became `json:"became"`
	// Rules that reported it, or that it feeds.
	Rules []string `json:"rules,omitempty"`
	// By is the ignore that took it out, or why it was set aside.
	By string `json:"by,omitempty"`
}

// TailPage is what has come after a message of the log, oldest first.
type TailPage struct {
	Events []TailLine `json:"events"`
	// After asks for what comes next.
	After uint64 `json:"after"`
	// More is there already.
	More bool `json:"more,omitempty"`
	// Skipped counts messages of the log that came too fast to be shown.
	Skipped uint64 `json:"skipped,omitempty"`
}

const (
	// tailEvents and tailMessages bound one page.
	tailEvents   = 1000
	tailMessages = 64
	// tailBehind is how many messages a reader may be behind before it is taken to the end.
	tailBehind = 1024
	// tailPatience is how long a message that is not decided holds up those after it.
	tailPatience = 2 * time.Second
)

// tail answers with the events that have come after a message, and what the rules in force
// make of them. Without a message it only says which one is the last.
func (s *Server) tail(r *http.Request) (any, error) {
	settings := s.Engine.Matching()
	if settings == nil {
		return nil, &Error{http.StatusConflict, "this kelpie does not run, so nothing comes; \"kelpie event list\" lists what came"}
	}
	ctx, q := r.Context(), r.URL.Query()
	st, err := s.Log.Stats(ctx)
	if err != nil {
		return nil, err
	}
	last := st.Events.Last
	if !q.Has("after") {
		return TailPage{Events: []TailLine{}, After: last}, nil
	}
	after, err := strconv.ParseUint(q.Get("after"), 10, 63)
	if err != nil {
		return nil, bad("after must be the sequence of a message of the log")
	}
	flags, err := s.Store.Flags(ctx)
	if err != nil {
		return nil, err
	}
	t := tailing{
		server: s, worker: match.NewWorker(settings), decided: flags.Events, now: s.Now(), last: last,
		source: q.Get("source"), rule: q.Get("rule"),
		page: TailPage{Events: []TailLine{}, After: max(after, st.Events.First-min(st.Events.First, 1))},
	}
	if behind := last - min(last, t.page.After); behind > tailBehind {
		t.page.Skipped = behind - tailMessages
		t.page.After = last - tailMessages
	}
	err = t.read(ctx)
	return t.page, err
}

// tailing reads one page.
type tailing struct {
	server       *Server
	worker       *match.Worker
	decided      decide.Spans
	now          time.Time
	last         uint64
	source, rule string
	// aside are the newest events that were set aside, with the reason.
	aside map[model.Position]string
	page  TailPage
}

func (t *tailing) read(ctx context.Context) error {
	if t.page.After >= t.last {
		return nil
	}
	if err := t.setAside(ctx); err != nil {
		return err
	}
	for range tailMessages {
		if t.page.After >= t.last {
			return nil
		}
		rec, err := t.next(ctx, t.page.After+1)
		switch {
		case errors.Is(err, eventlog.ErrNotFound) && t.source != "":
			t.page.After = t.last // there is none of the source
			return nil
		case errors.Is(err, eventlog.ErrNotFound):
			t.page.After++ // it was trimmed, or is missing
			continue
		case err != nil:
			return err
		}
		if !t.decided.Has(rec.Seq) && t.now.Sub(rec.Time) < tailPatience {
			return nil
		}
		if err := t.message(rec); err != nil {
			return err
		}
		t.page.After = max(rec.Seq, t.page.After)
		if len(t.page.Events) >= tailEvents {
			break
		}
	}
	t.page.More = t.page.After < t.last
	return nil
}

// setAside reads what was set aside of late. It is not matched again: there are events that
// end the process that does.
func (t *tailing) setAside(ctx context.Context) error {
	const newest = 20
	p, err := t.server.Log.ListRejected(ctx, eventlog.Query{Source: t.source, Limit: newest})
	if err != nil {
		return err
	}
	t.aside = map[model.Position]string{}
	for _, rec := range p.Records {
		var all []model.Rejected
		if err := json.Unmarshal(rec.Payload, &all); err != nil {
			return err
		}
		for _, e := range all {
			t.aside[model.Position{Seq: e.Seq, Index: e.Index}] = e.Reason
		}
	}
	return nil
}

func (t *tailing) next(ctx context.Context, seq uint64) (eventlog.Record, error) {
	if t.source != "" {
		return t.server.Log.NextOf(ctx, t.source, seq)
	}
	return t.server.Log.GetEvent(ctx, seq)
}

// message adds the events of one message. One that can't be read has none to show.
func (t *tailing) message(rec eventlog.Record) error {
	if len(rec.Payload) == 0 {
		return nil
	}
	b, err := model.DecodeBatch(rec.Payload)
	if err != nil {
		return nil //nolint:nilerr // match sets it aside whole, and "event rejected" says why
	}
	for i := range b.Events {
		line := TailLine{EventLine: lineOf(&b, &b.Events[i], rec.Seq, i)}
		t.become(&line, &b, i, rec.Seq)
		if t.rule == "" || slices.Contains(line.Rules, t.rule) {
			t.page.Events = append(t.page.Events, line)
		}
	}
	return nil
}

// become says what matching makes of one event of a batch.
func (t *tailing) become(line *TailLine, b *model.Batch, i int, seq uint64) {
	if reason, ok := t.aside[model.Position{Seq: seq, Index: i}]; ok {
		line.Became, line.By = BecameRejected, reason
		return
	}
	if !t.decided.Has(seq) {
		line.Became = BecameWaiting
		return
	}
	one := *b
	one.Events = b.Events[i : i+1]
	res, rejected := t.worker.Match(&one, seq)
	for j := range res.Signals {
		line.Rules = append(line.Rules, res.Signals[j].Rule)
		line.Title = res.Signals[j].Title
	}
	switch {
	case len(rejected) > 0:
		line.Became, line.By = BecameRejected, rejected[0].Reason
	case res.Counts.Matched > 0:
		line.Became = BecameMatched
	case res.Counts.Fact > 0:
		line.Became = BecameFact
	case len(res.Counts.Ignored) > 0:
		line.Became, line.By = BecameIgnored, only(res.Counts.Ignored)
	case len(res.Counts.Shadow) > 0:
		line.Became, line.By = BecameShadow, only(res.Counts.Shadow)
	default:
		line.Became = BecamePassed
	}
}

// only is the name in the counts of one event.
func only(counts map[string]int) string {
	for name := range counts {
		return name
	}
	return ""
}
