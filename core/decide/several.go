package decide

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// several is what is remembered for rules over several events and over signals.
type several struct {
	windows *correlate.Windows
	rules   []*ruleState // those that are read before those that read them
	by      map[string]*ruleState
	feeds   map[string][]feedOf // by the address whose signals they are

	// Signals that are to feed rules wait until what was asked about them is answered;
	// those that a rule over several reports also until none can become earlier.
	waiting map[string]*waiter   // by signal
	asks    map[string][]*waiter // by what they wait for
	queues  map[string]*waits    // by address
	numbers uint64

	// What the input that is being applied has brought, and is to be done next.
	reports map[reportKey]correlate.Report
	singles []model.Signal
	ready   []*waiter
	moved   bool // rules may have come further

	kept *keptRules // of before the end of the run; nil: it has not ended
	// atEnd are signals of experimental rules that the end of a run has brought: what was
	// kept knows nothing of them.
	atEnd map[string]bool

	scope expr.Scope
}

type reportKey struct {
	rule, key string
	bucket    int64
}

// waiter is a signal on its way to the rules that read it.
type waiter struct {
	ID     string `json:"id"`
	Source string `json:"source"` // whose signals are read
	At     int64  `json:"at"`     // its time
	Number uint64 `json:"number"` // in the order of their coming
	// Key has the observables that a rule over several groups by: of what it reports
	// nothing else is the same for ever.
	Key []sdk.Observable `json:"key,omitempty"`

	// Ask is what it waits for; empty: nothing. Of a signal that has lost the value since, it
	// is waited for all the same.
	Ask string `json:"ask,omitempty"`

	ready bool
	gone  bool
}

// waits has the waiters of an address by time. An entry whose time is another is out of
// date.
type waits []waitEntry

type waitEntry struct {
	at int64
	w  *waiter
}

func (q waits) Len() int           { return len(q) }
func (q waits) Less(i, j int) bool { return q[i].at < q[j].at }
func (q waits) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *waits) Push(v any)        { *q = append(*q, v.(waitEntry)) }

func (q *waits) Pop() any {
	last := len(*q) - 1
	v := (*q)[last]
	*q = (*q)[:last]
	return v
}

// first is the time of the earliest that waits.
func (q *waits) first() (int64, bool) {
	for q != nil && len(*q) > 0 {
		if e := (*q)[0]; !e.w.gone && e.w.At == e.at {
			return e.at, true
		}
		heap.Pop(q)
	}
	return 0, false
}

func newSeveral() several {
	return several{
		windows: correlate.NewWindows(nil), by: map[string]*ruleState{}, waiting: map[string]*waiter{}, asks: map[string][]*waiter{},
		queues: map[string]*waits{}, reports: map[reportKey]correlate.Report{}, atEnd: map[string]bool{},
	}
}

// configureRules puts the rules of a configuration in force. What is known of those that
// look for the same as before stays.
func (m *Machine) configureRules() {
	s := &m.several
	old := s.by
	s.rules, s.by, s.feeds = newRules(m.settings.Rules)
	var watches []correlate.Watch
	for _, r := range s.rules {
		r.complete, r.since = math.MinInt64, m.awake
		if before := old[r.Address]; before != nil {
			r.since = before.since
			if before.Watch == r.Watch && before.Single == r.Single {
				r.complete = before.complete
			}
		}
		if !r.Single {
			watches = append(watches, r.Watch)
		}
	}
	s.windows.Configure(watches)
	for _, w := range m.inTurn() {
		if s.feeds[w.Source] == nil {
			m.stopWaiting(w)
			continue
		}
		m.lookAt(w)
	}
	s.moved = true
}

// inTurn are the waiters in the order of their coming.
func (m *Machine) inTurn() []*waiter {
	all := make([]*waiter, 0, len(m.several.waiting))
	for _, w := range m.several.waiting {
		all = append(all, w)
	}
	slices.SortFunc(all, inTurn)
	return all
}

func inTurn(a, b *waiter) int { return cmp.Compare(a.Number, b.Number) }

