package match

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Trace is what becomes of one event, and why, step by step.
type Trace struct {
	// Reason is why the event is set aside; empty: it is not.
	Reason string `json:"reason,omitempty"`
	// Shadow is the detector that the event's is only compared with.
	Shadow string `json:"shadow,omitempty"`
	// Config is the hash of the configuration that events of its place are matched by.
	Config    string     `json:"config"`
	Pipelines []Followed `json:"pipelines"`
	// Signals and Facts are what Match makes of it.
	Signals []model.Signal `json:"-"`
	Facts   []model.Fact   `json:"-"`
}

// Followed is an event on its way through one pipeline.
type Followed struct {
	Pipeline string `json:"pipeline"`
	// When are the pipeline's conditions, the template's first, up to one that does not hold.
	When    []expr.Explanation `json:"when,omitempty"`
	Through bool               `json:"through"`
	// Mapped is what the map has read: of a signal the common fields; nil: it does not
	// come to that.
	Mapped *model.Signal `json:"mapped,omitempty"`
	// Ignores are those of the pipeline, up to one that takes the event out: Ignored.
	Ignores []FollowedIgnore `json:"ignores,omitempty"`
	Ignored string           `json:"ignored,omitempty"`
	// Signal is the id of the pipeline's own; empty: it reports none.
	Signal string         `json:"signal,omitempty"`
	Rules  []FollowedRule `json:"rules,omitempty"`
	// Feeds are the terms of rules over several that the pipeline feeds.
	Feeds []FollowedFeed `json:"feeds,omitempty"`
}

// FollowedIgnore is an ignore that was asked. One that was Over when the event came
// changes nothing, whatever its condition says.
type FollowedIgnore struct {
	Address string           `json:"address"`
	Expires time.Time        `json:"expires"`
	Over    bool             `json:"over,omitempty"`
	When    expr.Explanation `json:"when"`
}

// FollowedRule is a rule that was asked. Signal is the id of what it reports; empty: it
// does not fire.
type FollowedRule struct {
	Address string           `json:"address"`
	When    expr.Explanation `json:"when"`
	Signal  string           `json:"signal,omitempty"`
	// Ignores are those of the rule, up to one that takes the event out: Ignored.
	Ignores []FollowedIgnore `json:"ignores,omitempty"`
	Ignored string           `json:"ignored,omitempty"`
}

// FollowedFeed is a term of a rule over several, and for how many keys the event is a fact
// of it.
type FollowedFeed struct {
	Rule  string           `json:"rule"`
	Term  int              `json:"term"`
	When  expr.Explanation `json:"when"`
	Facts int              `json:"facts"`
	// Ignores are those of the rule, up to one that takes the event out: Ignored.
	Ignores []FollowedIgnore `json:"ignores,omitempty"`
	Ignored string           `json:"ignored,omitempty"`
}

// Trace says what becomes of event i of a batch, as Match does, and why by the conditions.
func (w *Worker) Trace(b *model.Batch, i int, seq uint64, why expr.Conditions) Trace {
	t := Trace{Config: w.version(b.Source, b.Maker, seq), Pipelines: []Followed{}}
	from := w.source(b.Source, b.Maker, seq)
	if from.Source != nil && from.Shadow != "" {
		t.Shadow = from.Shadow
		return t
	}
	e := &b.Events[i]
	at := model.Position{Seq: seq, Index: i}
	var res model.MatchResult
	t.Reason = w.one(b, e, from, at, &res)
	t.Signals, t.Facts = res.Signals, res.Facts
	if from.Source == nil || w.read(e, from.plan) != "" {
		return t
	}
	w.event.reset(b, e, w.doc.Value())
	for i := range from.Pipelines {
		f := w.follow(&from.Pipelines[i], b, e, why)
		if t.Reason != "" { // of what is set aside nothing is reported
			f.Signal = ""
			for j := range f.Rules {
				f.Rules[j].Signal = ""
			}
			for j := range f.Feeds {
				f.Feeds[j].Facts = 0
			}
		}
		t.Pipelines = append(t.Pipelines, f)
	}
	return t
}

// follow goes through a pipeline as w.pipeline does, and keeps what each condition says.
func (w *Worker) follow(p *Pipeline, b *model.Batch, e *model.Event, why expr.Conditions) (f Followed) {
	f.Pipeline = p.Address
	defer func() {
		// What ends an event's matching is said by Trace.Reason.
		if recover() != nil {
			f.Mapped = nil
		}
	}()
	w.event.unmapped()
	for _, when := range p.When {
		said := why.Explain(when, &w.scope)
		f.When = append(f.When, said)
		if !said.True() {
			return f
		}
	}
	f.Through = true
	m := w.mapped(p, b, e)
	f.Mapped, w.event.signal = &m, &m
	if m.Time.Sub(b.Received) > maxAhead {
		return f
	}
	if f.Ignores, f.Ignored = w.followIgnores(p.Ignores, b, why); f.Ignored != "" {
		return f
	}
	if p.Alerts {
		f.Signal = model.SignalID(p.Address, b.Source, b.Maker, e.ID)
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		said := FollowedRule{Address: r.Address, When: why.Explain(r.When, &w.scope)}
		if said.When.True() {
			said.Ignores, said.Ignored = w.followIgnores(r.Ignores, b, why)
		}
		if said.When.True() && said.Ignored == "" {
			said.Signal = model.SignalID(r.Address, b.Source, b.Maker, e.ID)
		}
		f.Rules = append(f.Rules, said)
	}
	for i := range p.Feeds {
		feed := &p.Feeds[i]
		var res model.MatchResult
		w.facts(&Pipeline{Feeds: p.Feeds[i : i+1]}, b, e, model.Position{}, &m, &res)
		said := FollowedFeed{Rule: feed.Rule, Term: feed.Term, When: why.Explain(feed.When, &w.scope), Facts: len(res.Facts)}
		if feed.When == nil || said.When.True() {
			said.Ignores, said.Ignored = w.followIgnores(feed.Ignores, b, why)
		}
		f.Feeds = append(f.Feeds, said)
	}
	return f
}

// followIgnores asks ignores up to the one that takes the event out; by is its address.
func (w *Worker) followIgnores(all []Ignore, b *model.Batch, why expr.Conditions) (asked []FollowedIgnore, by string) {
	for i := range all {
		ig := &all[i]
		said := FollowedIgnore{Address: ig.Address, Expires: ig.Expires, Over: !b.Received.Before(ig.Expires), When: why.Explain(ig.When, &w.scope)}
		asked = append(asked, said)
		if !said.Over && ig.When != nil && said.When.True() {
			return asked, ig.Address
		}
	}
	return asked, ""
}
