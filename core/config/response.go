package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// verbs are those of the contract.
func verbs() []string {
	return []string{
		"notify", "ticket", "resolve", "isolate_host", "release_host", "disable_account", "enable_account",
		"reset_password", "unlock_account", "end_session", "close_port", "open_port", "block_indicator",
		"unblock_indicator", "kill_process", "quarantine_file", "restore_file", "scan_host", "collect", "run",
	}
}

// contains tells whether a verb changes the state of its target.
func contains(verb string) bool {
	return !slices.Contains([]string{"notify", "ticket", "resolve", "collect", "scan_host"}, verb)
}

// noticeParameter is filled by the core, with the case as it is told to people.
const noticeParameter = "notice"

// responding reads responses, routes, protects and limits.
func (p *parser) responding() {
	out := &p.config.Decide.Plan
	out.Users, out.Authors = p.users(), p.authors()
	for _, s := range p.each("schedule") {
		p.schedule(s)
	}
	for _, s := range p.each("route") {
		out.Routes = append(out.Routes, p.route(s))
	}
	for _, s := range p.each("response") {
		out.Responses = append(out.Responses, p.response(s))
	}
	for _, s := range p.each("protect") {
		out.Protects = append(out.Protects, p.protect(s))
	}
	p.stuck(out)
	p.limits(p.offered())
}

func (p *parser) protect(s *section) plan.Protect {
	out := plan.Protect{Name: s.name(), Verbs: s.texts("verbs")}
	out.When = p.condition(s, "when", inProtect, expr.Env{Strict: true})
	known := append(verbs(), p.offered()...)
	for i, verb := range out.Verbs {
		if !slices.Contains(known, verb) {
			p.errorf(s.item("verbs", i), "Unknown verb", "There is no verb %q, so this protects nothing from it. %s", verb, suggest(verb, known))
		}
	}
	if s.has("verbs") && len(out.Verbs) == 0 && !s.broken {
		p.errorf(s.place("verbs"), "Without effect", "Name a verb; without \"verbs\" the block protects from all that change something.")
	}
	return out
}

func (p *parser) response(s *section) plan.Response {
	r := plan.Response{Address: p.identity(s)}
	r.When = p.condition(s, "when", inResponse, expr.Env{})
	p.thresholds(s.expr("when"))
	p.negation(s, false)
	if r.When != nil {
		r.Reads = slices.ContainsFunc(answered[:], func(field string) bool { return r.When.Reads("case", field) })
	}
	p.tests(s, true)
	steps := s.of("step")
	var names []string
	for _, step := range steps {
		names = append(names, step.name())
	}
	p.stepCycles(steps, names)
	for _, step := range steps {
		r.Steps = append(r.Steps, p.step(s, step, names))
	}
	p.called(steps, r.Steps)
	return r
}

// answered are the fields of a case that answers of enrichments can change.
var answered = [...]string{
	"score", "verdicts", "assets", "identities", "networks", "hosts", "users", "subjects", "indicators",
}

func (p *parser) step(response, s *section, names []string) plan.Step {
	out := plan.Step{Name: s.name()}
	env := expr.Env{Roots: map[string]*expr.Shape{"step": plan.StepShape(names...)}}
	out.When = p.condition(s, "when", inStep, env)
	p.rehearsal.step(out.When, response.address()+"."+s.name())
	p.thresholds(s.expr("when"))
	p.negation(s, false)
	env.Want = expr.StringKind
	out.Because = p.program(s, "because", inParams, env)
	env.Want = expr.NullKind
	out.Needs = p.stepsNamed(s, "needs", response.name(), names)
	out.OnFailure = p.stepsNamed(s, "on_failure", response.name(), names)
	out.Parallel = p.parallel(s)
	verb := p.do(s, &out)
	p.whom(s, &out, verb, env)
	if verb != nil {
		out.Verb, out.TargetKinds, out.Contains = verb.Name, verb.Targets, contains(verb.Name)
		out.Notice = slices.ContainsFunc(verb.Parameters.Attributes, func(a model.Attribute) bool { return a.Name == noticeParameter })
		out.Parameters = p.parameters(s, verb, env)
		p.undo(s, &out, verb, env)
	}
	p.question(s, &out, verb, response.name(), names)
	p.approval(s, &out, verb, env)
	p.retry(s, p.identity(response)+"."+s.name())
	p.text(s, &out, env)
	return out
}

