package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// approved is a step that has to be approved, and one that tells if it was not.
func approving(change func(*Approval)) Settings {
	contain, told := isolate(), tell()
	contain.OnFailure = []string{"tell"}
	contain.Approval = &Approval{To: program(`["kim", "lee"]`), Via: "action.mail", People: 1, Wait: time.Hour, Otherwise: model.OptionRefuse}
	if change != nil {
		change(contain.Approval)
	}
	s := settings(contain, told)
	s.Users = []User{
		{Name: "kim", Mail: []string{"kim@example.org"}, Roles: []string{"approver"}},
		{Name: "lee", Mail: []string{"lee@example.org"}, Roles: []string{"responder"}},
	}
	return s
}

func TestApproval(t *testing.T) {
	ready := func(t *testing.T, change func(*Approval)) *played {
		t.Helper()
		p := play(approving(change), oneHost()).plan().want(t, "isolate ws-1 preview")
		if in := p.last.Intents[0]; !in.DryRun || in.ID == model.IntentID("c-1", "response.r", "isolate", "isolate_host", in.Target, 0) {
			t.Errorf("%+v", in)
		}
		return p.plan().want(t).ends("isolate", model.IntentRefused).plan()
	}
	asked := func(t *testing.T, change func(*Approval)) *played {
		t.Helper()
		p := ready(t, change).want(t, "isolate approval asked (open) kim@example.org,lee@example.org",
			"isolate kim@example.org asks", "isolate lee@example.org asks")
		q := p.question("isolate")
		if len(q.Preview) != 1 || q.Verb != "isolate_host" || len(q.Targets) != 1 || q.Option("approve") == nil || q.Option("refuse") == nil {
			t.Errorf("%+v", q)
		}
		for _, in := range p.last.Intents {
			if in.Action != "action.mail" || !strings.Contains(string(in.Parameters), "Approve or refuse: isolate_host for ws-1.") {
				t.Errorf("%+v", in)
			}
		}
		return p.ends("isolate", model.IntentDone).plan().want(t, "isolate host:ws-1: waits for an approval")
	}
	t.Run("approved", func(t *testing.T) {
		p := asked(t, nil).closes("isolate", model.QuestionAnswered, "approve", "kim").plan().want(t, "isolate ws-1 by kim")
		if in := p.last.Intents[0]; in.DryRun || in.Preview || in.Question != p.question("isolate").ID {
			t.Errorf("%+v", in)
		}
		p.plan().want(t)
	})
	t.Run("refused", func(t *testing.T) {
		p := asked(t, nil).closes("isolate", model.QuestionAnswered, "refuse", "kim").plan()
		p.want(t, "tell kim@example.org", "isolate host:ws-1: not done: kim refused it")
		p.plan().want(t, "isolate host:ws-1: not done: kim refused it")
	})
	t.Run("timed out", func(t *testing.T) {
		p := asked(t, nil).closes("isolate", model.QuestionTimedOut, "", "").plan()
		p.want(t, "tell kim@example.org", "isolate host:ws-1: not done: nobody approved it in time")
	})
	t.Run("timed out, and that is approval", func(t *testing.T) {
		p := asked(t, func(a *Approval) { a.Otherwise = model.OptionApprove }).closes("isolate", model.QuestionTimedOut, "", "").plan()
		p.want(t, "isolate ws-1")
		if b := p.last.Intents[0].Because; !strings.HasSuffix(b, "; nobody refused it in time") {
			t.Error(b)
		}
	})
	t.Run("it reaches nobody, which approves nothing", func(t *testing.T) {
		p := asked(t, func(a *Approval) { a.Otherwise = model.OptionApprove }).closes("isolate", model.QuestionFailed, "", "").plan()
		p.want(t, "tell kim@example.org", "isolate host:ws-1: not done: nobody could be asked to approve it")
	})
	t.Run("a role", func(t *testing.T) {
		ready(t, func(a *Approval) { a.Role = "approver" }).want(t,
			"isolate approval asked (open) kim@example.org", "isolate kim@example.org asks",
			"isolate: not asked: lee@example.org: it is of no user with the role approver")
	})
	t.Run("two people, of whom one may be asked", func(t *testing.T) {
		p := ready(t, func(a *Approval) { a.Role, a.People, a.Otherwise = "approver", 2, model.OptionApprove })
		p.want(t, "isolate approval asked (failed) kim@example.org", "tell kim@example.org",
			"isolate: not asked: lee@example.org: it is of no user with the role approver",
			"isolate: 2 have to approve, and only 1 may be asked")
		p.plan().want(t, "isolate host:ws-1: not done: nobody could be asked to approve it")
	})
	t.Run("protected since", func(t *testing.T) {
		p := asked(t, nil).closes("isolate", model.QuestionAnswered, "approve", "kim")
		p.planner.settings.Protects = []Protect{{Name: "all"}}
		p.plan().want(t, `isolate host:ws-1: protected by "all"`)
	})
	t.Run("more targets are asked for together, later", func(t *testing.T) {
		p := asked(t, nil)
		p.c.Value = testCase(map[string]any{"hosts": []any{"ws-1", "ws-2", "dc-1"}}).Value
		const later = ": waits for the approval that is being asked for, and is asked for after it"
		p.plan().want(t, "isolate host:ws-1: waits for an approval", "isolate host:ws-2"+later, "isolate host:dc-1"+later)
		p.closes("isolate", model.QuestionAnswered, "refuse", "kim").plan()
		p.want(t, "isolate ws-2 preview", "isolate dc-1 preview", "isolate host:ws-1: not done: kim refused it")
		p.ends("isolate", model.IntentDone).plan()
		p.want(t, "isolate approval asked (open) kim@example.org,lee@example.org",
			"isolate kim@example.org asks", "isolate lee@example.org asks", "isolate host:ws-1: not done: kim refused it")
	})
	t.Run("approved once is not approved for ever", func(t *testing.T) {
		p := asked(t, nil).closes("isolate", model.QuestionAnswered, "approve", "kim").plan().ends("isolate", model.IntentDone).plan()
		last := &p.c.Intents[len(p.c.Intents)-1]
		last.State, last.FinishedAt = model.IntentUndone, p.at
		p.at = p.at.Add(time.Minute)
		p.c.ChangedAt = p.at
		p.plan().want(t, "isolate ws-1 preview").ends("isolate", model.IntentDone).plan()
		p.want(t, "isolate approval asked (open) kim@example.org,lee@example.org",
			"isolate kim@example.org asks", "isolate lee@example.org asks")
		p.closes("isolate", model.QuestionAnswered, "approve", "lee").plan().want(t, "isolate ws-1 by lee")
		if in := p.last.Intents[0]; in.Round != 1 {
			t.Errorf("%+v", in)
		}
	})
	t.Run("what a person chose is approved too", func(t *testing.T) {
		s := approving(nil)
		ask := asking()[0]
		s.Responses[0].Steps = append([]Step{ask}, s.Responses[0].Steps...)
		p := play(s, oneHost()).plan().closes("ask", model.QuestionAnswered, "contain", "kim").plan()
		p.want(t, "isolate ws-1 preview").ends("isolate", model.IntentDone).plan()
		p.want(t, "isolate approval asked (open) kim@example.org,lee@example.org",
			"isolate kim@example.org asks", "isolate lee@example.org asks")
		p.closes("isolate", model.QuestionAnswered, "approve", "lee").plan().want(t, "isolate ws-1 by lee")
	})
}
