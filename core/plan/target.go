package plan

import (
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// targets of a step, each once, in the order in which they are named; why says what
// is missing, if something is.
func (r *run) targets(s *Step) (targets []model.Target, why string) {
	switch {
	case s.Route != "" || s.To != nil:
		levels, why := r.levels(s.Route, s.To)
		if len(levels) == 0 {
			return nil, why
		}
		return addressed(levels[0].To), why
	case s.Targets == nil && len(s.TargetKinds) == 0:
		return []model.Target{{Kind: CaseKind, Value: r.c.FirstID}}, ""
	case s.Targets == nil:
		return nil, "it names no target"
	}
	v := s.Targets.Eval(&r.scope)
	if r.scope.Exceeded() {
		return nil, "its targets take too long to work out"
	}
	var wrong []string
	had := map[[2]string]bool{}
	for leaf := range v.Leaves() {
		t, ok := r.resolve(s, leaf)
		switch key := [2]string{t.Kind, t.Value}; {
		case !ok:
			wrong = append(wrong, leaf.Text())
		case !had[key]:
			had[key] = true
			targets = append(targets, t)
		}
	}
	if len(wrong) > 0 {
		why = "no " + strings.Join(s.TargetKinds, " or ") + ": " + strings.Join(wrong[:min(len(wrong), 3)], ", ")
	} else if len(targets) == 0 {
		why = "the case has no " + strings.Join(s.TargetKinds, " or ") + " for it"
	}
	return targets, why
}

// resolve makes a target of a text, or of an object with kind and value. Of the
// kinds that a text may be, one counts that the target is earned as.
func (r *run) resolve(s *Step, v expr.Value) (model.Target, bool) {
	text, isText := v.Str()
	kinds := s.TargetKinds
	if !isText {
		kind, _ := v.Attr("kind").Str()
		if text, isText = v.Attr("value").Str(); !isText || !slices.Contains(kinds, kind) {
			return model.Target{}, false
		}
		kinds = []string{kind}
	}
	var first model.Target
	found := false
	for _, kind := range kinds {
		t := model.Target{Kind: kind, Value: text}
		if kind == AddressKind {
			return t, text != ""
		}
		o, err := sdk.Canonical(kind, text)
		if err != nil {
			continue
		}
		t.Value = o.Value
		if ok, _ := r.c.Facts.Earned(s.Verb, t); ok {
			return t, true
		}
		if !found {
			first, found = t, true
		}
	}
	return first, found
}

// levels are who is told or asked, one after the other: by a route, or as named. Why says
// why there is nobody.
func (r *run) levels(route string, to *expr.Program) (levels []model.Level, why string) {
	if route != "" {
		return r.routed(r.routes[route])
	}
	var found []string
	if to != nil {
		found = r.settings.addresses(to.Eval(&r.scope))
	}
	if len(found) == 0 {
		return nil, "it names no address"
	}
	return []model.Level{{To: found}}, ""
}

// addresses are those of a text or of many, each once: a user's name stands for the first
// address of the user.
func (s *Settings) addresses(v expr.Value) []string {
	var all []string
	for leaf := range v.Leaves() {
		text, _ := leaf.Str()
		if address, ok := s.Address(text); ok && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// Address is where to write to somebody, who is a user's name or an address; ok is false
// for nobody.
func (s *Settings) Address(who string) (address string, ok bool) {
	who = strings.TrimSpace(who)
	if at := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == who }); at >= 0 {
		if len(s.Users[at].Mail) == 0 {
			return "", false
		}
		return s.Users[at].Mail[0], true
	}
	return who, who != ""
}

// answered are the fields of a case that answers of enrichments can change.
var answered = [...]string{
	"score", "verdicts", "assets", "identities", "networks", "hosts", "users", "subjects", "indicators",
}

// dependsOnAnswers tells whether what a response does can change by an answer: what
// it reads, whom it tells, and whatever contains, since a target is earned, and not
// protected, by what is known of it.
func (p *Planner) dependsOnAnswers(resp Response) bool {
	programs := []*expr.Program{resp.When}
	for i := range resp.Steps {
		s := &resp.Steps[i]
		if s.Contains || s.Notice {
			return true
		}
		programs = append(programs, s.programs()...)
		if s.Approval != nil {
			return true
		}
		if route, ok := p.routes[s.Route]; ok {
			programs = append(programs, route.programs()...)
		}
	}
	return resp.Reads || slices.ContainsFunc(programs, func(prog *expr.Program) bool {
		return prog != nil && (prog.Reads("target") ||
			slices.ContainsFunc(answered[:], func(field string) bool { return prog.Reads("case", field) }))
	})
}
