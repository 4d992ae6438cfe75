package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Followed is a response that a case asks for, and why it does what it does.
type Followed struct {
	Response string `json:"response"`
	// Waits is for what answer it waits before it is decided. When is then what its condition
	// says as things are, and nothing is said of its steps.
	Waits string           `json:"waits,omitempty"`
	When  expr.Explanation `json:"when"`
	// Off: actions are "off", and nothing is planned.
	Off   bool           `json:"off,omitempty"`
	Steps []FollowedStep `json:"steps,omitempty"`
}

// FollowedStep is a step of a response whose condition holds.
type FollowedStep struct {
	Step   string `json:"step"`
	Action string `json:"action"`
	Verb   string `json:"verb"`
	// Waits is the step whose result it waits for; nothing else is said then.
	Waits string           `json:"waits,omitempty"`
	When  expr.Explanation `json:"when"`
	// Called: it is taken for another step's sake, and by itself only if it has a condition.
	// Because says why it was then: "kim chose \"contain\"". Untaken: it was not taken.
	Called  bool   `json:"called,omitempty"`
	Because string `json:"because,omitempty"`
	Untaken bool   `json:"untaken,omitempty"`
	// Questions are the ids of what it asks people.
	Questions []string `json:"questions,omitempty"`
	// Why says what is wrong with its targets, if something is, or what it lacks.
	Why     string           `json:"why,omitempty"`
	Targets []FollowedTarget `json:"targets,omitempty"`
}

// FollowedTarget is what a step does to one target: the Intent of its last round, or
// what holds it back. Protect is the name of what protects it, and Condition what that
// says.
type FollowedTarget struct {
	Kind      string            `json:"kind"`
	Value     string            `json:"value"`
	Intent    string            `json:"intent,omitempty"`
	State     model.IntentState `json:"state,omitempty"`
	DryRun    bool              `json:"dry_run,omitempty"`
	Held      string            `json:"held,omitempty"`
	Protect   string            `json:"protect,omitempty"`
	Condition *expr.Explanation `json:"condition,omitempty"`
}

// Follow says of a case that has been planned, with the intents and notes that came of
// it, why its responses did what they did.
func (p *Planner) Follow(c Case, notes []model.Note, now time.Time, why expr.Conditions) []Followed {
	r := p.run(c, now, func(string) int { return 0 })
	all := []Followed{}
	for i := range p.settings.Responses {
		if p.asked(i, c.Rules) {
			all = append(all, r.follow(&p.settings.Responses[i], p.depends[i], &p.links[i], notes, why))
		}
	}
	return all
}

func (r *run) follow(resp *Response, depends bool, l *links, notes []model.Note, why expr.Conditions) Followed {
	f := Followed{Response: resp.Address}
	r.scope.Set("step", expr.Value{})
	r.scope.Set("target", expr.Value{})
	f.When = why.Explain(resp.When, &r.scope)
	if depends && r.c.Pending.Count > 0 {
		f.Waits = waits(*resp, r.c.Pending, r.now).Why
		return f
	}
	if f.Off = r.settings.Mode == Off || r.settings.Mode == ""; f.Off || !f.When.True() && !r.asks(resp.Address) {
		return f
	}
	f.Steps = make([]FollowedStep, len(resp.Steps))
	for _, i := range l.order {
		f.Steps[i] = r.followStep(resp, &resp.Steps[i], l, notes, why)
	}
	return f
}

func (r *run) followStep(resp *Response, s *Step, l *links, notes []model.Note, why expr.Conditions) FollowedStep {
	f := FollowedStep{Step: s.Name, Action: s.Action, Verb: s.Verb, Called: l.called(s.Name)}
	if q := r.choice(resp.Address, s.Name); q != nil {
		f.Questions = append(f.Questions, q.ID)
	}
	for i := range r.questions {
		if q := &r.questions[i]; r.approves(q, resp.Address, s) {
			f.Questions = append(f.Questions, q.ID)
		}
	}
	t := r.turn(resp, s, l)
	if f.Waits = t.waits; f.Waits != "" {
		return f
	}
	f.Because = strings.TrimPrefix(t.because, "; ")
	if !t.taken || f.Because == "" {
		f.When = why.Explain(s.When, &r.scope)
	}
	if f.Why = t.why; !t.taken {
		f.Untaken = true
		return f
	}
	if s.Wait > 0 {
		f.Targets = r.followAsked(resp, s, notes)
		return f
	}
	var targets []model.Target
	targets, f.Why = r.targets(s)
	for _, t := range targets {
		f.Targets = append(f.Targets, r.followTarget(resp, s, t, notes, why))
	}
	return f
}

// followAsked are those who are asked what a step waits for.
func (r *run) followAsked(resp *Response, s *Step, notes []model.Note) []FollowedTarget {
	q := r.choice(resp.Address, s.Name)
	if q == nil {
		return nil
	}
	var all []FollowedTarget
	for _, a := range q.Asked {
		f := FollowedTarget{Kind: AddressKind, Value: a.Address, Intent: a.Intent, Held: r.heldBack(resp, s, AddressKind+":"+a.Address, notes)}
		if at := slices.IndexFunc(r.intents, func(in model.Intent) bool { return in.ID == a.Intent }); at >= 0 {
			f.State, f.DryRun = r.intents[at].State, r.intents[at].DryRun
		}
		all = append(all, f)
	}
	return all
}

// heldBack is the last that the notes say of a target of a step.
func (r *run) heldBack(resp *Response, s *Step, target string, notes []model.Note) (why string) {
	for _, n := range notes {
		if n.Response == resp.Address && n.Step == s.Name && n.Target == target {
			why = n.Why
		}
	}
	return why
}

func (r *run) followTarget(resp *Response, s *Step, t model.Target, notes []model.Note, why expr.Conditions) FollowedTarget {
	f := FollowedTarget{Kind: t.Kind, Value: t.Value}
	if i, ok := r.latest[place{resp.Address, s.Name, s.Verb, t.Kind, t.Value}]; ok {
		in := &r.intents[i]
		f.Intent, f.State, f.DryRun = in.ID, in.State, in.DryRun
	}
	f.Held = r.heldBack(resp, s, t.Kind+":"+t.Value, notes)
	if f.Intent != "" {
		return f
	}
	r.scope.Set("target", r.c.Facts.Target(t))
	name, protected := r.protected(s.Verb, s.Contains)
	if !protected {
		return f
	}
	f.Protect = name
	for _, p := range r.settings.Protects {
		if p.Name == name && p.When != nil {
			said := why.Explain(p.When, &r.scope)
			f.Condition = &said
			break
		}
	}
	return f
}
