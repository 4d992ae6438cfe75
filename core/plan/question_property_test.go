package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

// drawSteps makes steps of which each depends only on those before it, in any order.
func drawSteps(t *rapid.T) []Step {
	n := rapid.IntRange(2, 5).Draw(t, "steps")
	steps := make([]Step, n)
	for i := range steps {
		s := isolate()
		asks := rapid.Bool().Draw(t, "asks")
		if asks {
			s = tell()
			s.Notice, s.Wait, s.AskSubject = true, time.Minute, rapid.Bool().Draw(t, "ask_subject")
		}
		s.Name = fmt.Sprintf("s%d", i)
		if i > 0 {
			other := fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "other"))
			if rapid.Bool().Draw(t, "needs") {
				s.Needs = []string{other}
			}
			if rapid.Bool().Draw(t, "when") {
				result := rapid.SampledFrom([]string{"done", "failed", "answered", "timed_out"}).Draw(t, "result")
				s.When = program(fmt.Sprintf("step.%s.result == %q", other, result))
			}
		}
		if !asks && rapid.Bool().Draw(t, "approval") {
			s.Approval = &Approval{
				Route: "route.owner", Via: "action.mail", People: rapid.IntRange(1, 2).Draw(t, "people"), Wait: time.Minute,
				Otherwise: rapid.SampledFrom([]string{model.OptionApprove, model.OptionRefuse}).Draw(t, "otherwise"),
			}
		}
		if !asks {
			s.Parallel = rapid.IntRange(0, 2).Draw(t, "parallel")
		}
		steps[i] = s
	}
	for i := range steps[:n-1] {
		later := fmt.Sprintf("s%d", rapid.IntRange(i+1, n-1).Draw(t, "later"))
		switch {
		case steps[i].Wait > 0:
			steps[i].Options = []model.Option{{Name: "go", Run: []string{later}}, {Name: "stay"}}
		case rapid.Bool().Draw(t, "on_failure"):
			steps[i].OnFailure = []string{later}
		}
	}
	if last := &steps[n-1]; last.Wait > 0 {
		last.Options = []model.Option{{Name: "stay"}}
	}
	return rapid.Permutation(steps).Draw(t, "order")
}

// TestPlanHolds: whatever becomes of steps and questions, planning again at once plans
// nothing more, what is planned was permitted, and nobody is asked who may not be.
func TestPlanHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := drawSteps(t)
		s := settings(steps...)
		s.Users = []User{{Name: "kim", Mail: []string{"kim@example.org", "soc@example.org"}}, {Name: "lee", Mail: []string{"lee@example.org", "soc@example.org"}}}
		fields := map[string]any{"hosts": []any{"ws-1", "ws-2", "dc-1"}, "deputy": "lee"}
		if rapid.Bool().Draw(t, "subject") {
			fields["subjects"] = []any{map[string]any{"kind": "user", "value": rapid.SampledFrom([]string{"kim", "lee", "pat"}).Draw(t, "who")}}
		}
		p := play(s, testCase(fields))
		other := New(s)
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			before, at := p.c, p.at
			p.plan()
			if diff := cmp.Diff(p.last, other.Plan(before, at, func(string) int { return 0 })); diff != "" {
				t.Fatalf("planned otherwise by another planner:\n%s", diff)
			}
			checkPlan(t, &s, p)
			again := p.planner.Plan(p.c, p.at, func(string) int { return 0 })
			if len(again.Intents)+len(again.Questions)+len(again.Asked) > 0 {
				t.Fatalf("planned again at once: %+v", again)
			}
			for i := range p.c.Intents {
				if in := &p.c.Intents[i]; in.State == model.IntentPending && rapid.Bool().Draw(t, "ends") {
					in.State, in.FinishedAt = rapid.SampledFrom([]model.IntentState{
						model.IntentDone, model.IntentAlready, model.IntentFailed, model.IntentRefused, model.IntentUnknown,
					}).Draw(t, "state"), p.at
				}
			}
			for i := range p.c.Questions {
				if q := &p.c.Questions[i]; q.Open() && rapid.Bool().Draw(t, "closes") {
					q.State = rapid.SampledFrom([]model.QuestionState{
						model.QuestionAnswered, model.QuestionTimedOut, model.QuestionFailed, model.QuestionWithdrawn,
					}).Draw(t, "closed")
					if q.State == model.QuestionAnswered {
						q.By, q.Choice = "lee", rapid.SampledFrom(q.Options).Draw(t, "option").Name
					}
				}
			}
		}
	})
}

