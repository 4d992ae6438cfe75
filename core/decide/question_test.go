package decide

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// people know their ways: kim answers, ann and lee approve, joe only looks, rik writes
// rules.
func people(s *Settings) {
	s.Plan.Users = []plan.User{
		{Name: "kim", Mail: []string{"kim@example.org", "kim.b@example.org"}, Roles: []string{"responder"}, Accounts: []string{"user:kim"}},
		{Name: "ann", Mail: []string{"ann@example.org", "ann.c@example.org"}, Roles: []string{"approver"}, Accounts: []string{"user:ann"}},
		{Name: "lee", Mail: []string{"lee@example.org"}, Roles: []string{"engineer"}},
		{Name: "joe", Mail: []string{"joe@example.org"}, Roles: []string{"viewer"}},
		{Name: "rik", Mail: []string{"rik@example.org"}},
	}
	s.Plan.Authors = map[string]string{"pipeline.ids": "rik"}
	s.Plan.Rules = map[string][]string{"pipeline.ids": {"response.contain"}}
	s.Plan.Routes = append(s.Plan.Routes, plan.Route{
		Address: "route.asked", To: expression(`["kim@example.org", "joe@example.org"]`), Table: "table.owners",
	})
}

func ask(s *Settings) {
	people(s)
	isolate := &s.Plan.Responses[1].Steps[0]
	isolate.When, isolate.Holds, isolate.UndoAfter = expression(`step.ask.result == "timed_out"`), true, time.Hour
	s.Plan.Responses[1].Steps = []plan.Step{
		{
			Name: "ask", Action: "action.mail", Verb: "notify", Route: "route.asked", TargetKinds: []string{"address"}, Notice: true,
			Wait: 20 * time.Minute, Options: []model.Option{
				{Name: "ignore", NeedsReason: true, Reasons: []string{model.ReasonExpected, model.ReasonTest, model.ReasonFalseAlarm, model.ReasonDuplicate}},
				{Name: "contain", Run: []string{"isolate"}},
				{Name: "escalate"},
				{Name: "not_mine"},
			},
		},
		*isolate,
	}
}

func approve(s *Settings) {
	people(s)
	isolate := s.Plan.Responses[1].Steps[0]
	isolate.Approval = &plan.Approval{
		To: expression(`["ann", "lee", "kim"]`), Via: "action.mail", People: 2, Role: "approver",
		Wait: 30 * time.Minute, Otherwise: model.OptionRefuse,
	}
	s.Plan.Responses[1].Steps = []plan.Step{isolate}
}

// asking is a feed with a question in it.
type asking struct {
	*holding
	orders  int
	records []model.Record
}

func newAsking(t testing.TB, config string) *asking {
	return &asking{holding: newHolding(t, config)}
}

// question is the n-th that was asked, by when it was.
func (f *asking) question(n int) model.Question {
	f.t.Helper()
	var all []*questionState
	for _, q := range f.m.questions {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *questionState) int { return int(a.number) - int(b.number) })
	if n >= len(all) {
		f.t.Fatalf("%d questions: %v, %v", len(all), f.tables.planned(), f.notes())
	}
	if diff := cmp.Diff(all[n].Question, f.tables.questions[all[n].ID]); diff != "" {
		f.t.Fatalf("the row is another: %s", diff)
	}
	return f.tables.questions[all[n].ID]
}

// deliver tells what became of what asks an address.
func (f *asking) deliver(address string, state model.IntentState) Changes {
	f.t.Helper()
	for _, in := range f.tables.intents {
		if in.Question != "" && in.Target.Value == address && in.State == model.IntentPending {
			return f.apply(model.Input{Outcome: &model.Outcome{Intent: in.ID, State: state, Attempts: 1}})
		}
	}
	f.t.Fatalf("nothing asks %s: %v", address, f.tables.planned())
	return Changes{}
}

// choose gives an order, and says what became of it.
func (f *asking) choose(c model.Command) model.Choice {
	f.t.Helper()
	f.orders++
	c.Kind, c.ID = model.Choose, fmt.Sprint("order-", f.orders)
	if c.Question == "" {
		c.Question = f.question(0).ID
	}
	ch := f.apply(model.Input{Command: &c})
	f.records = ch.Records
	q := f.tables.questions[c.Question]
	if got := q.Chose(c.ID); got != nil {
		return *got
	}
	f.t.Fatalf("nothing became of %+v: %+v", c, q)
	return model.Choice{}
}

