package plan

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// unapproved is the result that a question of approval gives its step; empty: none, since
// it may be taken.
func unapproved(q *model.Question) model.IntentState {
	switch {
	case q.Open():
		return model.IntentPending
	case agreed(q), q.State == model.QuestionWithdrawn:
		return ""
	case q.State == model.QuestionFailed:
		return model.IntentFailed
	}
	return model.IntentRefused
}

// agreed tells whether what a question is about may be done.
func agreed(q *model.Question) bool {
	switch q.State {
	case model.QuestionAnswered:
		return q.Choice == model.OptionApprove
	case model.QuestionTimedOut:
		return q.Otherwise == model.OptionApprove
	}
	return false
}

// approved finds the question about whether a step may be taken on a target, as it is
// taken now; nil: it was not asked. What it says is noted.
func (r *run) approved(resp *Response, s *Step, t model.Target) (q *model.Question, ok bool) {
	var undone model.Intent
	if i, ok := r.latest[place{resp.Address, s.Name, s.Verb, t.Kind, t.Value}]; ok {
		undone = r.intents[i] // what was approved then is not approved again
	}
	for i := range r.questions {
		other := &r.questions[i]
		if r.approves(other, resp.Address, s) && !other.OpenedAt.Before(undone.FinishedAt) && slices.ContainsFunc(other.Targets, same(t)) {
			if q == nil || agreed(other) && !agreed(q) {
				q = other
			}
		}
	}
	if q == nil {
		return nil, false
	}
	shown := t.Kind + ":" + t.Value
	switch {
	case agreed(q):
		return q, true
	case q.Open():
		r.note(resp.Address, s.Name, shown, "waits for an approval")
	case q.State == model.QuestionAnswered:
		r.note(resp.Address, s.Name, shown, "not done: %s refused it", q.By)
	case q.State == model.QuestionTimedOut:
		r.note(resp.Address, s.Name, shown, "not done: nobody approved it in time")
	case q.State == model.QuestionFailed:
		r.note(resp.Address, s.Name, shown, "not done: nobody could be asked to approve it")
	default:
		r.note(resp.Address, s.Name, shown, "not done: its approval was withdrawn")
	}
	return q, false
}

func same(t model.Target) func(model.Target) bool {
	return func(o model.Target) bool { return o.Kind == t.Kind && o.Value == t.Value }
}

// approves tells whether a question is about the approval of a step.
func (r *run) approves(q *model.Question, response string, s *Step) bool {
	return q.Kind == model.QuestionApproval && q.Response == response && q.Step == s.Name && q.Verb == s.Verb
}

// mostApproved bounds the targets of one approval: who approves sees the dry run of each.
const mostApproved = sdk.MaxNoticeList

// approve goes on with the approval of a step: further levels of the question that is
// open, or else a question about the targets that need one, once it is known what a dry
// run of them says. While one is open there is no other, so that many targets that come
// one after the other ask few questions.
func (r *run) approve(resp *Response, s *Step, targets []model.Target) {
	if s.Approval == nil {
		return
	}
	round, open := r.rounds[[2]string{resp.Address, s.Name}], false
	for i := range r.questions {
		q := &r.questions[i]
		if q.Kind != model.QuestionApproval || q.Response != resp.Address || q.Step != s.Name {
			continue
		}
		if q.Open() {
			r.tell(resp, s, q)
			open = true
		}
	}
	for _, t := range targets {
		if open {
			r.note(resp.Address, s.Name, t.Kind+":"+t.Value, "waits for the approval that is being asked for, and is asked for after it")
		}
	}
	if open || len(targets) == 0 {
		return
	}
	for _, t := range targets[min(len(targets), mostApproved):] {
		r.note(resp.Address, s.Name, t.Kind+":"+t.Value, "is asked for after the %d before it", mostApproved)
	}
	targets = targets[:min(len(targets), mostApproved)]
	q := r.question(resp, s, model.QuestionApproval, round)
	ready := true
	for _, t := range targets {
		id, done := r.preview(resp, s, t, round)
		ready = ready && done
		q.Preview = append(q.Preview, id)
	}
	if !ready {
		r.waits[[2]string{resp.Address, s.Name}] = true
		return
	}
	a := s.Approval
	q.Verb, q.Targets = s.Verb, targets
	q.Options = []model.Option{{Name: model.OptionApprove}, {Name: model.OptionRefuse}}
	q.People, q.Role, q.Wait, q.Otherwise = max(a.People, 1), a.Role, a.Wait, a.Otherwise
	levels, why := r.levels(a.Route, a.To)
	r.open(resp, s, q, a.Route, levels, why)
}

// preview is the dry run of a step on a target, by its id; done tells whether it has ended.
func (r *run) preview(resp *Response, s *Step, t model.Target, round int) (id string, done bool) {
	if i, ok := r.previews[place{resp.Address, s.Name, s.Verb, t.Kind, t.Value}]; ok && r.intents[i].Round == round {
		return r.intents[i].ID, r.intents[i].State.Final()
	}
	r.scope.Set("target", r.c.Facts.Target(t))
	in := model.Intent{
		ID:   model.IntentID(r.c.FirstID, resp.Address, s.Name+" previews", s.Verb, t, round),
		Case: r.c.FirstID, Response: resp.Address, Step: s.Name,
		Action: s.Action, Verb: s.Verb, Target: t, Round: round,
		DryRun: true, Preview: true, PlannedAt: r.now, State: model.IntentPending,
		Because: r.because(resp, s) + "; to be approved",
	}
	var err error
	if in.Parameters, err = r.parameters(s, r.notice(s, in)); err != nil {
		in.State, in.FinishedAt, in.Message = model.IntentFailed, r.now, err.Error()
	}
	r.add(in)
	return in.ID, in.State.Final()
}

// previewsOf is what the dry runs of a question said.
func (r *run) previewsOf(q *model.Question) []sdk.NoticePreview {
	var all []sdk.NoticePreview
	for i := range r.intents {
		if in := &r.intents[i]; in.Preview && slices.Contains(q.Preview, in.ID) {
			all = append(all, sdk.NoticePreview{Verb: in.Verb, Target: in.Target.Value, State: string(in.State), Message: in.Message})
		}
	}
	return all
}