// do finds the action and the verb that a step names: action.NAME.VERB, where the
// verb of a plugin's own has its plugin's name before it.
func (p *parser) do(s *section, out *plan.Step) *model.Verb {
	e := s.expr("do")
	if e == nil {
		return nil
	}
	a, ok := p.address(e, "action.NAME.VERB")
	if !ok {
		return nil
	}
	if a.names[0] != "action" || len(a.names) < 3 {
		p.errorf(a.at, "Not a verb of an action", "Write do = action.NAME.VERB.")
		return nil
	}
	target := p.resolve(address{names: a.names[:2], at: a.at}, "action")
	if target == nil || target.broken {
		return nil
	}
	i := p.instanceAt(target)
	if i == nil {
		p.errorf(a.at, "Disabled action", "%s has enabled = false, so this step could not be taken. Enable it, or remove the step.", target.address())
		return nil
	}
	out.Action = p.identity(target)
	name := strings.Join(a.names[2:], ".")
	if i.assumed {
		return assumedVerb(s, name)
	}
	var offered []string
	for n := range i.connector.Verbs {
		v := &i.connector.Verbs[n]
		if v.Name == name {
			return v
		}
		offered = append(offered, v.Name)
	}
	if near := nearest(name, offered); near != "" {
		p.errorf(a.at, "Verb not offered", "%s does not offer %q. Did you mean %s.%s?", out.Action, name, out.Action, near)
	} else {
		p.errorf(a.at, "Verb not offered", "%s does not offer %q. It offers: %s.%s", out.Action, name, strings.Join(offered, ", "), leftOut(i.plugin))
	}
	return nil
}

// whom reads targets and to. Who is told stands in "to"; what is touched in
// "targets".
func (p *parser) whom(s *section, out *plan.Step, verb *model.Verb, env expr.Env) {
	if to := s.expr("to"); to != nil {
		out.Route, out.To = p.people(s, "to", env)
	}
	if s.has("targets") {
		out.Targets = p.program(s, "targets", inStep, env)
		if out.Targets != nil {
			p.targetKind(s, out.Targets)
		}
	}
	if verb == nil || s.broken {
		return
	}
	told := slices.Contains(verb.Targets, plan.AddressKind)
	switch {
	case told && s.has("targets"):
		p.errorf(s.place("targets"), "Wrong attribute", "%q tells somebody: write to = route.NAME, or to = [\"somebody@example.org\"].", verb.Name)
	case told && !s.has("to"):
		p.errorf(s.header(), "Missing attribute", "%s needs \"to\", who is told: write to = route.NAME, or to = [\"somebody@example.org\"].", sentence(s.title()))
	case !told && s.has("to"):
		p.errorf(s.place("to"), "Wrong attribute", "%q tells nobody. %s", verb.Name, targetsHint(verb))
	case !told && len(verb.Targets) > 0 && !s.has("targets"):
		p.errorf(s.header(), "Missing attribute", "%s needs \"targets\". %s", sentence(s.title()), targetsHint(verb))
	case len(verb.Targets) == 0 && s.has("targets"):
		p.errorf(s.place("targets"), "Wrong attribute", "%q is about the case, and takes no targets. Remove the line.", verb.Name)
	}
}

func targetsHint(v *model.Verb) string {
	if len(v.Targets) == 0 {
		return "It is about the case: remove the line."
	}
	return "It takes " + strings.Join(v.Targets, " or ") + ": write targets = " + exampleTargets(v) + "."
}