// facts takes what match has found for rules over several.
func (m *Machine) facts(r *model.MatchResult) {
	for i := range r.Facts {
		f := &r.Facts[i]
		m.markSource(r.Source, f.Time)
		m.put(&correlate.Fact{
			Watch: f.Rule, Term: f.Term, Key: f.Key, ID: f.ID, Time: f.Time, Value: f.Value, Number: f.Number,
			Seq: f.Position.Seq, Index: f.Position.Index, Observables: f.Observables, Severity: f.Severity, Techniques: f.Techniques,
		})
	}
}

func (m *Machine) put(f *correlate.Fact) { m.reported(m.several.windows.Put(f)) }

// reported keeps the latest of each report until it becomes a signal.
func (m *Machine) reported(reports []correlate.Report) {
	for _, r := range reports {
		key := reportKey{r.Watch, r.Key, r.Bucket.UnixNano()}
		if before, ok := m.several.reports[key]; ok {
			r.Again = before.Again
		}
		m.several.reports[key] = r
	}
}

// toRules has a signal fed to the rules that read it, once enough is known about it.
func (m *Machine) toRules(id, source string, at time.Time, key []sdk.Observable) {
	s := &m.several
	if s.feeds[source] == nil {
		return
	}
	w, known := s.waiting[id]
	if !known {
		s.numbers++
		w = &waiter{ID: id, Source: source, Number: s.numbers}
		s.waiting[id] = w
	}
	w.Key = key
	if t := at.UnixNano(); !known || t != w.At {
		w.At = t
		m.enqueue(w)
	}
	m.lookAt(w)
}

func (m *Machine) enqueue(w *waiter) {
	q := m.several.queues[w.Source]
	if q == nil {
		q = &waits{}
		m.several.queues[w.Source] = q
	}
	heap.Push(q, waitEntry{w.At, w})
}

// lookAt looks whether a signal still waits for an answer, and has it fed if it waits for
// nothing.
func (m *Machine) lookAt(w *waiter) {
	if w.gone || w.ready {
		return
	}
	s := &m.several
	w.Ask = ""
	if n, here := m.index.Signal(w.ID); here && m.pending > 0 {
		m.signalView(n).eachLookup(func(_ *seen, l *lookup) {
			if w.Ask == "" && l.pending() {
				w.Ask = l.ask
			}
		})
	}
	switch r := s.by[w.Source]; {
	case w.Ask != "":
		s.asks[w.Ask] = append(s.asks[w.Ask], w)
	case r == nil || r.Single:
		m.feedNext(w)
	default: // it is fed when it can't become earlier: see settleRule
		r.look, s.moved = true, true
	}
}

func (m *Machine) feedNext(w *waiter) {
	w.ready = true
	m.several.ready = append(m.several.ready, w)
}

// answered wakes the signals that waited for an ask.
func (m *Machine) answered(ask string) {
	waiters := m.several.asks[ask]
	delete(m.several.asks, ask)
	slices.SortFunc(waiters, inTurn)
	for _, w := range waiters {
		if w.Ask == ask {
			m.lookAt(w)
		}
	}
}

func (m *Machine) stopWaiting(w *waiter) {
	w.gone = true
	delete(m.several.waiting, w.ID)
	m.several.moved = true
}

// more tells whether the input that is being applied has brought something that is not
// done yet.
func (m *Machine) more() bool {
	s := &m.several
	if len(s.reports)+len(s.singles)+len(s.ready) == 0 && s.moved {
		s.moved = false
		m.advance()
	}
	return len(s.reports)+len(s.singles)+len(s.ready) > 0
}

// step does what more has found.
func (m *Machine) step() error {
	s := &m.several
	reports, singles, ready := m.reportsInOrder(), s.singles, s.ready
	s.reports, s.singles, s.ready = map[reportKey]correlate.Report{}, nil, nil
	s.moved = true
	slices.SortFunc(ready, inTurn)
	for i := range reports {
		in := m.signalOf(&reports[i])
		if err := m.takeOwn(&in, m.keyObservables(&reports[i]), reports[i].Again); err != nil {
			return err
		}
	}
	for i := range singles {
		if err := m.takeOwn(&singles[i], nil, false); err != nil {
			return err
		}
	}
	for _, w := range ready {
		m.feed(w)
		m.stopWaiting(w)
	}
	return nil
}

