package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// played is a case that is planned again and again, with what has become of its plans.
type played struct {
	planner *Planner
	c       Case
	at      time.Time
	last    Plan
}

func play(s Settings, c Case) *played {
	return &played{planner: New(s), c: c, at: now}
}

// plan plans once, and keeps what came of it as decide does.
func (p *played) plan() *played {
	p.last = p.planner.Plan(p.c, p.at, func(string) int { return 0 })
	p.c.Intents = append(p.c.Intents, p.last.Intents...)
	p.c.Questions = append(p.c.Questions, p.last.Questions...)
	for _, a := range p.last.Asked {
		for i := range p.c.Questions {
			if q := &p.c.Questions[i]; q.ID == a.Of {
				q.Asked = append(q.Asked, a.Asked)
			}
		}
	}
	p.at = p.at.Add(time.Minute)
	return p
}

// ends gives what is pending of a step an end.
func (p *played) ends(step string, state model.IntentState) *played {
	for i := range p.c.Intents {
		if in := &p.c.Intents[i]; in.Step == step && in.State == model.IntentPending {
			in.State, in.FinishedAt = state, p.at
		}
	}
	return p
}

// question is the last of a step.
func (p *played) question(step string) *model.Question {
	for i := len(p.c.Questions) - 1; i >= 0; i-- {
		if p.c.Questions[i].Step == step {
			return &p.c.Questions[i]
		}
	}
	return nil
}

func (p *played) closes(step string, state model.QuestionState, choice, by string) *played {
	q := p.question(step)
	q.State, q.Choice, q.By, q.ClosedAt = state, choice, by, p.at
	return p
}

// did shows what the last plan has new.
func (p *played) did() []string {
	var all []string
	for _, q := range p.last.Questions {
		text := fmt.Sprintf("%s %s asked (%s)", q.Step, q.Kind, q.State)
		for _, l := range q.Levels {
			if l.After < NotByTime { // the route's otherwise is asked if all others come to nothing
				text += " " + strings.Join(l.To, ",")
			}
		}
		all = append(all, text)
	}
	for _, in := range p.last.Intents {
		text := fmt.Sprintf("%s %s", in.Step, in.Target.Value)
		switch {
		case in.Preview:
			text += " preview"
		case in.ChosenBy != "":
			text += " by " + in.ChosenBy
		case in.Question != "":
			text += " asks"
		}
		all = append(all, text)
	}
	return append(all, notes(p.last)...)
}

func notes(p Plan) []string {
	var all []string
	for _, n := range p.Notes {
		all = append(all, strings.TrimSpace(n.Step+" "+n.Target)+": "+n.Why)
	}
	return all
}

func (p *played) want(t *testing.T, want ...string) *played {
	t.Helper()
	if diff := cmp.Diff(want, p.did()); diff != "" {
		t.Error(diff)
	}
	return p
}

// asking is the design's example: the owner is asked, and a computer is isolated if they
// say so or say nothing.
func asking() []Step {
	ask := tell()
	ask.Name, ask.Wait, ask.Notice = "ask", 20*time.Minute, true
	ask.Options = []model.Option{{Name: "ignore", NeedsReason: true}, {Name: "contain", Run: []string{"isolate"}}}
	contain := isolate()
	contain.When = program(`step.ask.result == "timed_out"`)
	return []Step{ask, contain}
}

func oneHost() Case { return testCase(map[string]any{"hosts": "ws-1"}) }