func checkPlan(t *rapid.T, s *Settings, p *played) {
	step := func(name string) *Step {
		all := s.Responses[0].Steps
		return &all[slices.IndexFunc(all, func(s Step) bool { return s.Name == name })]
	}
	ids := map[string]bool{}
	underWay := map[string]int{}
	for _, in := range p.c.Intents {
		if ids[in.ID] {
			t.Fatalf("two intents %s", in.ID)
		}
		ids[in.ID] = true
		asks := in.Question != "" && in.ChosenBy == ""
		if in.Preview != in.DryRun {
			t.Fatalf("a dry run that is no preview, or the other way: %+v", in)
		}
		if !asks && !in.Preview && in.State == model.IntentPending {
			underWay[in.Step]++
		}
	}
	for name, n := range underWay {
		if most := step(name).Parallel; most > 0 && n > most {
			t.Fatalf("%d of %s under way, at most %d", n, name, most)
		}
	}
	for _, a := range p.last.Asked {
		q := p.c.Questions[slices.IndexFunc(p.c.Questions, func(q model.Question) bool { return q.ID == a.Of })]
		_, subject := Reader(s, p.c.Value, a.Address)
		if a.Subject != subject || subject && a.Intent != "" && !step(q.Step).asksSubject(&q) {
			t.Fatalf("asked %+v, subject %t", a, subject)
		}
	}
	for _, in := range p.last.Intents {
		st := step(in.Step)
		if in.Preview || in.Question != "" && in.ChosenBy == "" {
			continue
		}
		if st.Approval != nil && !slices.ContainsFunc(p.c.Questions, func(q model.Question) bool {
			return q.Kind == model.QuestionApproval && q.Step == in.Step && agreed(&q) && slices.ContainsFunc(q.Targets, same(in.Target))
		}) {
			t.Fatalf("nobody approved %+v", in)
		}
		if !permitted(s, p, st) {
			t.Fatalf("%s was taken, and nothing says so", in.Step)
		}
	}
}

// permitted says in another way whether a step may be taken.
func permitted(s *Settings, p *played, st *Step) bool {
	called := false
	for _, other := range s.Responses[0].Steps {
		q := slices.IndexFunc(p.c.Questions, func(q model.Question) bool { return q.Step == other.Name && q.Kind == model.QuestionChoice })
		for _, o := range other.Options {
			if !slices.Contains(o.Run, st.Name) {
				continue
			}
			called = true
			if q >= 0 && p.c.Questions[q].State == model.QuestionAnswered && p.c.Questions[q].Choice == o.Name {
				return true
			}
		}
		if slices.Contains(other.OnFailure, st.Name) {
			called = true
			if failed := map[model.IntentState]bool{"failed": true, "refused": true, "unknown": true}; failed[resultOf(p, &other)] {
				return true
			}
		}
	}
	if st.When == nil {
		return !called
	}
	values := map[string]expr.Value{}
	for _, other := range s.Responses[0].Steps {
		values[other.Name] = expr.From(map[string]any{"result": string(resultOf(p, &other))})
	}
	var scope expr.Scope
	scope.Set("step", expr.Object(values))
	return st.When.Truth(&scope) == expr.True
}

// resultOf is the worst that became of a step.
func resultOf(p *played, st *Step) model.IntentState {
	r := p.planner.run(p.c, p.at, nil)
	result, _ := r.state("response.r", st)
	return result
}
