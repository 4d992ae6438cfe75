package match

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

const (
	// maxAhead is how far an event's time may lie behind its receipt; a later one is
	// set aside, since it would move every window.
	maxAhead = 24 * time.Hour
	// maxObservables of one signal; maxNotes about what could not be read.
	maxObservables = 256
	maxNotes       = 16
	maxTitle       = 512 // bytes
	maxKind        = 80
	maxTechnique   = 32
)

// earliest time of an event that is taken for one.
var earliest = time.Unix(0, 0)

// Worker matches batches. It is for one goroutine; any number may share Settings.
type Worker struct {
	settings *Settings
	sources  map[string]source
	former   map[string][]source // by detector: of what it reported under other terms, the earliest first
	scope    expr.Scope
	doc      expr.Document
	event    eventFields
	// exceeded is why the event that is being matched is set aside; empty: it is not.
	exceeded string
	// watch over the message that is being matched; nil: it is not watched.
	watch *watch
	// observer is told of conditions; nil: nobody is.
	observer func(*expr.Program, *expr.Scope, expr.Truth)
	// meter measures some events; nil: none. lapping is the one that is measured now.
	meter      *Meter
	unmeasured int
	measured   lap
	lapping    *lap
}

// Observe has f told of each condition that is evaluated from now on, in the order of
// evaluation, with what it reads and what it says. f may evaluate others in the scope.
func (w *Worker) Observe(f func(p *expr.Program, s *expr.Scope, t expr.Truth)) { w.observer = f }

// source with what its programs read of an event's payload.
type source struct {
	*Source
	plan *expr.Plan
}

// NewWorker makes a worker. Settings must not change afterwards.
func NewWorker(s *Settings) *Worker {
	w := &Worker{settings: s, sources: make(map[string]source, len(s.Sources)), former: map[string][]source{}}
	for i := range s.Sources {
		from := &s.Sources[i]
		if from.Maker != "" || from.Until > 0 {
			w.former[from.Detector] = append(w.former[from.Detector], source{from, from.plan()})
			continue
		}
		w.sources[from.Detector] = source{from, from.plan()}
	}
	w.scope.Set("event", expr.Record(&w.event))
	w.scope.SetDocument(&w.doc)
	return w
}

// Match says what becomes of the events of one EVENTS message, and which of them
// have to be set aside. The result's At, Seq, Total are the caller's to set.
func (w *Worker) Match(b *model.Batch, seq uint64) (model.MatchResult, []model.Rejected) {
	res := model.MatchResult{Seq: seq, Source: b.Source, Config: w.version(b.Source, b.Maker, seq)}
	var rejected []model.Rejected
	from := w.source(b.Source, b.Maker, seq)
	if from.Source != nil && from.Shadow != "" {
		if n := len(b.Events); n > 0 {
			res.Counts.Shadow = map[string]int{from.Shadow: n}
		}
		return res, nil
	}
	for i := range b.Events {
		e := &b.Events[i]
		reason := w.watch.event(i)
		if reason == "" {
			reason = w.one(b, e, from, model.Position{Seq: seq, Index: i}, &res)
		}
		if reason != "" {
			rejected = append(rejected, setAside(b, i, reason, &res))
		}
	}
	return res, rejected
}

// source is how the events of one message are matched: of a detector, reported by a
// connector.
func (w *Worker) source(detector, maker string, seq uint64) source {
	for _, s := range w.former[detector] {
		if (s.Maker == "" || s.Maker == maker) && (s.Until == 0 || seq <= s.Until) {
			return s
		}
	}
	return w.sources[detector]
}

// version is the hash of the configuration that a message is matched by.
func (w *Worker) version(detector, maker string, seq uint64) string {
	if s := w.source(detector, maker, seq); s.Source != nil && s.Version != "" {
		return s.Version
	}
	return w.settings.Version
}

// setAside counts an event as rejected, and is all that is known of it.
func setAside(b *model.Batch, i int, reason string, res *model.MatchResult) model.Rejected {
	if res.Counts.Rejected == nil {
		res.Counts.Rejected = map[string]int{}
	}
	res.Counts.Rejected[kindOf(reason)]++
	e := &b.Events[i]
	return model.Rejected{
		Source: b.Source, Seq: res.Seq, Index: i, ID: e.ID, Reason: reason,
		Received: b.Received, Raw: e.Raw, Oversize: e.Oversize,
	}
}

