package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// stepAt is a step that is named, and where.
type stepAt struct {
	name string
	at   hcl.Range
}

// stepsIn reads a list of steps, of which those are that have these names.
func (p *parser) stepsIn(e hclsyntax.Expression, response string, known []string) []stepAt {
	if e == nil {
		return nil
	}
	list, ok := e.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.errorf(e.Range(), "Not a list", "This takes a list of steps: write [step.NAME].")
		return nil
	}
	var all []stepAt
	for _, item := range list.Exprs {
		a, ok := p.address(item, "step.NAME")
		switch {
		case !ok:
		case len(a.names) != 2 || a.names[0] != "step":
			p.errorf(a.at, "Not a step", "Write it as step.NAME.")
		case !slices.Contains(known, a.names[1]):
			p.errorf(a.at, "Unknown step", "response.%s has no step %q. %s", response, a.names[1], suggest(a.names[1], known))
		case slices.ContainsFunc(all, func(s stepAt) bool { return s.name == a.names[1] }):
			p.errorf(a.at, "Named twice", "step.%s is in this list already.", a.names[1])
		default:
			all = append(all, stepAt{a.names[1], a.at})
		}
	}
	return all
}

// stepsNamed are the steps that an attribute of a step names, but for itself.
func (p *parser) stepsNamed(s *section, name, response string, known []string) []string {
	if e := s.expr(name); emptyList(e) {
		p.errorf(e.Range(), "Without effect", "Name a step: %s = [step.NAME], or remove the line.", name)
	}
	var all []string
	for _, other := range p.stepsIn(s.expr(name), response, known) {
		all = append(all, other.name)
	}
	return all
}

// stepNeed is why a step waits for another.
type stepNeed struct {
	by string // "when", "needs", "on_failure", "option"
	at hcl.Range
}

// stepCycles complains about steps that wait for one another: by what their expressions
// read, by needs, or since another's option or failure has them taken.
func (p *parser) stepCycles(steps []*section, names []string) {
	needs, reasons := map[string][]string{}, map[[2]string]stepNeed{}
	add := func(step, other string, why stepNeed) {
		if !slices.Contains(names, other) || slices.Contains(needs[step], other) {
			return
		}
		needs[step] = append(needs[step], other)
		reasons[[2]string{step, other}] = why
	}
	for _, s := range steps {
		for _, a := range s.typ.body.attributes {
			e := s.expr(a.Name)
			switch {
			case e == nil:
			case a.Name == "on_failure":
				for _, other := range namedSteps(e) {
					add(other.name, s.name(), stepNeed{"on_failure", other.at})
				}
			case a.Name == "needs":
				for _, other := range namedSteps(e) {
					add(s.name(), other.name, stepNeed{"needs", other.at})
				}
			case a.want == wantExpression:
				for _, t := range e.Variables() {
					if t.RootName() == "step" && len(t) > 1 {
						other, _ := stepName(t[1])
						add(s.name(), other, stepNeed{a.Name, e.Range()})
					}
				}
			}
		}
		for _, o := range s.of("option") {
			for _, other := range namedSteps(o.expr("run")) {
				if other.name == s.name() {
					continue // which is said where the option is read
				}
				add(other.name, s.name(), stepNeed{"option", other.at})
			}
		}
	}
	if _, cycle := sortByNeed(names, needs); len(cycle) > 0 {
		why := reasons[[2]string{cycle[0], cycle[1%len(cycle)]}]
		p.errorf(why.at, "Cycle", "These steps wait for one another: %s. Remove one of \"when\", \"needs\", \"on_failure\" and \"run\" that join them.", chain("step.", cycle))
	}
}

// namedSteps are the steps of a list, as far as it is one.
func namedSteps(e hclsyntax.Expression) []stepAt {
	var all []stepAt
	for _, item := range items(e) {
		if t, diags := hcl.AbsTraversalForExpr(item); !diags.HasErrors() && t.RootName() == "step" && len(t) == 2 {
			name, _ := stepName(t[1])
			all = append(all, stepAt{name, item.Range()})
		}
	}
	return all
}

// called complains about steps that can never be taken: without a condition, named by none
// but an option or a failure that never comes.
func (p *parser) called(sections []*section, steps []plan.Step) {
	for i, s := range sections {
		for _, name := range steps[i].Needs {
			at := slices.IndexFunc(steps, func(o plan.Step) bool { return o.Name == name })
			if at >= 0 && slices.Contains(steps[at].OnFailure, s.name()) {
				p.errorf(s.place("needs"), "Never taken", "step.%s is taken if step.%s comes to nothing, and needs it done: it can never be both. Remove one of them.", s.name(), name)
			}
		}
	}
}

func (p *parser) parallel(s *section) int {
	n := s.integer("parallel", 0)
	if s.has("parallel") && n < 1 && !s.broken {
		p.errorf(s.place("parallel"), "Out of range", "Write 1 or more: how many of its targets are under way at once. Without the line all are.")
	}
	return max(n, 0)
}

// retry reads how a step is tried again, for the action's sake.
func (p *parser) retry(s *section, step string) {
	r := s.one("retry")
	if r == nil || r.broken {
		return
	}
	out := respond.Retry{
		Times: r.integer("times", respond.DefaultMaxAttempts),
		First: r.duration("first", time.Second), Most: r.duration("most", time.Minute),
		On: respond.Kinds(),
	}
	if r.has("on") {
		out.On = r.texts("on")
	}
	for i, kind := range out.On {
		if !slices.Contains(respond.Kinds(), kind) {
			p.errorf(r.item("on", i), "Unknown kind", "There is no kind of error %q. %s", kind, suggest(kind, respond.Kinds()))
		}
	}
	if out.Times < 1 || out.Times > maxTries {
		p.errorf(r.place("times"), "Out of range", "Write 1 to %d: how many tries in all, the first included.", maxTries)
	}
	switch {
	case out.First <= 0:
		p.errorf(r.place("first"), "Out of range", "Write the pause after the first try, such as \"1s\".")
	case out.Most < out.First && r.has("most"):
		p.errorf(r.place("most"), "Out of range", "The longest pause is shorter than the first. Write at least %s.", cmp.Or(r.text("first", ""), "1s"))
	case out.Most > longestPause:
		p.errorf(r.place("most"), "Out of range", "Write at most \"24h\".")
	}
	out.Most = max(out.Most, out.First)
	if p.config.Respond.Retries == nil {
		p.config.Respond.Retries = map[string]respond.Retry{}
	}
	p.config.Respond.Retries[step] = out
}

// maxTries and longestPause bound retry.
const (
	maxTries     = 1000
	longestPause = 24 * time.Hour
)

// text reads what a step tells people by the operator's words.
func (p *parser) text(s *section, out *plan.Step, env expr.Env) {
	e := s.expr("text")
	if e == nil {
		return
	}
	t := p.reference(e, "text")
	if t == nil {
		return
	}
	if !out.Notice && out.Approval == nil && !s.broken && out.Verb != "" {
		p.errorf(e.Range(), "Without effect", "%q of %s tells people nothing that a text could stand in. Remove the line.", out.Verb, out.Action)
		return
	}
	if len(t.attrs) == 0 && !t.broken {
		p.errorf(t.header(), "Empty", "Write \"subject\", \"asked\" or \"body\".")
		return
	}
	env.Want = expr.StringKind
	out.Text = plan.Text{
		Subject: p.program(t, "subject", inParams, env), Asked: p.program(t, "asked", inParams, env),
		Body: p.program(t, "body", inParams, env),
	}
}