func TestAsk(t *testing.T) {
	asked := func(t *testing.T) *played {
		return play(settings(asking()...), oneHost()).plan().
			want(t, "ask choice asked (open) kim@example.org", "ask kim@example.org asks")
	}
	t.Run("open", func(t *testing.T) {
		p := asked(t)
		p.plan().want(t)
		p.ends("ask", model.IntentDone).plan().want(t)
		if q := p.question("ask"); q.Wait != 20*time.Minute || q.Asked[0].Intent != p.c.Intents[0].ID || q.Asked[0].Subject {
			t.Errorf("%+v", q)
		}
	})
	t.Run("chosen", func(t *testing.T) {
		asked(t).closes("ask", model.QuestionAnswered, "contain", "kim").plan().want(t, "isolate ws-1 by kim").plan().want(t)
	})
	t.Run("chosen, and the score has fallen", func(t *testing.T) {
		p := asked(t)
		p.c.Value = testCase(map[string]any{"hosts": "ws-1", "score": map[string]any{"total": 10}}).Value
		p.plan().want(t).closes("ask", model.QuestionAnswered, "contain", "kim").plan().want(t, "isolate ws-1 by kim")
	})
	t.Run("nobody answers, and the score has fallen", func(t *testing.T) {
		p := asked(t)
		p.c.Value = testCase(map[string]any{"hosts": "ws-1", "score": map[string]any{"total": 10}}).Value
		p.closes("ask", model.QuestionTimedOut, "", "").plan().want(t)
	})
	t.Run("another chosen", func(t *testing.T) {
		asked(t).closes("ask", model.QuestionAnswered, "ignore", "kim").plan().want(t)
	})
	t.Run("nobody answers", func(t *testing.T) {
		asked(t).closes("ask", model.QuestionTimedOut, "", "").plan().want(t, "isolate ws-1")
	})
	t.Run("it reaches nobody, which is no silence", func(t *testing.T) {
		asked(t).closes("ask", model.QuestionFailed, "", "").plan().want(t)
	})
	t.Run("protected all the same", func(t *testing.T) {
		s := settings(asking()...)
		s.Protects = []Protect{{Name: "all"}}
		p := play(s, oneHost()).plan().closes("ask", model.QuestionAnswered, "contain", "kim").plan()
		p.want(t, `isolate host:ws-1: protected by "all"`)
	})
	t.Run("limited all the same", func(t *testing.T) {
		s := settings(asking()...)
		s.Limits = []Limit{{"isolate_host", 0}}
		p := play(s, oneHost()).plan().closes("ask", model.QuestionAnswered, "contain", "kim").plan()
		p.want(t, "isolate host:ws-1: the limit of 0 isolate_host per hour is reached")
	})
	t.Run("a further level", func(t *testing.T) {
		p := asked(t)
		q := p.question("ask")
		q.Levels = slices.Insert(q.Levels, 1, model.Level{After: time.Minute, To: []string{"kim@example.org", "lee@example.org"}})
		p.plan().want(t)
		p.question("ask").Level = 1
		p.plan().want(t, "ask lee@example.org asks").plan().want(t)
	})
	t.Run("a limit of people who are asked", func(t *testing.T) {
		s := settings(asking()...)
		s.Limits = []Limit{{"notify", 0}}
		p := play(s, oneHost()).plan()
		p.want(t, "ask choice asked (open) kim@example.org", "ask address:kim@example.org: the limit of 0 notify per hour is reached")
		if !p.last.Limited || len(p.last.Asked) != 0 {
			t.Errorf("%+v", p.last)
		}
	})
	t.Run("after a merge what was answered counts", func(t *testing.T) {
		p := asked(t)
		other := *p.question("ask")
		other.ID, other.State, other.Choice, other.By = "q-2", model.QuestionAnswered, "contain", "lee"
		p.c.Questions = append([]model.Question{other}, p.c.Questions...)
		p.plan().want(t, "isolate ws-1 by lee")
	})
}

