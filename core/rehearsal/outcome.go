package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// outcome is a machine of a test's own, and the rows that it has made.
type outcome struct {
	runner  *Runner
	test    *Test
	machine *decide.Machine
	seq     uint64
	at      time.Time

	signals map[string]model.Signal
	cases   map[string]model.Case
	members map[string]string // cases by their signals
	intents map[string]model.Intent
	// questions are as they were last, and chosen says which choice was made of which.
	questions map[string]model.Question
	chosen    map[int]map[string]bool
	due       *time.Duration
	asked     map[int]bool // answers, by their place in the test
	aside     []Failure    // events that could not be read
}

func newOutcome(r *Runner, t *Test) *outcome {
	return &outcome{
		runner: r, test: t,
		machine: decide.New(func(model.Config) (*decide.Settings, error) { return &r.decide, nil }),
		signals: map[string]model.Signal{}, cases: map[string]model.Case{}, members: map[string]string{},
		intents: map[string]model.Intent{}, questions: map[string]model.Question{}, chosen: map[int]map[string]bool{}, asked: map[int]bool{},
	}
}

// maxInputs bounds what may come of one input.
const maxInputs = 100_000

// input gives one input to the machine, and answers what it asks and does what it plans,
// until nothing more comes of it.
func (o *outcome) input(in model.Input) error {
	queue := []model.Input{in}
	for n := 0; n < len(queue); n++ {
		if n > maxInputs {
			return fmt.Errorf("%d things came of one event, and there is no end", maxInputs)
		}
		o.seq++
		queue[n].At = o.at
		if err := o.machine.Apply(o.seq, 0, queue[n]); err != nil {
			return err
		}
		c := o.machine.Changes()
		o.keep(&c)
		for i := range c.Asks {
			if reply := o.answer(&c.Asks[i]); reply != nil {
				queue = append(queue, model.Input{Reply: reply})
			}
		}
		for _, planned := range c.Planned() {
			if planned.State == model.IntentPending {
				queue = append(queue, model.Input{Outcome: &model.Outcome{Intent: planned.ID, State: model.IntentDone, Attempts: 1}})
			}
		}
		if n == len(queue)-1 { // people answer when all else is done
			queue = append(queue, o.choose()...)
		}
	}
	return nil
}

func (o *outcome) keep(c *decide.Changes) {
	for _, s := range c.Signals {
		o.signals[s.ID] = s
	}
	for _, cs := range c.Cases {
		o.cases[cs.ID] = cs
	}
	for _, m := range c.Members {
		o.members[m.Signal] = m.Case
	}
	for _, in := range c.Intents {
		if _, known := o.intents[in.ID]; !known {
			o.intents[in.ID] = in
		}
	}
	for _, q := range c.Questions {
		o.questions[q.ID] = q
	}
	o.due = c.Due
}

// answer is what the test says to a question: nothing, if that never comes, and that
// nothing is known where it says nothing.
func (o *outcome) answer(ask *model.Ask) *model.Reply {
	reply := model.Reply{State: model.Unknown}
	for i := range o.test.Answers {
		if a := &o.test.Answers[i]; a.Enrichment == ask.Enrichment && a.Key == ask.Observable.Key() {
			reply, o.asked[i] = a.Reply, true
		}
	}
	if reply.State == model.Pending {
		return nil
	}
	reply.Ask, reply.AnsweredAt, reply.Expires = ask.ID, o.at, o.at.AddDate(100, 0, 0)
	reply.Found = slices.Clone(reply.Found) // it is this test's machine that keeps it
	for i := range reply.Found {
		reply.Found[i].At = ask.At
	}
	return &reply
}

// counted are the signals that the test is about.
func (o *outcome) counted() []model.Signal {
	var all []model.Signal
	for _, id := range slices.Sorted(maps.Keys(o.signals)) {
		if s := o.signals[id]; o.test.Counted == nil || slices.Contains(o.test.Counted, s.Rule) {
			all = append(all, s)
		}
	}
	return all
}

