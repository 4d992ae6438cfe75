// Package trace shows what becomes of one event at each stage, and what was the first
// thing that was false: "why did it not fire?"
package trace

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Tracer traces by one configuration.
type Tracer struct {
	Match  *match.Settings
	Decide *decide.Settings
	Why    expr.Conditions
	// Ignores by address; Makers are the labels of the connectors by their detectors'.
	Ignores map[string]Ignore
	Makers  map[string]string
	// Shown gives the address of now for one by which a block is known: it may be renamed.
	Shown func(string) string
	// Hash of the configuration, and of the one in force; empty: none is known.
	Hash, InForce string
	Now           time.Time

	// Former gives what a configuration that was in force said of matching; nil: not known.
	Former func(ctx context.Context, hash string) *match.Settings

	// Store and Log are where stored events are; nil: there is nothing stored.
	Store *store.Store
	Log   *eventlog.Log
}

// Ignore is what a person should know of an ignore block.
type Ignore struct {
	Address string `json:"address"`
	Owner   string `json:"owner"`
	Reason  string `json:"reason"`
}

// Report is what becomes of an event under the configuration, and of a stored one what
// became of it.
type Report struct {
	At time.Time `json:"at"`
	// Config is the hash of the configuration that it is traced by. Then is that of the
	// one in force when the event came; empty: not known. InForce is that of the one in
	// force now; empty: not known.
	Config  string `json:"config"`
	Then    string `json:"config_then,omitempty"`
	InForce string `json:"config_in_force,omitempty"`
	Event   Event  `json:"event"`
	// Note says what else there is to know of how the event was found.
	Note string `json:"note,omitempty"`
	// Match is what becomes of it under the configuration, and Signals are the ids and
	// common fields of what it reports.
	Match   match.Trace `json:"match"`
	Signals []Signal    `json:"signals"`
	Ignores []Ignore    `json:"ignores,omitempty"`
	// Facts are what it is to rules over several.
	Facts []Fact `json:"facts,omitempty"`
	// Stored is what became of it; nil: it is not stored, or not decided yet.
	Stored *Stored `json:"stored,omitempty"`
	// Cases are those that its signals are in.
	Cases []Case `json:"cases"`
	// Differs says where what the configuration would make of it is something else than
	// what became of it.
	Differs []string `json:"differs,omitempty"`
	// Answer is one sentence: did it fire, and if not, why.
	Answer string `json:"answer"`
}

// Event is the one that is traced. Seq is 0 if it is not stored.
type Event struct {
	Source      string           `json:"source"`
	Maker       string           `json:"maker,omitempty"`
	Seq         uint64           `json:"seq,omitempty"`
	Index       int              `json:"index"`
	Batch       int              `json:"batch"` // how many events came at once
	ID          string           `json:"id"`
	Revision    string           `json:"revision,omitempty"`
	Received    time.Time        `json:"received"`
	Time        time.Time        `json:"time,omitzero"`
	Title       string           `json:"title,omitempty"`
	Severity    *int             `json:"severity,omitempty"`
	Stopped     *bool            `json:"stopped,omitempty"`
	Techniques  []string         `json:"techniques,omitempty"`
	Observables []sdk.Observable `json:"observables,omitempty"`
	Problem     string           `json:"problem,omitempty"`
	Size        int              `json:"size"` // of the payload, in bytes
	// Raw is the payload, if it is JSON and no larger than MaxRaw; Bytes are its beginning
	// otherwise.
	Raw   json.RawMessage `json:"raw,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"`
}

// MaxRaw bounds what a report shows of a payload.
const MaxRaw = 64 << 10

// Signal is what a rule makes of the event.
type Signal struct {
	ID       string `json:"id"`
	Rule     string `json:"rule"`
	Title    string `json:"title"`
	Severity int    `json:"severity"`
	Case     string `json:"case,omitempty"`
	// Experimental: it joins no case, and reaches nobody.
	Experimental bool `json:"experimental,omitempty"`
}

// Stored is what became of a stored event.
type Stored struct {
	// Decided: it has gone through all stages.
	Decided bool `json:"decided"`
	// Rejected is why it was set aside; empty: it was not.
	Rejected string   `json:"rejected,omitempty"`
	Signals  []Signal `json:"signals"`
}

// Case is one that signals of the event are in.
type Case struct {
	model.Case
	// Would: it is what the configuration would make of it; else it is as it is stored.
	Would bool `json:"would"`
	// Alone: what is stored was not looked at for what it may belong to; Left says what
	// of it was left out.
	Alone bool   `json:"alone,omitempty"`
	Left  string `json:"left,omitempty"`
	// Own are the event's signals in it, and Shared the values by which they are in it.
	Own       []string        `json:"own"`
	Shared    []Shared        `json:"shared"`
	Lookups   []store.Lookup  `json:"lookups"`
	Responses []plan.Followed `json:"responses"`
	Intents   []model.Intent  `json:"intents"`
}

