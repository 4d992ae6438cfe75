// Package match turns events into signals: each source's own pipelines, then the
// rules over one event. It keeps no state and may run many times in parallel.
package match

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// NewIndex numbers what the expressions about events read of their payloads. Those
// that are compiled with it need no second look at a payload.
func NewIndex() *expr.Index { return expr.NewIndex("event", "raw") }

// Settings is what the configuration says about matching.
type Settings struct {
	// Version is the hash of the configuration.
	Version string
	Sources []Source
}

// Source is what becomes of one detector's events. An event goes through every
// pipeline that names its detector.
type Source struct {
	Detector string // address, "detector.eve"
	// Name is its address of now, if it was renamed; expressions read it.
	Name string
	// Maker is the label of the connector whose events alone this is for: another one has
	// taken its place. Empty: it is for all.
	Maker string
	// Until: for messages up to this sequence of EVENTS alone; the detector has come to be, or
	// to be no longer, a shadow since. 0: for all.
	Until uint64
	// Version is the hash of the configuration that this is of; empty: of the Settings'.
	Version   string
	Pipelines []Pipeline
	// Shadow is the detector that this one is compared with; empty: it counts itself.
	// A shadow's events are counted, and nothing else becomes of them.
	Shadow string
	// A shadow's events are compared as the other's pipelines read them, if they are Alike:
	// of one connector. Otherwise by Mapping, the connector's own.
	Alike   bool
	Mapping Mapping
}

// Pipeline is one road for the events of its sources.
type Pipeline struct {
	Address string // "pipeline.edge_ids"
	// When must all be true for an event to go on; empty: all do.
	When []*expr.Program
	Map  Mapping
	// Alerts: what passes is a signal of the pipeline itself.
	Alerts bool
	// Experimental: its own signals are, not those of its rules.
	Experimental bool
	Ignores      []Ignore
	Rules        []Rule
	// Feeds are the rules over several that its events are facts of.
	Feeds []Feed
}

// Expression is a program with what it is for.
type Expression struct {
	Of      string // "pipeline.edge_ids", "rule.beacon"
	What    string // "when", "map.title"
	Program *expr.Program
}

// Expressions are all that read the source's events, in the order of their evaluation.
func (s *Source) Expressions() []Expression {
	var all []Expression
	add := func(of, what string, p *expr.Program) {
		if p != nil {
			all = append(all, Expression{of, what, p})
		}
	}
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		for _, when := range p.When {
			add(p.Address, "when", when)
		}
		m := &p.Map
		add(p.Address, "map.title", m.Title)
		add(p.Address, "map.severity", m.Severity)
		add(p.Address, "map.time", m.Time)
		add(p.Address, "map.stopped", m.Stopped)
		add(p.Address, "map.link", m.Link)
		add(p.Address, "map.techniques", m.Techniques)
		add(p.Address, "map.subjects", m.Subjects)
		add(p.Address, "map.indicators", m.Indicators)
		add(p.Address, "map.observables", m.Observables)
		for j := range p.Ignores {
			add(p.Ignores[j].Address, "when", p.Ignores[j].When)
		}
		for j := range p.Rules {
			add(p.Rules[j].Address, "when", p.Rules[j].When)
			for _, ig := range p.Rules[j].Ignores {
				add(ig.Address, "when", ig.When)
			}
			add(p.Rules[j].Address, "title", p.Rules[j].Title)
		}
		for j := range p.Feeds {
			f := &p.Feeds[j]
			add(f.Rule, "when", f.When)
			for _, ig := range f.Ignores {
				add(ig.Address, "when", ig.When)
			}
			for _, k := range f.Keys {
				add(f.Rule, "key", k)
			}
			add(f.Rule, "value", f.Value)
		}
	}
	return all
}

// plan is what has to be found in the source's payloads.
func (s *Source) plan() *expr.Plan {
	var programs []*expr.Program
	for _, e := range s.Expressions() {
		programs = append(programs, e.Program)
	}
	return expr.NewPlan(programs...)
}

// Mapping reads an event's common fields from its payload. A nil program leaves
// what the connector could read. Subjects, Indicators and Observables give objects
// of kind = value or list of values.
type Mapping struct {
	Title, Severity, Time, Stopped, Techniques, Link *expr.Program
	Subjects, Indicators, Observables                *expr.Program
	// TimeZone is for times without one; nil: UTC.
	TimeZone *time.Location
}

// Ignore takes an event out, and is counted. When is compiled strict: null means
// not ignored.
type Ignore struct {
	Address string // "ignore.vulnerability scanner"
	When    *expr.Program
	// Expires: it has no effect on batches received later.
	Expires time.Time
}

// Rule over one event of a pipeline.
type Rule struct {
	Address  string // "rule.beacon"
	When     *expr.Program
	Title    *expr.Program // nil: the rule's name
	Severity *int          // nil: the event's
	// Experimental: its signals are kept and counted, and reach nobody.
	Experimental bool
	// Ignores take events out of this rule alone.
	Ignores []Ignore
}