// kindOf is a reason without what is particular to one event, so that counts by
// reason are few and small.
func kindOf(reason string) string {
	kind, _, _ := strings.Cut(reason, ": ")
	return clip(kind, maxKind)
}

// one adds to res what becomes of one event, or says why it is set aside.
func (w *Worker) one(b *model.Batch, e *model.Event, from source, at model.Position, res *model.MatchResult) (reason string) {
	signals, facts := len(res.Signals), len(res.Facts)
	defer func() {
		if p := recover(); p != nil {
			res.Signals, res.Facts = res.Signals[:signals], res.Facts[:facts]
			reason = fmt.Sprintf("not processed: %v at %s", p, debug.Stack())
		}
	}()
	if reason := w.read(e, from.plan); reason != "" {
		return reason
	}
	if from.Source == nil {
		res.Counts.Passed++
		return ""
	}
	w.exceeded, w.lapping = "", w.lap()
	w.event.name = from.Name
	w.event.reset(b, e, w.doc.Value())
	class, ignore := passed, ""
	for i := range from.Pipelines {
		c, ig, reason := w.pipeline(&from.Pipelines[i], b, e, at, res)
		if reason != "" {
			res.Signals, res.Facts = res.Signals[:signals], res.Facts[:facts]
			return reason
		}
		if c > class {
			class, ignore = c, ig
		}
	}
	switch class {
	case matched:
		res.Counts.Matched++
	case fact:
		res.Counts.Fact++
	case ignored:
		if res.Counts.Ignored == nil {
			res.Counts.Ignored = map[string]int{}
		}
		res.Counts.Ignored[ignore]++
	default:
		res.Counts.Passed++
	}
	return ""
}

// class of an event; the highest over all pipelines counts.
type class int

const (
	passed class = iota
	ignored
	fact
	matched
)

// read takes an event's payload in, or says why it can't be processed at all.
func (w *Worker) read(e *model.Event, plan *expr.Plan) string {
	switch {
	case e.Oversize != nil:
		return fmt.Sprintf("too large: %d bytes at %s", e.Oversize.Length, e.Oversize.Place)
	case e.Problem != "":
		// What a connector says may tell a place, and so be another for each event.
		return "not read: " + e.Problem
	}
	if err := w.doc.Read(e.Raw, plan); err != nil {
		return "not an event: " + err.Error()
	}
	if w.doc.Value().Kind() != expr.ObjectKind {
		return "not an event: not a JSON object"
	}
	return ""
}

func (w *Worker) pipeline(p *Pipeline, b *model.Batch, e *model.Event, at model.Position, res *model.MatchResult) (class, string, string) {
	w.event.unmapped()
	w.lapping.begin()
	for _, when := range p.When {
		if w.truth(when) != expr.True {
			w.lapping.end(p.Address, false)
			return passed, "", w.exceeded
		}
	}
	m := w.mapped(p, b, e)
	if w.exceeded != "" {
		return passed, "", w.exceeded
	}
	if ahead := m.Time.Sub(b.Received); ahead > maxAhead {
		return passed, "", fmt.Sprintf("time in the future: %s is %d hours after it was received",
			m.Time.Format(time.RFC3339), int(ahead.Hours()))
	}
	w.event.signal = &m
	if by := w.ignoredBy(p.Ignores, b); by != "" {
		w.lapping.end(p.Address, false)
		return ignored, by, ""
	}
	class, ignore := passed, ""
	report := func(rule string, experimental bool, title string, severity int) {
		s := m
		s.Experimental = experimental
		s.ID = model.SignalID(rule, b.Source, b.Maker, e.ID)
		s.Rule, s.Source, s.EventID, s.Position = rule, b.Source, e.ID, at
		s.Title, s.Severity = title, severity
		if s.Revision = e.Revision; s.Revision == "" {
			s.Revision = model.RevisionOf(e.Raw)
		}
		s.Raw = e.Raw
		res.Signals = append(res.Signals, s)
		class = matched
	}
	if p.Alerts {
		report(p.Address, p.Experimental, m.Title, m.Severity)
	}
	w.lapping.end(p.Address, p.Alerts)
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.When != nil && w.truth(r.When) != expr.True {
			w.lapping.end(r.Address, false)
			continue
		}
		if by := w.ignoredBy(r.Ignores, b); by != "" {
			w.lapping.end(r.Address, false)
			if class < ignored {
				class, ignore = ignored, by
			}
			continue
		}
		title, severity := m.Title, m.Severity
		if r.Title != nil {
			title = clip(w.eval(r.Title).Text(), maxTitle)
		}
		if r.Severity != nil {
			severity = *r.Severity
		}
		report(r.Address, r.Experimental, title, severity)
		w.lapping.end(r.Address, true)
	}
	any, by := w.facts(p, b, e, at, &m, res)
	switch {
	case any:
		class = max(class, fact)
	case by != "" && class < ignored:
		class, ignore = ignored, by
	}
	return class, ignore, w.exceeded
}