// Shared is a value that other signals of the case have as well.
type Shared struct {
	Observable sdk.Observable `json:"observable"`
	// Signals counts the others, and Rules are what reported them.
	Signals int      `json:"signals"`
	Rules   []string `json:"rules"`
	// Never: it is one that joins nothing.
	Never bool `json:"never,omitempty"`
}

// Query names a stored event.
type Query struct {
	// Event is its place ("120/3"), its id, the id of one of its signals or of a case, or
	// a detector, for its newest.
	Event string
	// Source restricts ids to a detector's; empty: any.
	Source string
}

// ErrNotFound: there is no such event. ErrSeveral: there are several cases of that name. The
// texts of errors that are these go on after "there is".
var (
	ErrNotFound = errors.New("not found")
	ErrSeveral  = errors.New("more than one")
)

// Stored traces a stored event.
func (t *Tracer) Stored(ctx context.Context, q Query) (Report, error) {
	f, err := t.find(ctx, q)
	if err != nil {
		return Report{}, err
	}
	r := t.matched(f)
	if err := t.facts(ctx, &r, f); err != nil {
		return Report{}, err
	}
	if err := t.happened(ctx, &r, f); err != nil {
		return Report{}, err
	}
	if err := t.cases(ctx, &r, f); err != nil {
		return Report{}, err
	}
	t.compare(&r)
	r.Answer = answer(&r)
	return r, nil
}

// Given traces an event that is not stored, as the only one of a batch that has just come.
func (t *Tracer) Given(ctx context.Context, b model.Batch) (Report, error) {
	f := found{batch: b}
	r := t.matched(f)
	if err := t.facts(ctx, &r, f); err != nil {
		return Report{}, err
	}
	if err := t.cases(ctx, &r, f); err != nil {
		return Report{}, err
	}
	r.Answer = answer(&r)
	return r, nil
}

// matched is what match makes of an event.
func (t *Tracer) matched(f found) Report {
	e := &f.batch.Events[f.index]
	r := Report{
		At: t.Now, Config: t.Hash, InForce: t.InForce, Note: f.note, Signals: []Signal{}, Cases: []Case{},
		Event: Event{
			Source: t.Shown(f.batch.Source), Maker: f.batch.Maker, Seq: f.seq, Index: f.index, Batch: f.count(), ID: e.ID, Revision: e.Revision,
			Received: f.batch.Received, Time: e.Time, Title: e.Title, Severity: e.Severity, Stopped: e.Stopped,
			Techniques: e.Techniques, Observables: e.Observables, Problem: e.Problem, Size: len(e.Raw),
		},
	}
	if len(e.Raw) <= MaxRaw && utf8.Valid(e.Raw) && json.Valid(e.Raw) {
		r.Event.Raw = e.Raw
	} else {
		r.Event.Bytes = e.Raw[:min(len(e.Raw), MaxRaw)]
	}
	if r.Event.Revision == "" {
		r.Event.Revision = model.RevisionOf(e.Raw)
	}
	r.Match = match.NewWorker(t.Match).Trace(&f.batch, f.index, f.seq, t.Why)
	for _, g := range r.Match.Signals {
		r.Signals = append(r.Signals, t.signal(g, ""))
	}
	t.show(&r)
	return r
}

func (t *Tracer) signal(g model.Signal, in string) Signal {
	return Signal{ID: g.ID, Rule: t.Shown(g.Rule), Title: g.Title, Severity: g.Severity, Case: in, Experimental: g.Experimental}
}

// show puts the addresses of now into what match said, and notes the ignores.
func (t *Tracer) show(r *Report) {
	for i := range r.Match.Pipelines {
		f := &r.Match.Pipelines[i]
		f.Pipeline = t.Shown(f.Pipeline)
		asked := slices.Clone(f.Ignores)
		for j := range f.Rules {
			f.Rules[j].Address = t.Shown(f.Rules[j].Address)
			asked = append(asked, f.Rules[j].Ignores...)
		}
		for j := range f.Feeds {
			f.Feeds[j].Rule = t.Shown(f.Feeds[j].Rule)
			asked = append(asked, f.Feeds[j].Ignores...)
		}
		for j := range asked {
			if ig, ok := t.Ignores[asked[j].Address]; ok && !slices.Contains(r.Ignores, ig) {
				r.Ignores = append(r.Ignores, ig)
			}
		}
	}
	r.Match.Shadow = t.Shown(r.Match.Shadow)
}
