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
	"github.com/kelpie-sec/kelpie/sdk"
)

// Planner plans by one configuration. It is for one goroutine.
type Planner struct {
	settings Settings
	scope    expr.Scope
	routes   map[string]Route
	limits   map[string]int
	// depends tells of each response whether answers can change what it does.
	depends []bool
	// links of the steps of each response.
	links []links
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
		p.links = append(p.links, linksOf(r.Steps))
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
	run := p.run(c, now, recent)
	for i := range p.settings.Responses {
		if p.asked(i, c.Rules) && !run.paused(p.settings.Responses[i].Address) {
			run.response(&p.settings.Responses[i], p.depends[i], &p.links[i])
		}
	}
	if run.dropped > 0 {
		run.plan.Notes = append(run.plan.Notes, model.Note{Why: fmt.Sprintf("and %d more", run.dropped), At: now})
	}
	return run.plan
}

func (p *Planner) run(c Case, now time.Time, recent func(verb string) int) *run {
	r := &run{
		Planner: p, c: c, now: now, recent: recent, planned: map[string]int{},
		intents: slices.Clip(c.Intents), latest: map[place]int{}, previews: map[place]int{}, told: map[[2]string]bool{},
		waits: map[[2]string]bool{},
	}
	r.counting(c.Questions)
	for i := range r.intents {
		r.index(i)
	}
	p.scope.Set("case", c.Value)
	p.scope.Set("schedule", onCall(c.OnCall))
	return r
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
	intents []model.Intent // the case's, those of this plan included
	latest  map[place]int  // of intents, that of the last round
	// previews are the latest that were tried for who has to approve, and told says which
	// addresses are told of which question.
	previews  map[place]int
	told      map[[2]string]bool
	questions []model.Question   // the case's that count, those of this plan included
	rounds    map[[2]string]int  // responses and steps: the next of what they ask
	waits     map[[2]string]bool // responses and steps whose result is still to come
	subjects  *subjects          // nil: nobody has asked yet
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
	if in.Question != "" && in.ChosenBy == "" {
		r.told[[2]string{in.Question, in.Target.Value}] = true
		return // nor is what asks people
	}
	latest := r.latest
	if in.Preview {
		latest = r.previews
	}
	at := place{in.Response, in.Step, in.Verb, in.Target.Kind, in.Target.Value}
	if old, ok := latest[at]; !ok || in.Round >= r.intents[old].Round {
		latest[at] = i
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

func (r *run) response(resp *Response, depends bool, l *links) {
	if depends && r.c.Pending.Count > 0 {
		r.plan.Notes = append(r.plan.Notes, waits(*resp, r.c.Pending, r.now))
		return
	}
	// No step has a result for the condition of the response itself.
	r.scope.Set("step", expr.Value{})
	r.scope.Set("target", expr.Value{})
	holds := r.holds(resp.When, resp.Address, "")
	if !holds && !r.asks(resp.Address) {
		return
	}
	if r.settings.Mode == Off || r.settings.Mode == "" {
		r.note(resp.Address, "", "", `actions are "off": nothing is planned`)
		return
	}
	for _, i := range l.order {
		r.step(resp, &resp.Steps[i], l, holds)
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

// step takes a step as far as it can be taken now. Where the condition of its response
// does not hold any more, only what people have been asked, and what they chose, goes on.
func (r *run) step(resp *Response, s *Step, l *links, holds bool) {
	turn := r.turn(resp, s, l)
	if q := r.choice(resp.Address, s.Name); q != nil && q.Open() {
		r.tell(resp, s, q)
		return
	}
	if !turn.taken || !holds && turn.question == nil {
		if turn.why != "" {
			r.note(resp.Address, s.Name, "", "%s", turn.why)
		}
		r.approve(resp, s, nil)
		return
	}
	if s.Wait > 0 {
		r.ask(resp, s)
		return
	}
	targets, why := r.targets(s)
	if why != "" {
		r.note(resp.Address, s.Name, "", "%s", why)
	}
	var unapproved []model.Target
	for _, t := range targets {
		t, round, ok := r.may(resp, s, t)
		switch {
		case !ok:
		case s.Approval == nil:
			r.target(resp, s, t, round, turn)
		default:
			if q, ok := r.approved(resp, s, t); ok {
				approved := turn
				approved.approve(q)
				r.target(resp, s, t, round, approved)
			} else if q == nil {
				unapproved = append(unapproved, t)
			}
		}
	}
	r.approve(resp, s, unapproved)
}

// reads tells whether the step depends on another's result.
func (s *Step) reads(other string) bool {
	return slices.ContainsFunc(s.programs(), func(p *expr.Program) bool { return p.Reads("step", other) })
}

func (s *Step) programs() []*expr.Program {
	return append(s.does(), slices.DeleteFunc([]*expr.Program{s.When}, func(p *expr.Program) bool { return p == nil })...)
}

// does are the programs of a step besides its condition.
func (s *Step) does() []*expr.Program {
	all := []*expr.Program{s.Targets, s.To, s.Because, s.UndoBy, s.Text.Subject, s.Text.Asked, s.Text.Body}
	if s.Approval != nil {
		all = append(all, s.Approval.To)
	}
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
func (r *run) result(response, step string) model.IntentState {
	if r.waits[[2]string{response, step}] {
		return model.IntentPending
	}
	worst := len(results)
	count := func(state model.IntentState) {
		if state == model.IntentGathered { // it is as the one that tells it
			state = model.IntentPending
		}
		if n := slices.Index(results[:], state); n >= 0 {
			worst = min(worst, n)
		}
	}
	for at, i := range r.latest {
		if at.response == response && at.step == step {
			count(r.intents[i].State)
		}
	}
	for at, i := range r.previews {
		if at.response == response && at.step == step && !r.intents[i].State.Final() {
			count(model.IntentPending)
		}
	}
	for i := range r.questions {
		if q := &r.questions[i]; q.Kind == model.QuestionApproval && q.Response == response && q.Step == step {
			count(unapproved(q))
		}
	}
	if worst == len(results) {
		return ""
	}
	return results[worst]
}

// may tells whether a step can be taken on a target, which comes with what is known of
// it, and for the how manieth time.
func (r *run) may(resp *Response, s *Step, t model.Target) (model.Target, int, bool) {
	shown := t.Kind + ":" + t.Value
	round, ok := r.round(resp.Address, s, t)
	if !ok {
		return t, 0, false
	}
	if s.Contains {
		if ok, why := r.c.Facts.Earned(s.Verb, t); !ok {
			r.note(resp.Address, s.Name, shown, "not done: %s", why)
			return t, 0, false
		}
	}
	known := r.c.Facts.Target(t)
	t.Known = knownOf(known)
	r.scope.Set("target", known)
	if by, ok := r.protected(s.Verb, s.Contains); ok {
		r.note(resp.Address, s.Name, shown, "protected by %q", by)
		return t, 0, false
	}
	return t, round, true
}

// target plans a step for one target.
func (r *run) target(resp *Response, s *Step, t model.Target, round int, by turn) {
	shown := t.Kind + ":" + t.Value
	if s.Parallel > 0 && r.underWay(resp.Address, s.Name) >= s.Parallel {
		r.waits[[2]string{resp.Address, s.Name}] = true
		r.note(resp.Address, s.Name, shown, "waits for its turn: %d at a time", s.Parallel)
		return
	}
	r.scope.Set("target", r.c.Facts.Target(t))
	in := model.Intent{
		ID:   model.IntentID(r.c.FirstID, resp.Address, s.Name, s.Verb, t, round),
		Case: r.c.FirstID, Response: resp.Address, Step: s.Name,
		Action: s.Action, Verb: s.Verb, Target: t, Round: round,
		DryRun:    r.settings.Mode != On,
		PlannedAt: r.now, State: model.IntentPending,
	}
	if by.question != nil {
		in.Question, in.ChosenBy = by.question.ID, by.question.By
	}
	held := r.held(s, &in)
	if held.Waits {
		r.wait(in)
		r.note(resp.Address, s.Name, shown, "%s", held.Why)
		return
	}
	in.Gather = r.gather(s)
	if limit, ok := r.limits[s.Verb]; ok && !held.InForce && !r.joins(&in) && r.recent(s.Verb)+r.planned[s.Verb] >= limit {
		r.limited(resp.Address, s.Name, shown, s.Verb, limit)
		return
	}
	quiet, again := r.repeats(resp.Address, s, t)
	if quiet {
		r.note(resp.Address, s.Name, shown, "%s", again)
		return
	}
	in.Because = r.because(resp, s) + by.because + again
	var err error
	if in.Parameters, err = r.parameters(s, r.notice(s, in)); err != nil {
		r.note(resp.Address, s.Name, shown, "not done: %v", err)
		return
	}
	if held.InForce { // it is so already: nothing is called
		in.State, in.HeldBy, in.Message, in.FinishedAt = model.IntentAlready, held.By, held.Why, r.now
	} else if !r.joins(&in) {
		r.planned[s.Verb]++
	}
	r.add(in)
}

func (r *run) limited(response, step, target, verb string, limit int) {
	r.plan.Limited = true
	r.note(response, step, target, "the limit of %d %s per hour is reached", limit, verb)
}

// add plans an intent.
func (r *run) add(in model.Intent) {
	r.plan.Intents = append(r.plan.Intents, in)
	r.intents = append(r.intents, in)
	r.index(len(r.intents) - 1)
}

// underWay counts the targets of a step that are being done.
func (r *run) underWay(response, step string) (n int) {
	for at, i := range r.latest {
		if at.response == response && at.step == step && !r.intents[i].State.Final() {
			n++
		}
	}
	return n
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
// but for what was undone and of which there is new evidence since, and for what people
// were told before the case ended.
func (r *run) round(response string, s *Step, t model.Target) (int, bool) {
	i, ok := r.latest[place{response, s.Name, s.Verb, t.Kind, t.Value}]
	if !ok {
		return 0, true
	}
	last := &r.intents[i]
	if last.DryRun && r.settings.Mode == On {
		r.note(response, s.Name, t.Kind+":"+t.Value, "it was planned as a dry run, and is not done now")
	}
	if Tells(s.Verb) && r.c.Anew.After(last.PlannedAt) && last.State != model.IntentPending {
		return last.Round + 1, true
	}
	return last.Round + 1, last.State == model.IntentUndone && r.c.ChangedAt.After(last.FinishedAt)
}

// protected fails closed: what cannot be said to be unprotected is protected.
func (r *run) protected(verb string, contains bool) (by string, ok bool) {
	for _, p := range r.settings.Protects {
		if len(p.Verbs) == 0 && !contains || len(p.Verbs) > 0 && !slices.Contains(p.Verbs, verb) {
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

// notice is what a step tells people besides the case.
func (r *run) notice(s *Step, in model.Intent) sdk.Notice {
	words := func(p *expr.Program) string {
		if p == nil {
			return ""
		}
		text := p.Eval(&r.scope).Text()
		if r.scope.Exceeded() {
			return ""
		}
		return text
	}
	return sdk.Notice{
		Because: in.Because, DryRun: in.DryRun,
		Subject: words(s.Text.Subject), Asked: words(s.Text.Asked), Text: words(s.Text.Body),
	}
}

// parameters are a JSON object; one that is null is left out.
func (r *run) parameters(s *Step, notice sdk.Notice) (json.RawMessage, error) {
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
		all["notice"] = r.c.Facts.Notice(notice)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}