// people reads who is told or asked: a route, or addresses and names of users.
func (p *parser) people(s *section, name string, env expr.Env) (route string, to *expr.Program) {
	e := s.expr(name)
	if t, diags := hcl.AbsTraversalForExpr(e); !diags.HasErrors() && t.RootName() == "route" {
		if r := p.reference(e, "route"); r != nil {
			return r.address(), nil
		}
		return "", nil
	}
	p.literalAddresses(e)
	return "", p.program(s, name, inStep, env)
}

// literalAddresses complains about a text in "to" that was meant as a route.
func (p *parser) literalAddresses(e hclsyntax.Expression) {
	for _, item := range append(items(e), e) {
		if text, ok := literalText(item); ok && strings.HasPrefix(text, "route.") {
			p.errorf(item.Range(), "Not a reference", "The address of a block is written without quotes: %s.", text)
		}
	}
}

// targetKind complains about targets that are neither texts nor observables.
func (p *parser) targetKind(s *section, targets *expr.Program) {
	shape := targets.Shape()
	if shape == nil {
		return
	}
	if shape.Kind == expr.ListKind {
		if shape = shape.Elem; shape == nil {
			return
		}
	}
	_, observable := shape.Fields["value"]
	_, kind := shape.Fields["kind"]
	if shape.Kind == expr.NumberKind || shape.Kind == expr.BoolKind || shape.Kind == expr.ObjectKind && shape.Fields != nil && !(observable && kind) {
		p.errorf(s.place("targets"), "Wrong type", "Targets are texts, or objects with kind and value: such as case.hosts or case.subjects.")
	}
}

// parameters compiles the parameters block by the verb's schema.
func (p *parser) parameters(s *section, verb *model.Verb, env expr.Env) map[string]*expr.Program {
	block := s.one("parameters")
	out := map[string]*expr.Program{}
	var known []string
	taken := map[string]bool{}
	for _, a := range verb.Parameters.Attributes {
		if a.Name == noticeParameter {
			continue
		}
		written := p.parameterName(block, a)
		known = append(known, a.Name)
		taken[a.Name], taken[a.RenamedFrom] = true, true
		switch {
		case written != "":
			env.Want = kindOf(a.Type)
			if program := p.program(block, written, inParams, env); program != nil {
				out[a.Name] = program
			}
		case a.Required:
			p.errorf(s.header(), "Missing parameter", "%q needs %q: write parameters { %s = … }. %s", verb.Name, a.Name, a.Name, a.Doc)
		}
	}
	if block == nil {
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(block.attrs)) {
		if !taken[name] {
			p.errorf(block.attrs[name].NameRange, "Unknown parameter", "%q has no %q. %s", verb.Name, name, suggest(name, known))
		}
	}
	for _, inner := range block.block.Body.Blocks {
		p.errorf(inner.DefRange(), "Not a block", "Parameters are attributes: write %s = …", inner.Type)
	}
	return out
}

// parameterName is what a parameter is called in the block: by its name, or by the older
// one; empty: it is not there.
func (p *parser) parameterName(block *section, a model.Attribute) string {
	older := a.RenamedFrom
	switch {
	case block == nil:
		return ""
	case block.has(a.Name) && older != "" && block.has(older):
		p.errorf(block.attrs[older].NameRange, "Parameter given twice", "%q is the older name of %q, which is given too. Keep %q.", older, a.Name, a.Name)
	case older != "" && block.has(older):
		p.warnf(block.attrs[older].NameRange, "Renamed parameter", "%q is called %q now. Write %q.", older, a.Name, a.Name)
		return older
	case !block.has(a.Name):
		return ""
	}
	if a.Deprecated != "" {
		p.warnf(block.attrs[a.Name].NameRange, "Deprecated parameter", "%q: %s", a.Name, a.Deprecated)
	}
	return a.Name
}

func kindOf(t model.Type) expr.Kind {
	switch t.Kind {
	case "string", "duration", "path":
		return expr.StringKind
	case "integer", "number":
		return expr.NumberKind
	case "bool":
		return expr.BoolKind
	case "list":
		return expr.ListKind
	case "map":
		return expr.ObjectKind
	}
	return expr.NullKind
}