// takeOwn takes a signal of a rule over several, or over signals. It is counted where the
// first of the detectors is that the rule goes back to. Of an experimental one nothing is
// remembered that would tell whether it was reported before: again does.
func (m *Machine) takeOwn(in *model.Signal, key []sdk.Observable, again bool) error {
	asks := len(m.changed.asks)
	what, err := m.signal(in)
	if err != nil {
		return err
	}
	t := Tally{}
	switch what {
	case newSignal:
		t.Signals++
		addName(&t.Fired, in.Rule, 1)
	case revisedSignal:
		t.Revised++
	case experimentalSignal:
		if before := m.toldAtEnd(in.ID); !again && !before {
			t.Experimental++
			addName(&t.Fired, in.Rule, 1)
		}
	}
	addName(&t.Asked, in.Rule, len(m.changed.asks)-asks)
	if rule := m.several.by[in.Rule]; rule != nil && len(rule.reach) > 0 && what != repeatedSignal {
		m.tally(rule.reach[0], &t)
	}
	if what != experimentalSignal { // of a repeat too: see goOn
		m.toRules(in.ID, in.Rule, in.Time, key)
	}
	return nil
}

func (m *Machine) reportsInOrder() []correlate.Report {
	all := make([]correlate.Report, 0, len(m.several.reports))
	for _, r := range m.several.reports {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b correlate.Report) int {
		return cmp.Or(strings.Compare(a.Watch, b.Watch), strings.Compare(a.Key, b.Key), a.Bucket.Compare(b.Bucket))
	})
	return all
}

// signalOf is the signal that a report becomes. It is the same signal for all reports of
// a group in a period.
func (m *Machine) signalOf(r *correlate.Report) model.Signal {
	rule := m.several.by[r.Watch]
	in := model.Signal{
		ID: model.SeveralID(rule.Address, r.Key, r.Bucket), Rule: rule.Address, Source: rule.source(),
		Experimental: rule.Experimental, Time: r.Time, Last: r.Last, Size: r.Size, Severity: r.Severity, Title: rule.Name,
		Observables: r.Observables, Techniques: withTechniques(r.Techniques, rule.Techniques),
	}
	for _, o := range m.keyObservables(r) {
		if !slices.ContainsFunc(in.Observables, func(p sdk.Observable) bool { return p.Key() == o.Key() }) {
			in.Observables = append(slices.Clone(in.Observables), o)
		}
	}
	for _, f := range r.Members {
		in.Members = append(in.Members, model.Member{ID: f.ID, Position: model.Position{Seq: f.Seq, Index: f.Index}, Term: f.Term, Time: f.Time})
	}
	if len(in.Members) > 0 {
		in.Position = in.Members[0].Position
	}
	if rule.Severity != nil {
		in.Severity = *rule.Severity
	}
	if rule.Title != nil {
		m.several.scope.Set("signal", expr.Record(reportFields{r, in.Severity}))
		in.Title = clipTitle(rule.Title.Eval(&m.several.scope).Text())
	}
	in.Revision = revisionOf(&in)
	return in
}

// maxTitle of a signal in bytes, as match has it.
const maxTitle = 512

func clipTitle(s string) string { return expr.Scalar(expr.String(s), maxTitle) }

func revisionOf(in *model.Signal) string {
	text, err := json.Marshal(in)
	if err != nil {
		return ""
	}
	return model.RevisionOf(text)
}

func withTechniques(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// keyObservables are the values of a report's key that are observables.
func (m *Machine) keyObservables(r *correlate.Report) []sdk.Observable {
	var all []sdk.Observable
	names, values := model.KeyParts(r.Key)
	for i, name := range names {
		if !slices.Contains(sdk.Kinds(), name) {
			continue
		}
		o := sdk.Observable{Kind: name, Value: values[i]}
		for _, p := range r.Observables { // with the role that it has
			if p.Kind == o.Kind && p.Value == o.Value && o.Role != sdk.Subject {
				o.Role = p.Role
			}
		}
		all = append(all, o)
	}
	return all
}