// ignoredBy is the address of the first ignore that takes the event out; empty: none does.
func (w *Worker) ignoredBy(all []Ignore, b *model.Batch) string {
	for i := range all {
		ig := &all[i]
		if b.Received.Before(ig.Expires) && w.truth(ig.When) == expr.True {
			return ig.Address
		}
	}
	return ""
}

// truth evaluates a condition.
func (w *Worker) truth(p *expr.Program) expr.Truth {
	if p == nil {
		return expr.Null
	}
	t := p.Truth(&w.scope)
	if w.scope.Exceeded() {
		w.exceeded = gaveUp
	}
	if w.observer != nil {
		w.observer(p, &w.scope, t)
	}
	return t
}

const gaveUp = "too much work: an expression was given up"

// eval evaluates a program; none gives null. What takes too much work is given up,
// and the event is set aside: as false it would hide from the rule.
func (w *Worker) eval(p *expr.Program) expr.Value {
	if p == nil {
		return expr.Value{}
	}
	v := p.Eval(&w.scope)
	if w.scope.Exceeded() {
		w.exceeded = gaveUp
	}
	return v
}

// mapped reads the common fields by the pipeline's map, and what it leaves out from
// what the connector read.
func (w *Worker) mapped(p *Pipeline, b *model.Batch, e *model.Event) model.Signal {
	m := model.Signal{Title: e.Title, Stopped: e.Stopped, Link: clip(e.Link, maxTitle), Time: e.Time}
	for _, t := range e.Techniques[:min(len(e.Techniques), maxObservables)] {
		m.Techniques = append(m.Techniques, clip(t, maxTechnique))
	}
	if e.Severity != nil {
		m.Severity = *e.Severity
	}
	if v := w.eval(p.Map.Title); !v.IsNull() {
		m.Title = v.Text()
	}
	m.Title = clip(m.Title, maxTitle)
	if v := w.eval(p.Map.Severity); !v.IsNull() {
		if f, ok := v.Float(); ok {
			m.Severity = int(f + 0.5)
		}
	}
	m.Severity = min(max(m.Severity, 0), 100)
	if v := w.eval(p.Map.Time); !v.IsNull() {
		if t, ok := eventTime(v, p.Map.TimeZone); ok {
			m.Time = t
		} else {
			note(&m, "time %q can't be read", clip(v.Text(), 64))
		}
	}
	if m.Time.Before(earliest) && !m.Time.IsZero() {
		note(&m, "time is before 1970")
		m.Time = time.Time{}
	}
	if m.Time.IsZero() {
		m.Time, m.Receipt = b.Received, true
	}
	m.Time = m.Time.UTC()
	if v := w.eval(p.Map.Stopped); v.Kind() == expr.BoolKind {
		stopped := v.Truth() == expr.True
		m.Stopped = &stopped
	}
	if v := w.eval(p.Map.Link); !v.IsNull() {
		m.Link = clip(v.Text(), maxTitle)
	}
	if v := w.eval(p.Map.Techniques); !v.IsNull() {
		m.Techniques = nil
		for t := range v.Leaves() {
			if s, ok := t.Str(); ok && len(m.Techniques) < maxObservables {
				m.Techniques = append(m.Techniques, clip(s, maxTechnique))
			}
		}
	}
	if len(m.Techniques) > 1 {
		m.Techniques = slices.Compact(slices.Sorted(slices.Values(m.Techniques)))
	}
	w.observables(p, e, &m)
	return m
}
