package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Planner plans by one configuration. It is for one goroutine.
type Planner struct {
	settings Settings
	scope    expr.Scope
	routes   map[string]Route
	limits   map[string]int
	// depends tells of each response whether answers can change what it does.
	depends []bool
}

// New returns a planner.
func New(s Settings) *Planner {
	p := &Planner{settings: s, routes: map[string]Route{}, limits: map[string]int{}}
	for _, r := range s.Routes {
		p.routes[r.Address] = r
	}
	for _, l := range s.Limits {
		p.limits[l.Verb] = l.PerHour
	}
	for _, r := range s.Responses {
		p.depends = append(p.depends, p.dependsOnAnswers(r))
	}
	return p
}

// Responds tells whether these rules' signals ask for any response.
func (p *Planner) Responds(rules []string) bool {
	for i := range p.settings.Responses {
		if p.asked(i, rules) {
			return true
		}
	}
	return false
}

func (p *Planner) asked(response int, rules []string) bool {
	address := p.settings.Responses[response].Address
	return slices.ContainsFunc(rules, func(rule string) bool {
		return slices.Contains(p.settings.Rules[rule], address)
	})
}

// Holds tells whether a plan for these rules would do nothing but wait while a
// lookup is pending, and notes what for.
func (p *Planner) Holds(rules []string, pending Pending, now time.Time) (notes []model.Note, all bool) {
	all = true
	for i, r := range p.settings.Responses {
		if !p.asked(i, rules) {
			continue
		}
		if !p.depends[i] || pending.Count == 0 {
			all = false
			continue
		}
		notes = append(notes, waits(r, pending, now))
	}
	return notes, all
}

func waits(r Response, pending Pending, now time.Time) model.Note {
	why := "waits for " + pending.First
	if n := pending.Count - 1; n > 0 {
		why += fmt.Sprintf(" and %d more", n)
	}
	return model.Note{Response: r.Address, Why: why, At: now}
}

// Plan says what is to be done about a case now. Recent counts the intents of a
// verb, of all cases, that were planned in the last hour.
func (p *Planner) Plan(c Case, now time.Time, recent func(verb string) int) Plan {
	run := &run{
		Planner: p, c: c, now: now, recent: recent, planned: map[string]int{},
		intents: slices.Clip(c.Intents), latest: map[place]int{}, waits: map[[2]string]bool{},
	}
	for i := range run.intents {
		run.index(i)
	}
	p.scope.Set("case", c.Value)
	for i := range p.settings.Responses {
		if p.asked(i, c.Rules) && !run.paused(p.settings.Responses[i].Address) {
			run.response(&p.settings.Responses[i], p.depends[i])
		}
	}
	if run.dropped > 0 {
		run.plan.Notes = append(run.plan.Notes, model.Note{Why: fmt.Sprintf("and %d more", run.dropped), At: now})
	}
	return run.plan
}

// run is one call of Plan.
type run struct {
	*Planner
	c       Case
	now     time.Time
	recent  func(verb string) int
	planned map[string]int // by verb, now
	plan    Plan
	dropped int
	intents []model.Intent     // the case's, those of this plan included
	latest  map[place]int      // of intents, that of the last round
	waits   map[[2]string]bool // responses and steps that wait for a hold
}

// held marks an intent that will be held, and says how that hold is.
func (r *run) held(s *Step, in *model.Intent) Held {
	if !s.Holds || in.DryRun {
		return Held{}
	}
	in.Hold = model.HoldID(in.Action, in.Verb, in.Target)
	var why string
	if in.UndoAfter, why = r.undoAfter(s); why != "" {
		r.note(in.Response, in.Step, in.Target.Kind+":"+in.Target.Value, "%s", why)
	}
	// What this plan itself has just planned is waited for as well.
	for i := range r.plan.Intents {
		if other := &r.plan.Intents[i]; other.Hold == in.Hold && other.State == model.IntentPending {
			return Held{Waits: true, Why: "waits for " + other.Response + "." + other.Step + ", which does the same"}
		}
	}
	if r.c.Held == nil {
		return Held{}
	}
	return r.c.Held(in.Hold)
}

// wait puts an intent off until its hold is settled. Until then its step has no result,
// and who reads that waits as well.
func (r *run) wait(in model.Intent) {
	r.waits[[2]string{in.Response, in.Step}] = true
	if !slices.Contains(r.plan.Waits, in.Hold) {
		r.plan.Waits = append(r.plan.Waits, in.Hold)
	}
}