// ofCases are the cases that the counted signals are in, by id.
func (o *outcome) ofCases(signals []model.Signal) []model.Case {
	ids := map[string]bool{}
	for _, s := range signals {
		if id := o.members[s.ID]; id != "" {
			ids[id] = true
		}
	}
	var all []model.Case
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if c, ok := o.cases[id]; ok && c.State != model.CaseMerged {
			all = append(all, c)
		}
	}
	return all
}

// namesOf are all ids of cases.
func namesOf(cases []model.Case) map[string]bool {
	names := map[string]bool{}
	for _, c := range cases {
		for _, id := range append([]string{c.ID, c.FirstID}, c.Aliases...) {
			names[id] = true
		}
	}
	return names
}

// steps are those that are planned for the cases, sorted, each once.
func (o *outcome) steps(cases []model.Case) []string {
	names := namesOf(cases)
	var steps []string
	for _, id := range slices.Sorted(maps.Keys(o.intents)) {
		in := o.intents[id]
		asks := in.Question != "" && in.ChosenBy == "" && o.questions[in.Question].Kind == model.QuestionApproval
		if in.Undoes != "" || in.Response == "" || in.Preview || asks || !names[in.Case] || o.test.Responses != nil && !slices.Contains(o.test.Responses, in.Response) {
			continue
		}
		steps = append(steps, in.Response+"."+in.Step)
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// against holds what came against what the test wants.
func (o *outcome) against(t *Test) []Failure {
	signals := o.counted()
	cases := o.ofCases(signals)
	failures := slices.Clone(o.aside) // of what is no event nothing comes, which is no proof
	number := func(what string, want *int, got int) {
		if want != nil && *want != got {
			failures = append(failures, Failure{what, fmt.Sprint(*want), fmt.Sprint(got)})
		}
	}
	number("signals", t.Want.Signals, len(signals))
	number("cases", t.Want.Cases, len(cases))
	if want := t.Want.Score; want != nil {
		switch worst := worst(cases); {
		case worst == nil:
			failures = append(failures, Failure{"score", want.String(), "no case"})
		case worst.Score.Total < want.Low || worst.Score.Total > want.High:
			failures = append(failures, Failure{"score", want.String(), worst.Score.Total.String()})
		}
	}
	if t.Want.Steps != nil {
		want := slices.Sorted(slices.Values(*t.Want.Steps))
		if got := o.steps(cases); !slices.Equal(slices.Compact(want), got) {
			failures = append(failures, Failure{"steps", o.list(want), o.list(got)})
		}
	}
	if t.Want.Asked != nil {
		want := slices.Sorted(slices.Values(*t.Want.Asked))
		if got := o.asking(cases); !slices.Equal(slices.Compact(want), got) {
			failures = append(failures, Failure{"asked", o.list(want), o.list(got)})
		}
	}
	return append(failures, o.unchosen()...)
}

// list is a list of steps for people, by their names of now.
func (o *outcome) list(steps []string) string {
	if len(steps) == 0 {
		return "none"
	}
	shown := make([]string, len(steps))
	for i, step := range steps {
		shown[i] = o.runner.shown(step)
	}
	return strings.Join(shown, ", ")
}

// shown is the address of now of a response's step, or of a block.
func (r *Runner) shown(address string) string {
	for first, now := range r.decide.Names {
		if address == first {
			return now
		}
		if rest, ok := strings.CutPrefix(address, first+"."); ok {
			return now + "." + rest
		}
	}
	return address
}

// worst is the case with the highest score, the first of several; nil: there is none.
func worst(cases []model.Case) *model.Case {
	var worst *model.Case
	for i := range cases {
		if worst == nil || cases[i].Score.Total > worst.Score.Total {
			worst = &cases[i]
		}
	}
	return worst
}

// explain adds to a result what a person needs to see why it failed.
func (o *outcome) explain(res *Result) {
	t := o.test
	for i := range res.Events {
		e := &res.Events[i]
		var heard []string
		for _, rule := range e.Reported {
			if t.Heard != nil && !slices.Contains(t.Heard, rule) {
				continue
			}
			heard = append(heard, o.runner.shown(rule))
			if t.Counted == nil || slices.Contains(t.Counted, rule) {
				e.Counted = append(e.Counted, o.runner.shown(rule))
			}
		}
		e.Reported, e.Read = heard, o.reads(e.Event.Detector)
		e.Steps = slices.DeleteFunc(e.Steps, func(s Step) bool { return !o.concerns(s.Condition) })
	}
	cases := o.ofCases(o.counted())
	res.Case = worst(cases)
	for i := range t.Answers {
		if !o.asked[i] {
			res.Unasked = append(res.Unasked, t.Answers[i].Name)
		}
	}
	if res.Case == nil {
		return
	}
	planned := append(o.steps(cases), o.asking(cases)...)
	var wanted []string
	for _, list := range []*[]string{t.Want.Steps, t.Want.Asked} {
		if list != nil {
			wanted = append(wanted, *list...)
		}
	}
	slices.Sort(wanted)
	for _, step := range slices.Compact(wanted) {
		if slices.Contains(planned, step) {
			continue
		}
		res.Responses = append(res.Responses, o.unplanned(step, res.Case.ID)...)
		for _, c := range cases {
			res.Notes = append(res.Notes, o.notes(step, c.Notes)...)
		}
	}
}

// reads tells whether a pipeline that the test is about reads a detector.
func (o *outcome) reads(detector string) bool {
	for _, s := range o.runner.settings.Match.Sources {
		for _, p := range s.Pipelines {
			if s.Detector == detector && (o.test.Heard == nil || slices.Contains(o.test.Heard, p.Address)) {
				return true
			}
		}
	}
	return false
}

// notes are those about a step, with its address of now.
func (o *outcome) notes(step string, all []model.Note) []model.Note {
	var notes []model.Note
	for _, n := range all {
		about := strings.TrimSuffix(n.Response+"."+n.Step, ".")
		if about == step || strings.HasPrefix(step, about+".") {
			n.Response = o.runner.shown(n.Response)
			notes = append(notes, n)
		}
	}
	return notes
}

// concerns tells whether a condition is of what the test is about: other rules on the
// same pipeline are not, nor are other pipelines of the same detector.
func (o *outcome) concerns(c *Condition) bool {
	if o.test.Heard == nil || strings.HasPrefix(c.Of, "ignore.") {
		return true
	}
	return slices.ContainsFunc(o.test.Heard, func(heard string) bool {
		now := o.runner.shown(heard)
		return now == c.Of || now == c.Through
	})
}

// unplanned are the conditions of a step and its response, as its case is in the end.
func (o *outcome) unplanned(step, id string) []Step {
	value, ok := o.machine.Look(id)
	if !ok {
		return nil
	}
	scope := &expr.Scope{}
	scope.Set("case", value)
	var steps []Step
	add := func(p *expr.Program) {
		c := o.runner.settings.Conditions[p]
		if p == nil || c == nil {
			return
		}
		if s := stepOf(c, scope); !slices.ContainsFunc(steps, func(other Step) bool { return other.Condition == c }) {
			steps = append(steps, s)
		}
	}
	for i := range o.runner.decide.Plan.Responses {
		r := &o.runner.decide.Plan.Responses[i]
		if !strings.HasPrefix(step, r.Address+".") {
			continue
		}
		add(r.When)
		for j := range r.Steps {
			if when := r.Steps[j].When; r.Address+"."+r.Steps[j].Name == step && when != nil && !when.Reads("step") {
				add(when)
			}
		}
	}
	return steps
}
