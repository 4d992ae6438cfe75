package rehearsal

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// Runner runs tests, one after another. The programs of the configuration are used as
// they are: nothing is compiled again. It is for one goroutine.
type Runner struct {
	settings *Settings
	decide   decide.Settings
	worker   *match.Worker
	// timing reads the times of events, and nothing else.
	timing *match.Worker
	// cover notes which parts of conditions were true; nil: nobody asks.
	cover *cover
}

// New makes a runner. Settings must not change afterwards.
func New(s *Settings) *Runner {
	r := &Runner{settings: s, decide: *s.Decide, worker: match.NewWorker(s.Match), timing: match.NewWorker(timing(s.Match))}
	r.decide.Plan = r.decide.Plan.AtOnce() // a test does not wait for what else may come
	r.decide.Memory = decide.Limits{}      // a test is small: all of it stays at hand
	if r.decide.Plan.Mode == plan.Off {
		r.decide.Plan.Mode = plan.DryRun // what is wanted is what would be planned
	}
	return r
}

// timing are settings by which every event is a signal that has the event's time.
func timing(s *match.Settings) *match.Settings {
	out := &match.Settings{}
	for _, from := range s.Sources {
		from.Shadow = ""
		from.Pipelines = slices.Clone(from.Pipelines)
		for i := range from.Pipelines {
			from.Pipelines[i] = match.Pipeline{Address: from.Pipelines[i].Address, Map: match.Mapping{
				Time: from.Pipelines[i].Map.Time, TimeZone: from.Pipelines[i].Map.TimeZone,
			}, Alerts: true}
		}
		out.Sources = append(out.Sources, from)
	}
	return out
}

// Run runs one test.
func (r *Runner) Run(t *Test) Result {
	began := time.Now()
	got, err := r.play(t, nil)
	res := Result{Test: t}
	if err != nil { // which is a fault of ours
		res.Failures = []Failure{{What: "the test", Want: "to run", Got: err.Error()}}
		return res
	}
	if res.Failures = got.against(t); len(res.Failures) > 0 {
		if got, err = r.play(t, &res); err == nil {
			got.explain(&res)
		}
	}
	res.Took = time.Since(began)
	return res
}

// play gives the test's events to match and decide. With a result it notes there what
// became of each of them.
func (r *Runner) play(t *Test, into *Result) (*outcome, error) {
	o := newOutcome(r, t)
	order := r.order(t)
	o.at = t.At
	if len(order) > 0 {
		o.at = order[0].received
	}
	c := model.Config{Hash: r.settings.Match.Version, Once: !t.waits()}
	if err := o.input(model.Input{Config: &c}); err != nil {
		return nil, err
	}
	began := o.at
	for n, g := range order {
		o.at = g.received
		seen := r.observe(g.event, t, into)
		b := &model.Batch{Source: g.event.Detector, Events: []model.Event{g.event.Event}, Received: g.received}
		res, rejected := r.worker.Match(b, uint64(n+1))
		r.worker.Observe(nil)
		if seen != nil {
			for _, s := range res.Signals {
				seen.Reported = append(seen.Reported, s.Rule)
			}
			for _, away := range rejected {
				seen.Rejected = away.Reason
			}
		}
		for _, away := range rejected {
			o.aside = append(o.aside, Failure{"event", "it to be read", g.event.Place + ": " + away.Reason})
		}
		res.Total, res.Count = uint64(n+1), 1
		if t.Heard != nil {
			res.Signals = slices.DeleteFunc(res.Signals, func(s model.Signal) bool { return !slices.Contains(t.Heard, s.Rule) })
			res.Facts = slices.DeleteFunc(res.Facts, func(f model.Fact) bool { return !slices.Contains(t.Heard, f.Rule) })
		}
		if err := o.input(model.Input{Match: &res}); err != nil {
			return nil, err
		}
	}
	for _, after := range []time.Duration{t.Settle, time.Minute} { // what was due by the first is over by the second
		o.at = o.at.Add(after)
		if err := o.tick(began); err != nil {
			return nil, err
		}
	}
	if err := o.input(model.Input{Ended: &model.Ended{}}); err != nil {
		return nil, err
	}
	return o, o.silence(began)
}

// waits tells whether an answer never comes. Then nothing is put off to the end, since
// that is when all have come.
func (t *Test) waits() bool {
	return slices.ContainsFunc(t.Answers, func(a Answer) bool { return a.Reply.State == model.Pending })
}

// observe has the conditions that an event comes to noted.
func (r *Runner) observe(e *Event, t *Test, into *Result) *Seen {
	var seen *Seen
	if into != nil {
		into.Events = append(into.Events, Seen{Event: e})
		seen = &into.Events[len(into.Events)-1]
	}
	if seen == nil && r.cover == nil {
		return nil
	}
	r.worker.Observe(func(p *expr.Program, s *expr.Scope, _ expr.Truth) {
		c := r.settings.Conditions[p]
		if c == nil {
			return
		}
		if r.cover != nil {
			r.cover.note(c, s)
		}
		if seen != nil {
			seen.Steps = append(seen.Steps, stepOf(c, s))
		}
	})
	return seen
}

// given is an event with when it is received.
type given struct {
	event    *Event
	received time.Time
}

// order has the events in the order of their receipt. One that has a time is received
// when it happened, but not before the test begins; one that has none follows the one
// that is written before it.
func (r *Runner) order(t *Test) []given {
	order := make([]given, len(t.Given))
	times := make([]time.Time, len(t.Given))
	at := t.At
	for i := range t.Given {
		order[i].event, times[i] = &t.Given[i], r.timeOf(&t.Given[i])
		if t.At.IsZero() && !times[i].IsZero() && (at.IsZero() || times[i].Before(at)) {
			at = times[i]
		}
	}
	if at.IsZero() {
		at = Standard
	}
	last := at.Add(-spacing)
	for i := range order {
		order[i].received = last.Add(spacing)
		if !times[i].IsZero() {
			order[i].received = times[i]
			if times[i].Before(at) {
				order[i].received = at
			}
		}
		last = order[i].received
	}
	slices.SortStableFunc(order, func(a, b given) int { return a.received.Compare(b.received) })
	return order
}

// distant is a receipt that no event's time is after.
var distant = time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC)

// timeOf is when an event happened, as the first pipeline that can tell reads it.
func (r *Runner) timeOf(e *Event) time.Time {
	res, _ := r.timing.Match(&model.Batch{Source: e.Detector, Events: []model.Event{e.Event}, Received: distant}, 1)
	for _, s := range res.Signals {
		if !s.Receipt {
			return s.Time
		}
	}
	return e.Event.Time
}