func TestSubjectsAreNotAsked(t *testing.T) {
	subject := func(kind, value string) map[string]any {
		return map[string]any{"hosts": "ws-1", "subjects": []any{map[string]any{"kind": kind, "value": value}}}
	}
	for name, c := range map[string]struct {
		fields map[string]any
		change func(*Settings)
		want   []string
	}{
		"otherwise is asked": {subject("user", "kim"), nil, []string{
			"ask choice asked (open) soc@example.org", "ask soc@example.org asks",
			"ask: not asked: kim@example.org: user:kim is a subject of the case",
		}},
		"nobody is left": {subject("user", "kim"), func(s *Settings) { s.Routes[0].Otherwise = "Kim+soc@Example.org" }, []string{
			"ask choice asked (failed)", "ask: not asked: kim@example.org: user:kim is a subject of the case",
			"ask: there is nobody who may be asked",
		}},
		"and then it has failed": {subject("user", "kim"), func(s *Settings) {
			s.Routes[0].Otherwise = ""
			s.Responses[0].Steps[0].OnFailure = []string{"isolate"}
		}, []string{
			"ask choice asked (failed)", "isolate ws-1", "ask: not asked: kim@example.org: user:kim is a subject of the case",
			"ask: there is nobody who may be asked",
		}},
		"ask_subject": {subject("user", "kim"), func(s *Settings) { s.Responses[0].Steps[0].AskSubject = true }, []string{
			"ask choice asked (open) kim@example.org", "ask kim@example.org asks",
		}},
		"a protected address": {map[string]any{"hosts": "ws-1"}, func(s *Settings) {
			s.Protects = []Protect{{Name: "boss", Verbs: []string{"notify"}, When: compile(`target.value == "kim@example.org"`, true)}}
		}, []string{
			"ask choice asked (open) soc@example.org", "ask soc@example.org asks", `ask: not asked: kim@example.org: protected by "boss"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(asking()...)
			if c.change != nil {
				c.change(&s)
			}
			p := play(s, testCase(c.fields)).plan().want(t, c.want...)
			if a := p.last.Asked; name == "ask_subject" && (len(a) != 1 || !a[0].Subject) {
				t.Errorf("%+v", a)
			}
		})
	}
	t.Run("a case that grows", func(t *testing.T) {
		p := play(settings(asking()...), oneHost()).plan()
		q := p.question("ask")
		q.Levels, q.Level = slices.Insert(q.Levels, 1, model.Level{To: []string{"lee@example.org"}}), 1
		p.c.Value = testCase(subject("email", "lee@example.org")).Value
		p.plan().want(t, "ask address:lee@example.org: not asked: email:lee@example.org is a subject of the case")
		if a := p.question("ask").Asks("lee@example.org"); a == nil || !a.Failed || !a.Subject || a.Intent != "" {
			t.Errorf("%+v", a)
		}
		p.plan().want(t)
	})
}

func TestReader(t *testing.T) {
	s := &Settings{Users: []User{
		{Name: "kim", Mail: []string{"kim@example.org", "netsec@example.org"}, Team: "netsec", Accounts: []string{`account:ACME\kim-adm`}},
		{Name: "lee", Mail: []string{"lee@example.org", "netsec@example.org"}, Team: "soc"},
		{Name: "pat", Mail: []string{"p.smith@example.org"}, Accounts: []string{"email:pat@partner.example"}},
	}}
	of := func(kind, value string) expr.Value {
		return expr.From(map[string]any{"subjects": []any{map[string]any{"kind": kind, "value": value}}})
	}
	identity := func(subject bool) expr.Value {
		return expr.From(map[string]any{"identities": []any{map[string]any{
			"subject": subject, "about": "user:u17", "mail": "pat@partner.example", "upn": "u17@example.org", "groups": []any{"it@example.org"},
		}}})
	}
	for _, c := range []struct {
		value expr.Value
		who   string
		want  bool
	}{
		{of("user", "kim"), "kim", true},
		{of("user", "kim"), "kim@example.org", true},
		{of("user", "kim"), "KIM+x@Example.Org", true},
		{of("user", "kim"), "Kim <kim@example.org>", true},
		{of("user", "kim"), "mailto:kim@example.org", true},
		{of("email", "eve@xn--exmple-cua.org"), "Eve+x@Exämple.org", true}, // one domain, written in two ways
		{of("email", "eve@xn--exmple-cua.org"), "eve@xn--EXMPLE-cua.org.", true},
		{of("user", "kim"), "netsec@example.org", true}, // kim reads it
		{of("user", "kim"), "lee@example.org", false},
		{of("user", "kim"), "lee", false},
		{of("user", "kim"), "soc@example.org", false},
		{of("account", `ACME\kim-adm`), "kim", true},
		{of("account", `ACME\kim-adm`), "kim@example.org", true},
		{of("account", `ACME\kim-adm`), "netsec@example.org", true},
		{of("email", "netsec@example.org"), "netsec@example.org", true},
		{of("email", "netsec@example.org"), "kim@example.org", false}, // it is of several
		{of("email", "lee@example.org"), "soc@example.org", true},     // the mailbox of lee's team
		{of("host", "kim"), "kim@example.org", false},
		{of("user", "stranger"), "stranger", true},
		{of("user", `acme\stranger`), "stranger@example.org", true},
		{identity(true), "p.smith@example.org", true},
		{identity(true), "pat", true},
		{identity(true), "u17@example.org", true},
		{identity(true), "IT@example.org", true},
		{identity(false), "pat", false},
		{expr.From(map[string]any{}), "kim", false},
		{of("user", ""), "", false},
	} {
		if why, got := Reader(s, c.value, c.who); got != c.want || got != (why != "") {
			t.Errorf("%s of %s = %t %q, want %t", c.who, c.value.String(), got, why, c.want)
		}
	}
}

func TestMayBeOne(t *testing.T) {
	s := &Settings{Users: []User{
		{Name: "kim", Mail: []string{"kim@example.org", "netsec@example.org"}},
		{Name: "lee", Mail: []string{"lee@example.org", "netsec@example.org"}},
		{Name: "pat", Mail: []string{"pat@example.org"}},
	}}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"kim", "kim", true},
		{"kim", "Kim@example.org", true},
		{"kim", "netsec+x@example.org", true},
		{"netsec@example.org", "lee", true},
		{"kim", "lee", false},
		{"netsec@example.org", "pat", false},
		{"eve@example.net", "eve+2@example.net", true},
		{"eve@example.net", "joe@example.net", false},
	} {
		if got := s.MayBeOne(c.a, c.b); got != c.want || s.MayBeOne(c.b, c.a) != c.want {
			t.Errorf("%s and %s may be one: %t, want %t", c.a, c.b, got, c.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	after := tell()
	after.Name, after.Needs = "after", []string{"isolate"}
	s := settings(after, isolate()) // in whatever order they are written
	for state, want := range map[model.IntentState][]string{
		model.IntentDone: {"after kim@example.org"}, model.IntentAlready: {"after kim@example.org"},
		model.IntentFailed:  {"after: not taken: it needs step.isolate, which is failed"},
		model.IntentRefused: {"after: not taken: it needs step.isolate, which is refused"},
		model.IntentUnknown: {"after: not taken: it needs step.isolate, which is unknown"},
	} {
		p := play(s, oneHost()).plan().want(t, "isolate ws-1")
		p.plan().want(t).ends("isolate", state).plan().want(t, want...)
	}
	none := play(s, testCase(map[string]any{"hosts": []any{}})).plan()
	none.want(t, "isolate: the case has no host for it", "after: not taken: it needs step.isolate, of which nothing was done")

	// A chain waits to its end.
	first, second, third := isolate(), tell(), tell()
	second.Name, second.When = "second", program(`step.isolate.result == "done"`)
	third.Name, third.When = "third", program(`step.second.result != "done"`)
	p := play(settings(first, second, third), oneHost()).plan().want(t, "isolate ws-1").plan().want(t)
	p.ends("isolate", model.IntentDone).plan().want(t, "second kim@example.org")
	p.ends("second", model.IntentFailed).plan().want(t, "third kim@example.org")
}

func TestOnFailure(t *testing.T) {
	contain, told := isolate(), tell()
	contain.OnFailure = []string{"tell"}
	for state, want := range map[model.IntentState][]string{
		model.IntentDone: nil, model.IntentAlready: nil, model.IntentUndone: nil,
		model.IntentFailed: {"tell kim@example.org"}, model.IntentRefused: {"tell kim@example.org"}, model.IntentUnknown: {"tell kim@example.org"},
	} {
		p := play(settings(told, contain), oneHost()).plan().want(t, "isolate ws-1").plan().want(t)
		p.ends("isolate", state).plan().want(t, want...)
		if len(want) > 0 && !strings.HasSuffix(p.last.Intents[0].Because, "; step.isolate is "+string(state)) {
			t.Errorf("because %q", p.last.Intents[0].Because)
		}
	}
	t.Run("its own condition too", func(t *testing.T) {
		told.When = program("case.title == \"it\"")
		play(settings(told, contain), oneHost()).plan().want(t, "isolate ws-1", "tell kim@example.org")
	})
}

func TestParallel(t *testing.T) {
	contain, after := isolate(), tell()
	contain.Parallel = 2
	after.Needs = []string{"isolate"}
	c := testCase(map[string]any{"hosts": []any{"ws-1", "ws-2", "dc-1"}})
	p := play(settings(contain, after), c).plan().
		want(t, "isolate ws-1", "isolate ws-2", "isolate host:dc-1: waits for its turn: 2 at a time")
	p.plan().want(t, "isolate host:dc-1: waits for its turn: 2 at a time")
	p.c.Intents[0].State = model.IntentFailed
	p.plan().want(t, "isolate dc-1")
	p.ends("isolate", model.IntentDone).plan().want(t, "tell: not taken: it needs step.isolate, which is failed")
}

func TestTexts(t *testing.T) {
	steps := asking()
	steps[0].Text = Text{Subject: program(`"${case.title} on ${target.value}"`), Asked: program(`"Is it yours, ${case.nobody}?"`)}
	p := play(settings(steps...), oneHost()).plan()
	if text := string(p.last.Intents[0].Parameters); !strings.Contains(text, `"asked":"Is it yours, unknown?"`) {
		t.Error(text)
	}
	steps[0].Text = Text{}
	p = play(settings(steps...), oneHost()).plan()
	if text := string(p.last.Intents[0].Parameters); !strings.Contains(text, `"asked":"Say what is to be done about it."`) {
		t.Error(text)
	}
}

func TestUsersAreAddressed(t *testing.T) {
	s := settings(Step{Name: "tell", Verb: "notify", To: program(`["kim", "nobody", "kim@example.org", "lee"]`)})
	s.Users = []User{{Name: "kim", Mail: []string{"kim@example.org"}}, {Name: "nobody"}, {Name: "lee", Mail: []string{"l@example.org", "x@example.org"}}}
	play(s, oneHost()).plan().want(t, "tell kim@example.org", "tell l@example.org")
}

func TestRoles(t *testing.T) {
	u := User{Roles: []string{"approver"}}
	var has []string
	for _, role := range append(Roles(), "boss", "") {
		if u.Has(role) {
			has = append(has, role)
		}
	}
	if want := []string{"viewer", "responder", "approver"}; !slices.Equal(has, want) {
		t.Error(has)
	}
	if (&User{}).Has("viewer") {
		t.Error("who has no role has one")
	}
}
