package plan

import (
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// links are how the steps of a response depend on one another, by their names.
type links struct {
	// order is that in which they are looked at: each after those that it depends on.
	order []int
	// chosen are those with an option that runs a step, failed those that have it in
	// on_failure.
	chosen, failed map[string][]string
}

func linksOf(steps []Step) links {
	l := links{chosen: map[string][]string{}, failed: map[string][]string{}}
	for i := range steps {
		s := &steps[i]
		for _, o := range s.Options {
			for _, run := range o.Run {
				if !slices.Contains(l.chosen[run], s.Name) {
					l.chosen[run] = append(l.chosen[run], s.Name)
				}
			}
		}
		for _, then := range s.OnFailure {
			l.failed[then] = append(l.failed[then], s.Name)
		}
	}
	placed := make([]bool, len(steps))
	for len(l.order) < len(steps) {
		next := slices.IndexFunc(steps, func(s Step) bool {
			i := slices.IndexFunc(steps, func(o Step) bool { return o.Name == s.Name })
			return !placed[i] && !slices.ContainsFunc(steps, func(o Step) bool {
				return !placed[slices.IndexFunc(steps, func(p Step) bool { return p.Name == o.Name })] && o.Name != s.Name && l.depends(&s, o.Name)
			})
		})
		if next < 0 { // they wait for one another, which no configuration has
			next = slices.Index(placed, false)
		}
		placed[next] = true
		l.order = append(l.order, next)
	}
	return l
}

// depends tells whether what becomes of a step depends on another.
func (l *links) depends(s *Step, other string) bool {
	return s.reads(other) || slices.Contains(s.Needs, other) ||
		slices.Contains(l.chosen[s.Name], other) || slices.Contains(l.failed[s.Name], other)
}

// called tells whether a step is taken for another's sake: then it is taken by itself only
// if it has a condition that says when.
func (l *links) called(step string) bool { return len(l.chosen[step])+len(l.failed[step]) > 0 }

// turn is whether it is a step's turn.
type turn struct {
	taken bool
	// question is that by which a person chose or approved it; nil: nobody did.
	question *model.Question
	because  string // says so for people
	// waits is the step whose result it waits for, and why what it lacks otherwise.
	waits, why string
}

// approve adds that it was approved.
func (t *turn) approve(q *model.Question) {
	if q.State == model.QuestionTimedOut {
		t.question, t.because = nil, t.because+"; nobody refused it in time"
		return
	}
	t.question, t.because = q, t.because+"; approved by "+q.By
}

// state is what can be read of a step.
func (r *run) state(response string, s *Step) (result model.IntentState, value expr.Value) {
	fields := map[string]expr.Value{}
	if s.Wait == 0 {
		result = r.result(response, s.Name)
	} else if r.waits[[2]string{response, s.Name}] {
		result = model.IntentPending
	} else if q := r.choice(response, s.Name); q != nil {
		result = model.IntentState(q.State)
		if q.Open() {
			result = model.IntentPending
		}
		for name, text := range map[string]string{"choice": q.Choice, "reason": q.Reason, "by": q.By} {
			if text != "" {
				fields[name] = expr.String(text)
			}
		}
	}
	if result != "" {
		fields["result"] = expr.String(string(result))
	}
	return result, expr.Object(fields)
}

// turn tells whether it is a step's turn: it is chosen, or it stands in for one that came
// to nothing, or its own condition holds. It sets what its expressions read of others.
func (r *run) turn(resp *Response, s *Step, l *links) (t turn) {
	results, values := map[string]model.IntentState{}, map[string]expr.Value{}
	for i := range resp.Steps {
		other := &resp.Steps[i]
		results[other.Name], values[other.Name] = r.state(resp.Address, other)
	}
	r.scope.Set("step", expr.Object(values))
	r.scope.Set("target", expr.Value{})
	pending := func(names []string, if_ func(string) bool) bool {
		for _, name := range names {
			if t.waits == "" && name != s.Name && results[name] == model.IntentPending && if_(name) {
				t.waits = name
				r.waits[[2]string{resp.Address, s.Name}] = true
			}
		}
		return t.waits != ""
	}
	all := func(string) bool { return true }
	var names []string
	for i := range resp.Steps {
		names = append(names, resp.Steps[i].Name)
	}
	if pending(names, s.needsToDo) {
		return t
	}
	r.called(resp, s, l, results, &t)
	if !t.taken && (s.When != nil || !l.called(s.Name)) {
		if s.When != nil && pending(names, func(name string) bool { return s.When.Reads("step", name) }) {
			return t
		}
		t.taken = r.holds(s.When, resp.Address, s.Name)
	}
	if !t.taken {
		pending(slices.Concat(l.chosen[s.Name], l.failed[s.Name]), all)
		return t
	}
	if pending(s.Needs, all) {
		return turn{waits: t.waits}
	}
	for _, need := range s.Needs {
		switch result := results[need]; result {
		case model.IntentDone, model.IntentAlready, model.IntentState(model.QuestionAnswered):
		case "":
			return turn{why: fmt.Sprintf("not taken: it needs step.%s, of which nothing was done", need)}
		default:
			return turn{why: fmt.Sprintf("not taken: it needs step.%s, which is %s", need, Said(string(result)))}
		}
	}
	return t
}

// Said is a result for people.
func Said(result string) string {
	if result == string(model.QuestionTimedOut) {
		return "timed out"
	}
	return result
}

// needsToDo tells whether what a step does, when it is taken, reads another's result.
func (s *Step) needsToDo(other string) bool {
	return slices.ContainsFunc(s.does(), func(p *expr.Program) bool { return p.Reads("step", other) })
}

// called finds who chose a step, or what it stands in for.
func (r *run) called(resp *Response, s *Step, l *links, results map[string]model.IntentState, t *turn) {
	for _, name := range l.chosen[s.Name] {
		q := r.choice(resp.Address, name)
		if q == nil || q.State != model.QuestionAnswered {
			continue
		}
		if o := q.Option(q.Choice); o != nil && slices.Contains(o.Run, s.Name) {
			t.taken, t.question, t.because = true, q, fmt.Sprintf("; %s chose %q", q.By, q.Choice)
			return
		}
	}
	for _, name := range l.failed[s.Name] {
		switch result := results[name]; result {
		case model.IntentFailed, model.IntentRefused, model.IntentUnknown:
			t.taken, t.because = true, fmt.Sprintf("; step.%s is %s", name, result)
			return
		}
	}
}