// place is what a step does to one target, again only in another round.
type place struct{ response, step, verb, kind, value string }

func (r *run) index(i int) {
	in := &r.intents[i]
	if in.Undoes != "" {
		return // it is of the hold, and no result of the step
	}
	at := place{in.Response, in.Step, in.Verb, in.Target.Kind, in.Target.Value}
	if old, ok := r.latest[at]; !ok || in.Round >= r.intents[old].Round {
		r.latest[at] = i
	}
}

func (r *run) note(response, step, target, why string, args ...any) {
	if len(r.plan.Notes) >= maxNotes {
		r.dropped++
		return
	}
	r.plan.Notes = append(r.plan.Notes, model.Note{
		Response: response, Step: step, Target: target, Why: fmt.Sprintf(why, args...), At: r.now,
	})
}

func (r *run) response(resp *Response, depends bool) {
	if depends && r.c.Pending.Count > 0 {
		r.plan.Notes = append(r.plan.Notes, waits(*resp, r.c.Pending, r.now))
		return
	}
	// No step has a result for the condition of the response itself.
	r.scope.Set("step", expr.Value{})
	r.scope.Set("target", expr.Value{})
	if !r.holds(resp.When, resp.Address, "") {
		return
	}
	if r.settings.Mode == Off || r.settings.Mode == "" {
		r.note(resp.Address, "", "", `actions are "off": nothing is planned`)
		return
	}
	for i := range resp.Steps {
		r.step(resp, &resp.Steps[i])
	}
}

// paused notes that a response is.
func (r *run) paused(response string) bool {
	if r.c.Paused == nil {
		return false
	}
	why, ok := r.c.Paused(response)
	if ok {
		r.plan.Paused = true
		r.note(response, "", "", "%s", why)
	}
	return ok
}

// holds evaluates a condition; one that is too much work is noted.
func (r *run) holds(when *expr.Program, response, step string) bool {
	if when == nil {
		return true
	}
	truth := when.Truth(&r.scope)
	if r.scope.Exceeded() {
		r.note(response, step, "", "its condition takes too long to work out")
		return false
	}
	return truth == expr.True
}

func (r *run) step(resp *Response, s *Step) {
	results := map[string]expr.Value{}
	for _, other := range resp.Steps {
		result := r.result(resp.Address, other.Name)
		if result == string(model.IntentPending) && s.reads(other.Name) {
			return // it is this step's turn when the other has a result
		}
		value := expr.Value{}
		if result != "" {
			value = expr.String(result)
		}
		results[other.Name] = expr.Object(map[string]expr.Value{"result": value})
	}
	r.scope.Set("step", expr.Object(results))
	r.scope.Set("target", expr.Value{})
	if !r.holds(s.When, resp.Address, s.Name) {
		return
	}
	targets, why := r.targets(s)
	if why != "" {
		r.note(resp.Address, s.Name, "", "%s", why)
	}
	for _, t := range targets {
		r.target(resp, s, t)
	}
}

// reads tells whether the step depends on another's result.
func (s *Step) reads(other string) bool {
	return slices.ContainsFunc(s.programs(), func(p *expr.Program) bool { return p.Reads("step", other) })
}

func (s *Step) programs() []*expr.Program {
	all := []*expr.Program{s.When, s.Targets, s.To, s.Because, s.UndoBy}
	for _, p := range s.Parameters {
		all = append(all, p)
	}
	return slices.DeleteFunc(all, func(p *expr.Program) bool { return p == nil })
}

// results are from the worst to the best.
var results = [...]model.IntentState{
	model.IntentPending, model.IntentUnknown, model.IntentFailed, model.IntentRefused,
	model.IntentUndone, model.IntentDone, model.IntentAlready,
}

// result of a step is the worst of its targets'; empty if nothing was planned.
func (r *run) result(response, step string) string {
	if r.waits[[2]string{response, step}] {
		return string(model.IntentPending)
	}
	worst := len(results)
	for at, i := range r.latest {
		if at.response == response && at.step == step {
			if n := slices.Index(results[:], r.intents[i].State); n >= 0 {
				worst = min(worst, n)
			}
		}
	}
	if worst == len(results) {
		return ""
	}
	return string(results[worst])
}

