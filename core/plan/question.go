package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// notify is the verb by which people are asked.
const notify = "notify"

// weights of what became of the questions of one step, if there are several, as after a
// merge of cases: what people have said counts more than that they are being asked.
var weights = map[model.QuestionState]int{
	model.QuestionAnswered: 5, model.QuestionOpen: 4, model.QuestionTimedOut: 3, model.QuestionFailed: 2, model.QuestionWithdrawn: 1,
}

// choice is the question of a step that waits; nil: it has not asked.
func (r *run) choice(response, step string) *model.Question {
	var best *model.Question
	for i := range r.questions {
		q := &r.questions[i]
		if q.Kind != model.QuestionChoice || q.Response != response || q.Step != step {
			continue
		}
		if best == nil || cmp.Compare(weights[q.State], weights[best.State]) > 0 {
			best = q
		}
	}
	return best
}

// asks tells whether a response has asked people something that they have answered or may
// answer yet.
func (r *run) asks(response string) bool {
	return slices.ContainsFunc(r.questions, func(q model.Question) bool {
		return q.Response == response && (q.State == model.QuestionOpen || q.State == model.QuestionAnswered)
	})
}

// counting are the questions that count now, and rounds how many of each step there were.
// What was asked before the case ended is over: what has come since is another matter.
// What was asked as a dry run nobody has seen: it is no silence, and approves nothing.
func (r *run) counting(all []model.Question) {
	r.rounds = map[[2]string]int{}
	for i := range all {
		q := &all[i]
		at := [2]string{q.Response, q.Step}
		r.rounds[at] = max(r.rounds[at], q.Round+1)
		switch {
		case !q.Open() && r.c.Anew.After(q.OpenedAt):
		case q.DryRun && r.settings.Mode == On && q.State != model.QuestionWithdrawn:
			unseen := q.Clone()
			unseen.State, unseen.Choice = model.QuestionWithdrawn, ""
			r.questions = append(r.questions, unseen)
		default:
			r.questions = append(r.questions, *q)
		}
	}
}

// ask asks what a step waits for, once.
func (r *run) ask(resp *Response, s *Step) {
	if q := r.choice(resp.Address, s.Name); q != nil {
		if q.DryRun && r.settings.Mode == On {
			r.note(resp.Address, s.Name, "", "it was asked as a dry run, and is not asked now")
		}
		return
	}
	q := r.question(resp, s, model.QuestionChoice, r.rounds[[2]string{resp.Address, s.Name}])
	q.Options, q.Wait = s.Options, s.Wait
	levels, why := r.levels(s.Route, s.To)
	r.open(resp, s, q, s.Route, levels, why)
}

func (r *run) question(resp *Response, s *Step, kind model.QuestionKind, round int) model.Question {
	return model.Question{
		ID:   model.QuestionID(r.c.FirstID, resp.Address, s.Name, round),
		Kind: kind, Case: r.c.FirstID, Response: resp.Address, Step: s.Name, Round: round,
		State: model.QuestionOpen, DryRun: r.settings.Mode != On, Rules: r.c.Rules, OpenedAt: r.now,
	}
}

// open opens a question to those who may be asked. Without any it is failed: that it was
// put to nobody is never taken for silence.
func (r *run) open(resp *Response, s *Step, q model.Question, route string, levels []model.Level, why string) {
	var left []string
	q.Levels, left = r.askable(s, &q, route, levels)
	for _, reason := range left {
		r.note(resp.Address, s.Name, "", "not asked: %s", reason)
	}
	switch people := r.people(q.Levels); {
	case people == 0:
		q.State, q.ClosedAt = model.QuestionFailed, r.now
		r.note(resp.Address, s.Name, "", "%s", first(why, "there is nobody who may be asked"))
	case people < q.People:
		q.State, q.ClosedAt = model.QuestionFailed, r.now
		r.note(resp.Address, s.Name, "", "%d have to approve, and only %d may be asked", q.People, people)
	}
	r.questions = append(r.questions, q)
	if q.Open() {
		r.tell(resp, s, &r.questions[len(r.questions)-1])
	}
	r.plan.Questions = append(r.plan.Questions, q)
}

// mostAsked bounds who is asked together: owners of whatever a case has may be many.
const mostAsked = 50

// askable leaves out of levels who may not be asked, and who is asked at an earlier one;
// where nobody is left the route's otherwise is asked. Left says who was left out, and why.
func (r *run) askable(s *Step, q *model.Question, route string, levels []model.Level) (kept []model.Level, left []string) {
	had := map[string]bool{}
	add := func(level model.Level) {
		var to []string
		for i, address := range level.To {
			if len(to) == mostAsked {
				left = append(left, fmt.Sprintf("%d more, since no more than %d are asked together", len(level.To)-i, mostAsked))
				break
			}
			if had[mailbox(address)] {
				continue
			}
			had[mailbox(address)] = true
			if why := r.unasked(s, q, address); why != "" {
				left = append(left, address+": "+why)
				continue
			}
			to = append(to, address)
		}
		if level.To = to; len(to) > 0 {
			kept = append(kept, level)
		}
	}
	for _, level := range levels {
		add(level)
	}
	if otherwise, ok := r.settings.Address(r.routes[route].Otherwise); ok && len(kept) == 0 {
		add(model.Level{To: []string{otherwise}, Why: "otherwise of " + route})
	}
	if len(kept) > 0 {
		kept[0].After = 0
	}
	return kept, left
}

