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
	// Version is the hash of the configuration that this is of; empty: of the Settings'.
	Version   string
	Pipelines []Pipeline
}

// Pipeline is one road for the events of its sources.
type Pipeline struct {
	Address string // "pipeline.edge_ids"
	// When must all be true for an event to go on; empty: all do.
	When []*expr.Program
	Map  Mapping
	// Alerts: what passes is a signal of the pipeline itself.
	Alerts  bool
	Ignores []Ignore
	Rules   []Rule
}

// programs are all that read the source's events.
func (s *Source) programs() []*expr.Program {
	var all []*expr.Program
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		all = append(all, p.When...)
		m := &p.Map
		all = append(all, m.Title, m.Severity, m.Time, m.Stopped, m.Techniques, m.Link, m.Subjects, m.Indicators, m.Observables)
		for j := range p.Ignores {
			all = append(all, p.Ignores[j].When)
		}
		for j := range p.Rules {
			all = append(all, p.Rules[j].When, p.Rules[j].Title)
		}
	}
	return all
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
}