func (r *run) target(resp *Response, s *Step, t model.Target) {
	shown := t.Kind + ":" + t.Value
	round, ok := r.round(resp.Address, s, t)
	if !ok {
		return
	}
	if s.Contains {
		if ok, why := r.c.Facts.Earned(s.Verb, t); !ok {
			r.note(resp.Address, s.Name, shown, "not done: %s", why)
			return
		}
	}
	known := r.c.Facts.Target(t)
	t.Known = knownOf(known)
	r.scope.Set("target", known)
	if by, ok := r.protected(s); ok {
		r.note(resp.Address, s.Name, shown, "protected by %q", by)
		return
	}
	in := model.Intent{
		ID:   model.IntentID(r.c.FirstID, resp.Address, s.Name, s.Verb, t, round),
		Case: r.c.FirstID, Response: resp.Address, Step: s.Name,
		Action: s.Action, Verb: s.Verb, Target: t, Round: round,
		DryRun:    r.settings.Mode != On,
		PlannedAt: r.now, State: model.IntentPending,
	}
	held := r.held(s, &in)
	if held.Waits {
		r.wait(in)
		r.note(resp.Address, s.Name, shown, "%s", held.Why)
		return
	}
	if limit, ok := r.limits[s.Verb]; ok && !held.InForce && r.recent(s.Verb)+r.planned[s.Verb] >= limit {
		r.plan.Limited = true
		r.note(resp.Address, s.Name, shown, "the limit of %d %s per hour is reached", limit, s.Verb)
		return
	}
	quiet, again := r.repeats(resp.Address, s, t)
	if quiet {
		r.note(resp.Address, s.Name, shown, "%s", again)
		return
	}
	in.Because = r.because(resp, s) + again
	var err error
	if in.Parameters, err = r.parameters(s, in); err != nil {
		r.note(resp.Address, s.Name, shown, "not done: %v", err)
		return
	}
	if held.InForce { // it is so already: nothing is called
		in.State, in.HeldBy, in.Message, in.FinishedAt = model.IntentAlready, held.By, held.Why, r.now
	} else {
		r.planned[s.Verb]++
	}
	r.plan.Intents = append(r.plan.Intents, in)
	r.intents = append(r.intents, in)
	r.index(len(r.intents) - 1)
}

// knownOf is what a connector is told of its target.
func knownOf(target expr.Value) json.RawMessage {
	known := map[string]expr.Value{}
	for _, name := range []string{"asset", "identity"} {
		if v := target.Attr(name); !v.IsNull() {
			known[name] = v
		}
	}
	if len(known) == 0 {
		return nil
	}
	return json.RawMessage(expr.Object(known).String())
}

// round is 0 for what was never planned. What was planned is not planned again,
// but for what was undone and of which there is new evidence since.
func (r *run) round(response string, s *Step, t model.Target) (int, bool) {
	i, ok := r.latest[place{response, s.Name, s.Verb, t.Kind, t.Value}]
	if !ok {
		return 0, true
	}
	last := &r.intents[i]
	if last.DryRun && r.settings.Mode == On {
		r.note(response, s.Name, t.Kind+":"+t.Value, "it was planned as a dry run, and is not done now")
	}
	return last.Round + 1, last.State == model.IntentUndone && r.c.ChangedAt.After(last.FinishedAt)
}

// protected fails closed: what cannot be said to be unprotected is protected.
func (r *run) protected(s *Step) (by string, ok bool) {
	for _, p := range r.settings.Protects {
		if len(p.Verbs) == 0 && !s.Contains || len(p.Verbs) > 0 && !slices.Contains(p.Verbs, s.Verb) {
			continue
		}
		if p.When == nil || p.When.Truth(&r.scope) != expr.False || r.scope.Exceeded() {
			return p.Name, true
		}
	}
	return "", false
}

func (r *run) because(resp *Response, s *Step) string {
	if s.Because != nil {
		if text, ok := s.Because.Eval(&r.scope).Str(); ok {
			return text
		}
	}
	return fmt.Sprintf("%s: the score is %s of 100", strings.TrimPrefix(resp.Address, "response."),
		r.c.Value.Attr("score").Attr("total").Text())
}

// parameters are a JSON object; one that is null is left out.
func (r *run) parameters(s *Step, in model.Intent) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		v := s.Parameters[name].Eval(&r.scope)
		if r.scope.Exceeded() {
			return nil, fmt.Errorf("the parameter %q takes too long to work out", name)
		}
		if v.IsNull() {
			continue
		}
		text, err := v.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("the parameter %q: %w", name, err)
		}
		all[name] = text
	}
	if s.Notice {
		all["notice"] = r.c.Facts.Notice(in.Because, in.DryRun)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}