// unasked says why an address may not be asked; empty: it may.
func (r *run) unasked(s *Step, q *model.Question, address string) string {
	if why, subject := r.reader(address); subject && !s.asksSubject(q) {
		return why
	}
	if q.Role != "" && !slices.ContainsFunc(r.settings.reading(address), func(u *User) bool { return u.Has(q.Role) }) {
		return "it is of no user with the role " + q.Role
	}
	r.scope.Set("target", r.c.Facts.Target(model.Target{Kind: AddressKind, Value: address}))
	if by, ok := r.protected(notify, false); ok {
		return fmt.Sprintf("protected by %q", by)
	}
	return ""
}

func (s *Step) asksSubject(q *model.Question) bool {
	if q.Kind == model.QuestionApproval {
		return s.Approval != nil && s.Approval.AskSubject
	}
	return s.AskSubject
}

// reader is Reader for the case.
func (r *run) reader(who string) (why string, subject bool) {
	if r.subjects == nil {
		r.subjects = subjectsOf(&r.settings, r.c.Value)
	}
	return r.subjects.reads(who)
}

// people counts those who can be told apart among who is asked: a mailbox of several
// users counts once.
func (r *run) people(levels []model.Level) int {
	all := map[string]bool{}
	for _, l := range levels {
		for _, address := range l.To {
			who := mailbox(address)
			if u := r.settings.UserAt(address); u != nil {
				who = u.Name
			}
			all[who] = true
		}
	}
	return len(all)
}

// tell asks those of the levels that a question has reached who are not asked yet. The
// case may have grown since they were found: then it is looked at again who may be asked.
func (r *run) tell(resp *Response, s *Step, q *model.Question) {
	for n := range q.Levels[:min(len(q.Levels), q.Level+1)] {
		for _, address := range q.Levels[n].To {
			if q.Asks(address) != nil || r.told[[2]string{q.ID, address}] {
				continue
			}
			asked := model.Asked{Address: address, Level: n, At: r.now}
			if u := r.settings.UserAt(address); u != nil {
				asked.Person = u.Name
			}
			_, asked.Subject = r.reader(address)
			if why := r.unasked(s, q, address); why != "" {
				asked.Failed = true
				r.note(resp.Address, s.Name, AddressKind+":"+address, "not asked: %s", why)
			} else if intent, room := r.asking(resp, s, q, &q.Levels[n], address); !room {
				continue
			} else if asked.Intent = intent; intent == "" {
				asked.Failed = true
			}
			r.plan.Asked = append(r.plan.Asked, Asking{Of: q.ID, Asked: asked})
		}
	}
}

// asking plans the intent that asks one address; empty: what it would say can't be worked
// out. Without room it has to wait.
func (r *run) asking(resp *Response, s *Step, q *model.Question, level *model.Level, address string) (intent string, room bool) {
	t := model.Target{Kind: AddressKind, Value: address}
	known := r.c.Facts.Target(t)
	t.Known = knownOf(known)
	r.scope.Set("target", known)
	step, action, route := *s, s.Action, s.Route
	if q.Kind == model.QuestionApproval {
		step.Parameters, step.Notice, action, route = nil, true, s.Approval.Via, s.Approval.Route
	}
	in := model.Intent{
		ID:   model.IntentID(r.c.FirstID, resp.Address, s.Name+" asks", notify, t, q.Round),
		Case: r.c.FirstID, Response: resp.Address, Step: s.Name,
		Action: action, Verb: notify, Target: t, Round: q.Round, DryRun: r.settings.Mode != On,
		Question: q.ID, PlannedAt: r.now, State: model.IntentPending,
	}
	if route != "" {
		in.Gather = r.gatherBy(route)
	}
	alone := !r.joins(&in)
	if limit, ok := r.limits[notify]; ok && alone && r.recent(notify)+r.planned[notify] >= limit {
		r.limited(resp.Address, s.Name, AddressKind+":"+address, notify, limit)
		return "", false
	}
	in.Because = r.because(resp, s)
	if level.Why != "" {
		in.Because += "; asked as " + level.Why
	}
	notice := r.notice(s, in)
	notice.Question, notice.Wait = q.ID, int(q.Wait.Seconds())
	for _, o := range q.Options {
		notice.Options = append(notice.Options, sdk.NoticeOption{Name: o.Name, Summary: o.Summary, NeedsReason: o.NeedsReason, Reasons: o.Reasons})
	}
	notice.Previews = r.previewsOf(q)
	notice.Asked = first(notice.Asked, toDo(q))
	var err error
	if in.Parameters, err = r.parameters(&step, notice); err != nil {
		r.note(resp.Address, s.Name, AddressKind+":"+address, "not asked: %v", err)
		return "", true
	}
	if alone {
		r.planned[notify]++
	}
	r.add(in)
	return in.ID, true
}

// toDo is what the reader is asked to do, if the operator has no words for it.
func toDo(q *model.Question) string {
	if q.Kind != model.QuestionApproval {
		return "Say what is to be done about it."
	}
	var targets []string
	for _, t := range q.Targets {
		targets = append(targets, t.Value)
	}
	more := ""
	if n := len(targets) - mostOutlined; n > 0 {
		targets, more = targets[:mostOutlined], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("Approve or refuse: %s for %s%s.", q.Verb, strings.Join(targets, ", "), more)
}
