package plan

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Outlined is a step of a response, as far as the case alone tells.
type Outlined struct {
	Step string `json:"step"`
	Verb string `json:"verb"`
	// Targets are at most ten values; More is how many there are besides.
	Targets []string `json:"targets,omitempty"`
	More    int      `json:"more,omitempty"`
	// Later: it waits for another step's result, or for people, and may not come.
	Later bool `json:"later,omitempty"`
	// Asks: it asks people, and Approval: it has to be approved.
	Asks     bool `json:"asks,omitempty"`
	Approval bool `json:"approval,omitempty"`
}

// mostOutlined bounds Outlined.Targets.
const mostOutlined = 10

// Asked are the responses that these rules' signals ask for.
func (s *Settings) Asked(rules []string) []*Response {
	var all []*Response
	for i := range s.Responses {
		r := &s.Responses[i]
		if slices.ContainsFunc(rules, func(rule string) bool { return slices.Contains(s.Rules[rule], r.Address) }) {
			all = append(all, r)
		}
	}
	return all
}

// Responding tells whether there is such a response, or such a rule or pipeline that asks
// for one.
func (s *Settings) Responding(address string) bool {
	return len(s.Rules[address]) > 0 || slices.ContainsFunc(s.Responses, func(r Response) bool { return r.Address == address })
}

// Acts tells whether a step of any response is done by an action.
func (s *Settings) Acts(action string) bool { return s.steps(action, func(*Step) bool { return true }) }

// Notices tells whether an action tells people by a notice.
func (s *Settings) Notices(action string) bool {
	return s.Stuck.Via == action && s.Stuck.Notice ||
		s.steps(action, func(step *Step) bool { return step.Notice && step.Verb == "notify" })
}

func (s *Settings) steps(action string, which func(*Step) bool) bool {
	for i := range s.Responses {
		if slices.ContainsFunc(s.Responses[i].Steps, func(step Step) bool { return step.Action == action && which(&step) }) {
			return true
		}
	}
	return false
}

// Holds tells whether a response's condition is true of a case.
func (r *Response) Holds(c expr.Value) bool {
	var scope expr.Scope
	scope.Set("case", c)
	return r.When == nil || r.When.Truth(&scope) == expr.True && !scope.Exceeded()
}

// Depends tells whether answers can change what a response does, so that nothing of it
// is planned while one is pending.
func (p *Planner) Depends(response string) bool {
	for i := range p.settings.Responses {
		if p.settings.Responses[i].Address == response {
			return p.depends[i]
		}
	}
	return false
}

// Outline says what a response would do about a case. Whether a target is earned or
// protected, a limit is reached or the step was done before is left aside.
func (s *Settings) Outline(r *Response, c expr.Value) []Outlined {
	var scope expr.Scope
	scope.Set("case", c)
	var all []Outlined
	l := linksOf(r.Steps)
	for i := range r.Steps {
		step := &r.Steps[i]
		o := Outlined{Step: step.Name, Verb: step.Verb, Asks: step.Wait > 0, Approval: step.Approval != nil}
		o.Later = step.Approval != nil || len(step.Needs) > 0 || l.called(step.Name) || slices.ContainsFunc(step.programs(), func(p *expr.Program) bool { return p.Reads("step") })
		if !o.Later && step.When != nil && step.When.Truth(&scope) != expr.True {
			continue
		}
		for _, target := range s.named(step, &scope) {
			if len(o.Targets) < mostOutlined {
				o.Targets = append(o.Targets, target)
			} else {
				o.More++
			}
		}
		all = append(all, o)
	}
	return all
}

// named are the values that a step is for, each once; none if that is the case.
func (s *Settings) named(step *Step, scope *expr.Scope) []string {
	var targets []model.Target
	switch {
	case step.Route != "":
		for _, r := range s.Routes {
			if r.Address != step.Route {
				continue
			}
			told := s.addresses(r.To.Eval(scope))
			if len(told) == 0 {
				told = s.addresses(expr.String(r.Otherwise))
			}
			targets = append(targets, addressed(told)...)
		}
	case step.To != nil:
		targets = addressed(s.addresses(step.To.Eval(scope)))
	case step.Targets != nil:
		for leaf := range step.Targets.Eval(scope).Leaves() {
			text, ok := leaf.Str()
			if !ok {
				text, ok = leaf.Attr("value").Str()
			}
			if ok {
				targets = append(targets, model.Target{Value: text})
			}
		}
	}
	var all []string
	for _, t := range targets {
		if !slices.Contains(all, t.Value) {
			all = append(all, t.Value)
		}
	}
	return all
}

func addressed(to []string) []model.Target {
	var all []model.Target
	for _, address := range to {
		all = append(all, model.Target{Kind: AddressKind, Value: address})
	}
	return all
}