func (f *asking) wantQuestion(n int, want model.QuestionState) {
	f.t.Helper()
	if got := f.question(n).State; got != want {
		f.t.Fatalf("question %d is %s (%s), want %s", n, got, f.question(n).Why, want)
	}
}

// asked shows who is asked: "address level", with what became of it.
func (f *asking) asked(n int) string {
	var all []string
	for _, a := range f.question(n).Asked {
		text := fmt.Sprintf("%s %d", a.Address, a.Level)
		switch {
		case a.Failed:
			text += " failed"
		case !a.Accepted.IsZero():
			text += " accepted"
		}
		if a.Subject {
			text += " subject"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (f *asking) wantAsked(n int, want string) {
	f.t.Helper()
	if got := f.asked(n); got != want {
		f.t.Fatalf("asked are %s, want %s", got, want)
	}
}

// isolates is what became of the step that contains.
func (f *asking) isolates() string {
	var all []string
	for _, in := range f.tables.intents {
		if in.Step == "isolate" && in.Verb == "isolate_host" && !in.Preview {
			text := in.Target.Value + " " + string(in.State)
			if in.ChosenBy != "" {
				text += " by " + in.ChosenBy
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (f *asking) wantIsolated(want string) {
	f.t.Helper()
	if got := f.isolates(); got != want {
		f.t.Fatalf("isolated is %q, want %q; notes %v", got, want, f.notes())
	}
}

// TestATimeOutFollowsADelivery: the time runs from when the first mail was accepted, and
// from then only.
func TestATimeOutFollowsADelivery(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.wantAsked(0, "kim@example.org 0, joe@example.org 0")
	f.tick(5 * time.Hour)
	f.wantQuestion(0, model.QuestionOpen)
	f.deliver("joe@example.org", model.IntentFailed)
	c := f.deliver("kim@example.org", model.IntentDone)
	if c.Due == nil || *c.Due != 0 {
		t.Errorf("due after %v, before the time has begun", c.Due)
	}
	if c = f.tick(time.Second); c.Due == nil || *c.Due != 20*time.Minute {
		t.Errorf("due after %v", c.Due)
	}
	f.tick(20*time.Minute - 1)
	f.wantQuestion(0, model.QuestionOpen)
	f.wantIsolated("")
	if c = f.tick(1); c.Due != nil {
		t.Errorf("due after %v", c.Due)
	}
	f.wantQuestion(0, model.QuestionTimedOut)
	f.wantIsolated("ws-1 pending")
	f.wantAsked(0, "kim@example.org 0 accepted, joe@example.org 0 failed")
	if q := f.question(0); q.AcceptedAt.IsZero() || !q.ClosedAt.Equal(f.now) || q.Rules[0] != "pipeline.ids" {
		t.Errorf("question %+v", q)
	}
}

// TestNobodyIsReached: what came to nobody is failed, whatever time passes, and no time-out.
func TestNobodyIsReached(t *testing.T) {
	for _, state := range []model.IntentState{model.IntentFailed, model.IntentRefused, model.IntentUnknown} {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.deliver("kim@example.org", state)
		f.wantQuestion(0, model.QuestionOpen)
		f.deliver("joe@example.org", state)
		f.wantQuestion(0, model.QuestionFailed)
		f.tick(time.Hour)
		f.wantQuestion(0, model.QuestionFailed)
		f.wantIsolated("")
	}
}

// levels gives the question further ones, as routes make them.
func (f *asking) levels(levels ...model.Level) {
	q := f.m.open[f.question(0).ID]
	q.Levels = append(q.Levels, levels...)
	f.m.changedQuestion(q)
	f.m.changed.any = true
	f.tick(0)
}

// TestEscalation: who is next is asked when it is time, counted from the delivery, or at
// once where a level came to nothing.
func TestEscalation(t *testing.T) {
	further := []model.Level{{After: 5 * time.Minute, To: []string{"ann@example.org"}}, {After: 2 * time.Minute, To: []string{"lee@example.org"}}}
	t.Run("by time", func(t *testing.T) {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.levels(further...)
		f.tick(time.Hour) // nothing was delivered
		f.wantAsked(0, "kim@example.org 0, joe@example.org 0")
		f.deliver("kim@example.org", model.IntentDone)
		if c := f.tick(0); c.Due == nil || *c.Due != 5*time.Minute {
			t.Errorf("due after %v", c.Due)
		}
		f.tick(5*time.Minute - 1)
		f.wantAsked(0, "kim@example.org 0 accepted, joe@example.org 0")
		f.tick(1)
		f.wantAsked(0, "kim@example.org 0 accepted, joe@example.org 0, ann@example.org 1")
		f.tick(0)
		f.tick(14 * time.Minute) // each level has its time, also where nothing was told of it for long
		f.wantAsked(0, "kim@example.org 0 accepted, joe@example.org 0, ann@example.org 1, lee@example.org 2")
		f.tick(time.Minute)
		f.wantQuestion(0, model.QuestionTimedOut)
	})
	t.Run("at once", func(t *testing.T) {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.levels(further...)
		f.deliver("kim@example.org", model.IntentFailed)
		f.deliver("joe@example.org", model.IntentRefused)
		f.wantAsked(0, "kim@example.org 0 failed, joe@example.org 0 failed, ann@example.org 1")
		f.deliver("ann@example.org", model.IntentDone)
		f.tick(0)
		f.tick(2 * time.Minute)
		f.deliver("lee@example.org", model.IntentFailed)
		f.wantQuestion(0, model.QuestionOpen) // ann has it
		f.tick(18 * time.Minute)
		f.wantQuestion(0, model.QuestionTimedOut)
	})
	t.Run("to nobody", func(t *testing.T) {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.levels(further...)
		for _, a := range []string{"kim@example.org", "joe@example.org", "ann@example.org", "lee@example.org"} {
			f.wantQuestion(0, model.QuestionOpen)
			f.deliver(a, model.IntentFailed)
		}
		f.wantQuestion(0, model.QuestionFailed)
	})
	t.Run("past who became a subject", func(t *testing.T) {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.levels(further...)
		f.signals(sig("s-7", minutes(1), 90, "subject user:ann", "subject host:ws-1"))
		f.settle()
		f.deliver("kim@example.org", model.IntentFailed)
		f.deliver("joe@example.org", model.IntentFailed)
		f.wantAsked(0, "kim@example.org 0 failed, joe@example.org 0 failed, ann@example.org 1 failed subject, lee@example.org 2")
	})
}

// TestChoices that count, and what follows from each.
func TestChoices(t *testing.T) {
	for name, c := range map[string]struct {
		choice   model.Command
		by       string
		state    model.QuestionState
		isolated string
		asked    string
		finding  model.FindingKind
		proposal model.ProposalKind
	}{
		"contain, by name":  {choice: model.Command{By: "kim", Option: "contain"}, by: "kim", state: model.QuestionAnswered, isolated: "ws-1 pending by kim"},
		"by address":        {choice: model.Command{By: "Kim@example.org", Option: "contain"}, by: "kim", state: model.QuestionAnswered, isolated: "ws-1 pending by kim"},
		"by a link":         {choice: model.Command{By: "kim", Address: "kim@example.org", Road: model.RoadLink, Option: "contain"}, by: "kim", state: model.QuestionAnswered, isolated: "ws-1 pending by kim"},
		"by who has a role": {choice: model.Command{By: "lee", Option: "contain", Road: model.RoadCommand}, by: "lee", state: model.QuestionAnswered, isolated: "ws-1 pending by lee"},
		"expected": {
			choice: model.Command{By: "joe", Option: "ignore", Because: "expected: the backup"}, by: "joe", state: model.QuestionAnswered,
			finding: model.Benign, proposal: model.ProposeIgnore,
		},
		"a test":        {choice: model.Command{By: "joe", Option: "ignore", Because: "authorised_test"}, by: "joe", state: model.QuestionAnswered, finding: model.Benign, proposal: model.ProposeIgnore},
		"a false alarm": {choice: model.Command{By: "joe", Option: "ignore", Because: "false_alarm : it is a printer"}, by: "joe", state: model.QuestionAnswered, finding: model.FalsePositive, proposal: model.ProposeIgnore},
		"a duplicate":   {choice: model.Command{By: "joe", Option: "ignore", Because: "duplicate"}, by: "joe", state: model.QuestionAnswered, proposal: model.ProposeIgnore},
		"escalate": {
			choice: model.Command{By: "kim", Option: "escalate"}, by: "kim", state: model.QuestionOpen,
			asked: "kim@example.org 0, joe@example.org 0, rik@example.org 1",
		},
		"not mine": {
			choice: model.Command{By: "kim", Option: "not_mine", Address: "kim@example.org"}, by: "kim", state: model.QuestionOpen,
			asked: "kim@example.org 0, joe@example.org 0, ann@example.org 1", proposal: model.ProposeRoute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newAsking(t, "base asks")
			f.alert(0)
			if name == "not mine" {
				f.levels(model.Level{After: time.Hour, To: []string{"ann@example.org"}})
			}
			ch := f.choose(c.choice)
			if !ch.Counts || ch.By != c.by || !ch.At.Equal(f.now) {
				t.Fatalf("choice %+v", ch)
			}
			f.wantQuestion(0, c.state)
			f.wantIsolated(c.isolated)
			if c.asked != "" {
				f.wantAsked(0, c.asked)
			}
			q := f.question(0)
			if c.state == model.QuestionAnswered && (q.By != c.by || q.Choice != c.choice.Option || q.Reason != strings.TrimSpace(c.choice.Because)) {
				t.Errorf("question %+v", q)
			}
			finding := f.tables.cases[q.Case].Finding
			switch {
			case finding == nil && c.finding != "", finding != nil && (finding.Kind != c.finding || finding.By != c.by || finding.Question != q.ID):
				t.Errorf("finding %+v, want %s", finding, c.finding)
			}
			p, proposed := f.tables.proposals[model.ProposalID(c.proposal, q.ID)]
			if want := c.proposal != ""; proposed != want || len(f.tables.proposals) > 1 || want && (p.State != model.ProposalOpen || p.By != c.by || p.Case != q.Case || p.Rules[0] != "pipeline.ids") {
				t.Errorf("proposals %+v", f.tables.proposals)
			}
			if c.proposal == model.ProposeRoute && (p.Route != "route.asked" || p.Address != "kim@example.org") {
				t.Errorf("proposal %+v", p)
			}
			at := slices.IndexFunc(f.records, func(r model.Record) bool { return r.Kind == model.RecordChoice })
			if at < 0 || f.records[at].By != c.by || f.records[at].To != c.choice.Option || f.records[at].Subject != q.ID || f.records[at].Message != "" {
				t.Errorf("records %+v", f.records)
			}
		})
	}
}

// TestChoicesThatDoNotCount change nothing, are kept with why, and are in the audit.
func TestChoicesThatDoNotCount(t *testing.T) {
	for name, c := range map[string]struct {
		choice  model.Command
		before  func(f *asking)
		why     string
		subject bool
	}{
		"no such option":   {choice: model.Command{By: "kim", Option: "reboot"}, why: "there is no option reboot"},
		"no reason":        {choice: model.Command{By: "kim", Option: "ignore", Because: " "}, why: "needs a reason"},
		"no such reason":   {choice: model.Command{By: "kim", Option: "ignore", Because: "because"}, why: "must begin with one of expected, authorised_test"},
		"nobody":           {choice: model.Command{Option: "contain"}, why: "not known who chose"},
		"a stranger":       {choice: model.Command{By: "eve", Option: "contain"}, why: "eve was not asked, and does not have the role responder"},
		"without the role": {choice: model.Command{By: "rik", Option: "contain"}, why: "rik was not asked, and does not have the role responder"},
		"asked elsewhere":  {choice: model.Command{By: "kim", Address: "kim.b@example.org", Road: model.RoadLink, Option: "contain"}, why: "kim.b@example.org was not asked"},
		"a foreign link":   {choice: model.Command{By: "lee", Address: "kim@example.org", Road: model.RoadLink, Option: "contain"}, why: "lee is not who was asked at kim@example.org"},
		"a chat's claim":   {choice: model.Command{By: "lee", Road: model.RoadAnswers, Option: "contain"}, why: " was not asked"},
		"answered": {
			choice: model.Command{By: "kim", Option: "contain"}, why: "answered already: joe chose contain",
			before: func(f *asking) { f.choose(model.Command{By: "joe", Option: "contain"}) },
		},
		"over": {
			choice: model.Command{By: "kim", Option: "contain"}, why: "nobody answered in time",
			before: func(f *asking) {
				f.deliver("kim@example.org", model.IntentDone)
				f.tick(0)
				f.tick(20 * time.Minute)
			},
		},
		"reached nobody": {
			choice: model.Command{By: "kim", Option: "contain"}, why: "reached nobody",
			before: func(f *asking) {
				f.deliver("kim@example.org", model.IntentFailed)
				f.deliver("joe@example.org", model.IntentFailed)
			},
		},
		"twice": {
			choice: model.Command{By: "kim.b@example.org", Option: "contain"}, why: "kim has chosen already",
			before: func(f *asking) { f.choose(model.Command{By: "kim", Option: "not_mine"}) },
		},
		"nobody further": {
			choice: model.Command{By: "joe", Option: "escalate"}, why: "nobody else to ask",
			before: func(f *asking) { f.choose(model.Command{By: "kim", Option: "escalate"}) },
		},
		"a subject": {
			choice: model.Command{By: "kim", Option: "contain"}, why: "user:kim is a subject of the case", subject: true,
			before: func(f *asking) { f.suspect("kim") },
		},
		"a subject by another address": {
			choice: model.Command{By: "kim.b@example.org", Option: "contain"}, why: "user:kim is a subject of the case", subject: true,
			before: func(f *asking) { f.suspect("kim") },
		},
		"a subject with a role that was not asked": {
			choice: model.Command{By: "ann", Option: "contain", Road: model.RoadCommand}, why: "user:ann is a subject of the case", subject: true,
			before: func(f *asking) { f.suspect("ann") },
		},
		"by the mailbox of a subject": {
			choice: model.Command{By: "kim", Address: "kim@example.org", Road: model.RoadLink, Option: "contain"}, why: "user:kim is a subject", subject: true,
			before: func(f *asking) { f.suspect("kim") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newAsking(t, "base asks")
			f.alert(0)
			if c.before != nil {
				c.before(f)
			}
			before, isolated := f.question(0), f.isolates()
			ch := f.choose(c.choice)
			if ch.Counts || !strings.Contains(ch.Why, c.why) || ch.Subject != c.subject {
				t.Fatalf("choice %+v", ch)
			}
			after := f.question(0)
			if len(f.records) != 1 || f.records[0].Kind != model.RecordChoice || f.records[0].Message != ch.Why {
				t.Errorf("records %+v", f.records)
			}
			after.Choices = after.Choices[:len(before.Choices)]
			if len(before.Choices) == 0 {
				after.Choices = nil
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("it changed something: %s", diff)
			}
			f.wantIsolated(isolated)
		})
	}
}

// suspect makes somebody a subject of the case, after it was asked.
func (f *asking) suspect(user string) {
	f.signals(sig("s-7", minutes(1), 90, "subject user:"+user, "subject host:ws-1"))
	f.settle()
}

// TestChoicesAreBounded, of each person and of all.
func TestChoicesAreBounded(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	for n := range 3 * model.MostRefused {
		who := fmt.Sprint("eve-", n%20)
		f.apply(model.Input{Command: &model.Command{Kind: model.Choose, ID: fmt.Sprint(n), By: who, Question: f.question(0).ID, Option: strings.Repeat("x", 5000)}})
	}
	q := f.question(0)
	if n := len(q.Choices); n != model.MostRefused || len(q.Choices[0].Option) > maxRecordText+5 {
		t.Errorf("%d choices are kept, of %d bytes", n, len(q.Choices[0].Option))
	}
	if ch := f.choose(model.Command{By: "kim", Option: "contain"}); !ch.Counts {
		t.Errorf("choice %+v", ch)
	}
	c := f.apply(model.Input{Command: &model.Command{Kind: model.Choose, ID: "order-1", By: "kim", Question: q.ID, Option: "contain"}})
	if len(c.Questions) > 0 || len(c.Records) > 0 {
		t.Errorf("an order that comes again is taken again: %+v", c)
	}
}

// TestApprovals: it takes different people with the role; one refusal is enough.
func TestApprovals(t *testing.T) {
	yes, no := model.OptionApprove, model.OptionRefuse
	type try struct{ by, option, why string }
	for name, c := range map[string]struct {
		tries    []try
		state    model.QuestionState
		isolated string
	}{
		"two people":          {[]try{{"ann", yes, ""}, {"lee", yes, ""}}, model.QuestionAnswered, "ws-1 pending by lee"},
		"one person, twice":   {[]try{{"ann", yes, ""}, {"ann.c@example.org", yes, "ann has chosen already"}, {"ANN@example.org", yes, "ann has chosen already"}}, model.QuestionOpen, ""},
		"without the role":    {[]try{{"ann", yes, ""}, {"kim", yes, "was not asked, and does not have the role approver"}}, model.QuestionOpen, ""},
		"one refuses":         {[]try{{"ann", yes, ""}, {"lee", no, ""}, {"ann", yes, "lee chose refuse"}}, model.QuestionAnswered, ""},
		"approved, and no":    {[]try{{"ann", yes, ""}, {"ann", no, "ann has chosen already"}}, model.QuestionOpen, ""},
		"an option of others": {[]try{{"ann", "contain", "no option contain"}}, model.QuestionOpen, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newAsking(t, "base approves")
			f.alert(0)
			f.preview()
			f.wantAsked(0, "ann@example.org 0, lee@example.org 0")
			for _, try := range c.tries {
				if ch := f.choose(model.Command{By: try.by, Option: try.option}); ch.Counts != (try.why == "") || !strings.Contains(ch.Why, try.why) {
					t.Fatalf("%s: %+v", try.by, ch)
				}
			}
			f.wantQuestion(0, c.state)
			f.wantIsolated(c.isolated)
		})
	}
	t.Run("one person, by the mailbox of several too", func(t *testing.T) {
		f := newAsking(t, "base approves anyone")
		f.alert(0)
		f.preview()
		f.choose(model.Command{By: "ann", Option: yes})
		ch := f.choose(model.Command{By: "soc@example.org", Address: "soc@example.org", Road: model.RoadLink, Option: yes})
		if ch.Counts || !strings.Contains(ch.Why, "may be somebody who has approved already") {
			t.Errorf("%+v", ch)
		}
		f.wantQuestion(0, model.QuestionOpen)
		f.choose(model.Command{By: "lee", Option: yes})
		f.wantIsolated("ws-1 pending by lee")
	})
	t.Run("two names by one mailbox", func(t *testing.T) {
		f := newAsking(t, "base approves anyone")
		f.alert(0)
		f.preview()
		link := model.Command{By: "ann", Address: "soc@example.org", Road: model.RoadLink, Option: yes}
		if ch := f.choose(link); !ch.Counts {
			t.Fatalf("%+v", ch)
		}
		link.By = "lee"
		if ch := f.choose(link); ch.Counts {
			t.Errorf("%+v", ch)
		}
		f.wantQuestion(0, model.QuestionOpen)
	})
	t.Run("who approved has come to be a subject", func(t *testing.T) {
		f := newAsking(t, "base approves")
		f.alert(0)
		f.preview()
		f.choose(model.Command{By: "ann", Option: yes})
		f.suspect("ann")
		f.choose(model.Command{By: "lee", Option: yes})
		f.wantQuestion(0, model.QuestionOpen)
		if ch := f.question(0).Choices[0]; ch.Counts || !ch.Subject || ch.Why == "" {
			t.Errorf("%+v", ch)
		}
		f.wantIsolated("")
	})
	t.Run("nobody answers", func(t *testing.T) {
		f := newAsking(t, "base approves")
		f.alert(0)
		f.preview()
		f.deliver("ann@example.org", model.IntentDone)
		f.tick(0)
		f.tick(30 * time.Minute)
		f.wantQuestion(0, model.QuestionTimedOut)
		f.wantIsolated("")
	})
}

// preview tells what the dry run for who approves said.
func (f *asking) preview() {
	f.t.Helper()
	for _, in := range f.tables.intents {
		if in.Preview {
			f.apply(model.Input{Outcome: &model.Outcome{Intent: in.ID, State: model.IntentDone, Message: "would isolate"}})
		}
	}
}

// TestQuestionsOfCasesThatComeTogether: what was answered is not asked any more; what was
// not goes on, whichever names the case has.
func TestQuestionsOfCasesThatComeTogether(t *testing.T) {
	together := func(f *asking) {
		f.order(model.Command{ID: "m", Kind: model.MergeCases, Signals: []string{"s-0", "s-1"}})
	}
	f := newAsking(t, "base asks")
	f.alert(0)
	f.alert(1)
	f.choose(model.Command{Question: f.question(0).ID, By: "kim", Option: "contain"})
	f.wantQuestion(1, model.QuestionOpen)
	together(f)
	f.wantQuestion(1, model.QuestionWithdrawn)
	if why := f.question(1).Why; !strings.Contains(why, "kim chose contain") {
		t.Errorf("withdrawn since %q", why)
	}

	f = newAsking(t, "base asks")
	f.alert(0)
	f.alert(1)
	together(f)
	f.wantQuestion(0, model.QuestionOpen)
	f.wantQuestion(1, model.QuestionOpen)
	f.choose(model.Command{Question: f.question(1).ID, By: "kim", Option: "contain"})
	f.wantQuestion(0, model.QuestionWithdrawn)
	f.wantIsolated("ws-1 pending by kim")
	f.order(model.Command{Kind: model.UndoDecision, Decision: DecisionID("m")})
	f.wantQuestion(0, model.QuestionWithdrawn)
	if ch := f.choose(model.Command{Question: f.question(0).ID, By: "joe", Option: "contain"}); ch.Counts {
		t.Errorf("choice %+v", ch)
	}
}

// TestAQuestionGoesWithItsSignal when a case is split.
func TestAQuestionGoesWithItsSignal(t *testing.T) {
	f := newAsking(t, "base asks")
	f.signals(sig("s-0", minutes(0), 90, "subject host:ws-1"), sig("s-1", minutes(1), 90, "subject host:ws-1"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	f.settle()
	f.order(model.Command{ID: "split", Kind: model.SplitCase, Signals: []string{"s-1"}})
	if n := len(f.tables.questions); n != 1 || len(f.tables.open()) != 2 {
		t.Fatalf("%d questions in %d cases", n, len(f.tables.open()))
	}
	f.choose(model.Command{By: "kim", Option: "contain"})
	f.wantIsolated("ws-1 pending by kim")
}

// TestTheStepIsGone: what the configuration has no more, or no such case asks for, is
// withdrawn.
func TestTheStepIsGone(t *testing.T) {
	for config, want := range map[string]model.QuestionState{
		"base held": model.QuestionWithdrawn, "base approves": model.QuestionWithdrawn, "base quiet": model.QuestionWithdrawn,
		"base asks dry": model.QuestionOpen, "base asks off": model.QuestionOpen,
	} {
		f := newAsking(t, "base asks")
		f.alert(0)
		f.config(config, false)
		f.wantQuestion(0, want)
	}
}

// TestWithdrawAll is for who ends a case.
func TestWithdrawAll(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.alert(1)
	f.m.withdrawAll(f.m.caseOf(f.m.open[f.question(0).ID]), "the case has ended")
	f.m.changed.any = true
	f.tick(0)
	f.wantQuestion(0, model.QuestionWithdrawn)
	f.wantQuestion(1, model.QuestionOpen)
}

// TestAQuestionStaysInMemory while it is open; closed, it leaves with its case and is
// brought back by who chooses too late.
func TestAQuestionStaysInMemory(t *testing.T) {
	f := &asking{holding: &holding{feed: &feed{t: t, m: New(within(Limits{Signals: 1}, 0)), now: start, tables: newTables()}, boot: "boot-1"}}
	f.config("base asks", false)
	f.alert(0)
	id := f.question(0).ID
	quiet := func(n int) {
		g := sig(fmt.Sprintf("q-%d", n), minutes(6000*n), 1, fmt.Sprintf("subject ip:10.0.7.%d", n))
		g.Rule = "rule.quiet"
		f.signals(g)
		f.settle()
	}
	quiet(1)
	quiet(2)
	if f.m.questions[id] == nil {
		t.Fatal("an open question has left")
	}
	f.deliver("kim@example.org", model.IntentDone)
	f.deliver("joe@example.org", model.IntentDone)
	f.choose(model.Command{Question: id, By: "kim", Option: "ignore", Because: "expected"})
	quiet(3)
	quiet(4)
	if f.m.questions[id] != nil {
		t.Fatal("a closed question stays for ever")
	}
	before := f.tables.questions[id]
	in := model.Input{At: f.now, Command: &model.Command{Kind: model.Choose, ID: "late", Question: id, By: "joe", Option: "contain"}}
	at := Position{Seq: f.m.Position().Seq + 1}
	if err := f.tables.bring(f.m, at, &in, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.m.Apply(at.Seq, 0, in); err != nil {
		t.Fatal(err)
	}
	f.tables.commit(f.m.Changes())
	after := f.tables.questions[id]
	if ch := after.Chose("late"); ch == nil || !strings.Contains(ch.Why, "kim chose ignore") {
		t.Errorf("choice %+v", ch)
	}
	after.Choices = before.Choices
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if k := f.tables.cases[model.CaseID("s-0")]; k.Finding == nil || k.Finding.Kind != model.Benign {
		t.Errorf("the case is found %+v", k.Finding)
	}
}

// TestAClockThatJumpsAsks neither answers early nor waits for ever, by reboots neither.
func TestAClockThatJumpsAsks(t *testing.T) {
	for name, skew := range map[string]time.Duration{"forward": 1000 * time.Hour, "back": -1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			f := newAsking(t, "base asks")
			f.alert(0)
			f.deliver("kim@example.org", model.IntentDone)
			f.tick(0)
			f.skew = skew
			if skew > 0 { // decide's time follows
				f.now = f.now.Add(skew)
			}
			f.tick(10 * time.Minute)
			f.skew = 0 // it is put right
			f.tick(9 * time.Minute)
			f.wantQuestion(0, model.QuestionOpen)
			if left := f.question(0).Until.Sub(f.m.At()); left < 30*time.Second || left > 90*time.Second {
				t.Errorf("a minute is left, and it shows %s", left)
			}
			f.boot, f.uptime = "boot-2", 0
			f.tick(30 * time.Second)
			f.wantQuestion(0, model.QuestionOpen)
			f.tick(30 * time.Second)
			f.wantQuestion(0, model.QuestionTimedOut)
		})
	}
}

// TestQuestionsSnapshot: a machine goes on with what it has asked.
func TestQuestionsSnapshot(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.deliver("kim@example.org", model.IntentDone)
	f.alert(1)
	f.choose(model.Command{Question: f.question(1).ID, By: "joe", Option: "ignore", Because: "expected"})
	f.tick(time.Minute)
	text := snapshot(t, f.m)
	m := New(testCompiler)
	if err := m.Restore(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, snapshot(t, m)) {
		t.Fatal("a restored machine is another")
	}
	f.m = m
	f.wantQuestion(0, model.QuestionOpen)
	f.tick(time.Hour)
	f.tick(time.Hour)
	if s := f.question(0).State; s != model.QuestionTimedOut {
		t.Errorf("the question is %s", s)
	}
	for _, bad := range []int{-1, 2} {
		for _, q := range f.m.questions {
			q.Level = bad
		}
		f.m.changed.any = false
		if err := New(testCompiler).Restore(bytes.NewReader(snapshot(t, f.m))); err == nil {
			t.Errorf("a question at level %d is read", bad)
		}
	}
}

// TestTheAuditOfAQuestion says who was asked, reached, chose, when and by which road.
func TestTheAuditOfAQuestion(t *testing.T) {
	f := newAsking(t, "base asks")
	var all []string
	note := func(c Changes) {
		for _, r := range c.Records {
			switch r.Kind {
			case model.RecordQuestion, model.RecordAsked, model.RecordChoice, model.RecordFinding, model.RecordProposal:
				all = append(all, strings.Join(strings.Fields(fmt.Sprintln(r.Kind, r.From, r.To, r.Target, r.By, r.Road, r.Because, r.Message)), " "))
			}
		}
	}
	f.signals(sig("s-0", minutes(0), 90, "subject host:ws-1"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	for _, l := range f.m.asks {
		if l.pending() {
			note(f.answer(l.src.Address, f.m.index.Key(l.value), model.Reply{State: model.Unknown}))
		}
	}
	if len(f.tables.questions) == 0 {
		t.Fatal("nothing is asked")
	}
	note(f.deliver("kim@example.org", model.IntentDone))
	note(f.deliver("joe@example.org", model.IntentFailed))
	note(f.apply(model.Input{Command: &model.Command{Kind: model.Choose, ID: "1", By: "eve", Question: f.question(0).ID, Option: "contain", Road: model.RoadAPI}}))
	note(f.apply(model.Input{Command: &model.Command{
		Kind: model.Choose, ID: "2", By: "kim", Address: "kim@example.org", Question: f.question(0).ID, Option: "ignore", Because: "expected: patch day", Road: model.RoadLink,
	}}))
	want := []string{
		"asked accepted address:kim@example.org",
		"asked failed address:joe@example.org",
		"choice contain eve api eve was not asked, and does not have the role responder",
		"choice ignore address:kim@example.org kim link expected: patch day",
		"question open answered kim link expected: patch day ignore",
		"finding benign kim patch day",
		"proposal open kim expected: patch day ignore",
	}
	if len(all) > len(want) { // those of the answer that had it asked, if that was the last
		all = all[len(all)-len(want):]
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}
