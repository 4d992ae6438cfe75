package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func compile(text string, strict bool) *expr.Program {
	e, diags := hclsyntax.ParseExpression([]byte(text), "plan.hcl", hcl.InitialPos)
	if !diags.HasErrors() {
		var p *expr.Program
		p, diags = expr.Compile(e, expr.Env{Strict: strict, Roots: map[string]*expr.Shape{"case": nil, "target": nil, "step": nil}})
		if !diags.HasErrors() {
			return p
		}
	}
	panic(diags.Error())
}

func program(text string) *expr.Program { return compile(text, false) }

// known says what is known of targets: those in earned are earned, with an asset
// that has these roles; "?" has no asset.
type known map[string]string

func (k known) Earned(_ string, t model.Target) (bool, string) {
	if _, ok := k[t.Kind+":"+t.Value]; ok {
		return true, ""
	}
	return false, "no detector reported it"
}

func (k known) Target(t model.Target) expr.Value {
	fields := map[string]any{"kind": t.Kind, "value": t.Value}
	if roles, ok := k[t.Kind+":"+t.Value]; ok && roles != "?" {
		asset := map[string]any{"name": t.Value}
		if roles != "" {
			asset["roles"] = strings.Fields(roles)
		}
		fields["asset"] = asset
	}
	return expr.From(fields)
}

func (known) Notice(own sdk.Notice) json.RawMessage {
	text, err := json.Marshal(map[string]any{"because": own.Because, "dry_run": own.DryRun, "asked": own.Asked})
	if err != nil {
		panic(err)
	}
	return text
}

// settings is a configuration with one response, which a test changes.
func settings(steps ...Step) Settings {
	return Settings{
		Mode:      On,
		Responses: []Response{{Address: "response.r", When: program("case.score.total >= 60"), Steps: steps}},
		Routes: []Route{
			{Address: "route.owner", To: program("[case.assets.owner, case.deputy]"), Otherwise: "soc@example.org"},
			{Address: "route.nobody", To: program("null")},
		},
		Rules: map[string][]string{"rule.a": {"response.r"}, "rule.b": nil},
	}
}

func isolate() Step {
	return Step{
		Name: "isolate", Action: "action.edr", Verb: "isolate_host", Targets: program("case.hosts"), TargetKinds: []string{"host"},
		Contains: true,
	}
}

func tell() Step {
	return Step{Name: "tell", Action: "action.mail", Verb: "notify", Route: "route.owner", TargetKinds: []string{AddressKind}}
}

func testCase(fields map[string]any) Case {
	all := map[string]any{
		"score": map[string]any{"total": 80}, "hosts": []any{"ws-1", "ws-2"}, "title": "it",
		"assets": []any{map[string]any{"owner": "kim@example.org"}, map[string]any{}},
	}
	for name, value := range fields {
		all[name] = value
	}
	return Case{
		FirstID: "c-1", Rules: []string{"rule.a"}, Value: expr.From(all),
		Facts: known{"host:ws-1": "workstation", "host:ws-2": "workstation", "host:dc-1": "domain_controller"},
	}
}

// planned shows a plan as "step target" and "step target: why".
func planned(p Plan) []string {
	var all []string
	for _, in := range p.Intents {
		dry := ""
		if in.DryRun {
			dry = " (dry run)"
		}
		all = append(all, in.Step+" "+in.Target.Kind+":"+in.Target.Value+dry)
	}
	for _, n := range p.Notes {
		all = append(all, strings.TrimSpace(n.Step+" "+n.Target)+": "+n.Why)
	}
	return all
}

func TestPlan(t *testing.T) {
	none := func(string) int { return 0 }
	for name, c := range map[string]struct {
		settings Settings
		c        Case
		recent   func(string) int
		want     []string
	}{
		"a step for each target": {
			settings: settings(isolate(), tell()), c: testCase(nil),
			want: []string{"isolate host:ws-1", "isolate host:ws-2", "tell address:kim@example.org"},
		},
		"the condition is false": {
			settings: settings(isolate()), c: testCase(map[string]any{"score": map[string]any{"total": 59}}),
		},
		"the condition is null": {settings: settings(isolate()), c: testCase(map[string]any{"score": nil})},
		"no rule asks for it": {
			settings: settings(isolate()), c: func() Case { c := testCase(nil); c.Rules = []string{"rule.b", "rule.x"}; return c }(),
		},
		"dry run": {
			settings: func() Settings { s := settings(isolate()); s.Mode = DryRun; return s }(), c: testCase(map[string]any{"hosts": "ws-1"}),
			want: []string{"isolate host:ws-1 (dry run)"},
		},
		"off": {
			settings: func() Settings { s := settings(isolate()); s.Mode = Off; return s }(), c: testCase(nil),
			want: []string{`: actions are "off": nothing is planned`},
		},
		"a mode that nobody set is off": {
			settings: func() Settings { s := settings(isolate()); s.Mode = ""; return s }(), c: testCase(nil),
			want: []string{`: actions are "off": nothing is planned`},
		},
		"a step's own condition": {
			settings: func() Settings {
				s := isolate()
				s.When = program("case.title == \"other\"")
				return settings(s)
			}(),
			c: testCase(nil),
		},
		"targets that are none": {
			settings: settings(isolate()), c: testCase(map[string]any{"hosts": []any{nil, "ws-1", []any{"WS-1.", "ws-2"}, "-", 7, map[string]any{"kind": "ip", "value": "10.0.0.1"}}}),
			want: []string{"isolate host:ws-1", "isolate host:ws-2", `isolate: no host: -, 7, {"kind":"ip","value":"10.0.0.1"}`},
		},
		"no targets": {
			settings: settings(isolate()), c: testCase(map[string]any{"hosts": []any{}}),
			want: []string{"isolate: the case has no host for it"},
		},
		"a target that is not earned": {
			settings: settings(isolate()), c: testCase(map[string]any{"hosts": []any{"ws-9", "ws-1"}}),
			want: []string{"isolate host:ws-1", "isolate host:ws-9: not done: no detector reported it"},
		},
		"nobody has to earn a notice": {
			settings: settings(Step{Name: "tell", Verb: "notify", To: program(`["a@example.org", null, "", "a@example.org", ["b@example.org"]]`)}),
			c:        testCase(nil), want: []string{"tell address:a@example.org", "tell address:b@example.org"},
		},
		"a route's otherwise": {
			settings: settings(tell()), c: testCase(map[string]any{"assets": []any{map[string]any{}}}),
			want: []string{"tell address:soc@example.org"},
		},
		"a route that finds nobody": {
			settings: func() Settings { s := tell(); s.Route = "route.nobody"; return settings(s) }(), c: testCase(nil),
			want: []string{"tell: the route finds nobody"},
		},
		"a step without targets is about the case": {
			settings: settings(Step{Name: "file", Verb: "ticket"}), c: testCase(nil), want: []string{"file case:c-1"},
		},
		"pending": {
			settings: settings(isolate(), tell()),
			c:        func() Case { c := testCase(nil); c.Pending = Pending{"the answer of x", 3}; return c }(),
			want:     []string{": waits for the answer of x and 2 more"},
		},
		"pending matters only to who reads answers": {
			settings: func() Settings {
				s := settings(Step{Name: "tell", Verb: "notify", To: program(`"a@example.org"`)})
				s.Responses[0].When = program("case.title == \"it\"")
				return s
			}(),
			c:    func() Case { c := testCase(nil); c.Pending = Pending{"the answer of x", 1}; return c }(),
			want: []string{"tell address:a@example.org"},
		},
		"a limit": {
			settings: func() Settings { s := settings(isolate()); s.Limits = []Limit{{"isolate_host", 3}}; return s }(),
			c:        testCase(nil), recent: func(string) int { return 2 },
			want: []string{"isolate host:ws-1", "isolate host:ws-2: the limit of 3 isolate_host per hour is reached"},
		},
		"a limit of nothing": {
			settings: func() Settings { s := settings(isolate()); s.Limits = []Limit{{"isolate_host", 0}}; return s }(),
			c:        testCase(map[string]any{"hosts": "ws-1"}),
			want:     []string{"isolate host:ws-1: the limit of 0 isolate_host per hour is reached"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.recent == nil {
				c.recent = none
			}
			p := New(c.settings).Plan(c.c, now, c.recent)
			if diff := cmp.Diff(c.want, planned(p)); diff != "" {
				t.Error(diff)
			}
			if limited := strings.Contains(fmt.Sprint(c.want), "limit"); p.Limited != limited {
				t.Errorf("Limited = %t", p.Limited)
			}
		})
	}
}

// TestProtect: what cannot be said to be unprotected is protected.
func TestProtect(t *testing.T) {
	role := compile(`contains(target.asset.roles, "domain_controller")`, true)
	for name, c := range map[string]struct {
		protect Protect
		step    Step
		host    string
		want    string
	}{
		"another":                            {Protect{Name: "dc", When: role}, isolate(), "ws-1", "isolate host:ws-1"},
		"it":                                 {Protect{Name: "dc", When: role}, isolate(), "dc-1", `isolate host:dc-1: protected by "dc"`},
		"no asset":                           {Protect{Name: "dc", When: role}, isolate(), "ws-3", `isolate host:ws-3: protected by "dc"`},
		"roles unknown":                      {Protect{Name: "dc", When: role}, isolate(), "ws-4", `isolate host:ws-4: protected by "dc"`},
		"its verb":                           {Protect{Name: "dc", Verbs: []string{"isolate_host"}, When: role}, isolate(), "dc-1", `isolate host:dc-1: protected by "dc"`},
		"another verb":                       {Protect{Name: "dc", Verbs: []string{"close_port"}, When: role}, isolate(), "dc-1", "isolate host:dc-1"},
		"!= with null":                       {Protect{Name: "x", When: compile(`target.asset.owner != "kim"`, true)}, isolate(), "ws-1", `isolate host:ws-1: protected by "x"`},
		"no condition":                       {Protect{Name: "all"}, isolate(), "ws-1", `isolate host:ws-1: protected by "all"`},
		"no condition at all that is a bool": {Protect{Name: "odd", When: compile(`target.value`, true)}, isolate(), "ws-1", `isolate host:ws-1: protected by "odd"`},
		"too much work": {
			Protect{Name: "slow", When: compile(`length([for a in case.many : [for b in case.many : a == b]]) == 0`, true)},
			isolate(), "ws-1", `isolate host:ws-1: protected by "slow"`,
		},
		"what does not contain": {
			Protect{Name: "all"},
			Step{Name: "look", Verb: "collect", Targets: program("case.hosts"), TargetKinds: []string{"host"}},
			"ws-1", "look host:ws-1",
		},
		"what does not contain, by name": {
			Protect{Name: "all", Verbs: []string{"collect"}},
			Step{Name: "look", Verb: "collect", Targets: program("case.hosts"), TargetKinds: []string{"host"}},
			"ws-1", `look host:ws-1: protected by "all"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(c.step)
			s.Protects = []Protect{{Name: "never", Verbs: []string{"isolate_host"}, When: compile("false", true)}, c.protect}
			k := testCase(map[string]any{"hosts": c.host, "many": make([]any, 60_000)})
			k.Facts = known{"host:ws-1": "workstation", "host:dc-1": "domain_controller", "host:ws-3": "?", "host:ws-4": ""}
			got := planned(New(s).Plan(k, now, func(string) int { return 0 }))
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOnce: what was planned is not planned again, whatever became of it.
func TestOnce(t *testing.T) {
	p := New(settings(isolate()))
	c := testCase(map[string]any{"hosts": "ws-1"})
	first := p.Plan(c, now, func(string) int { return 0 })
	in := first.Intents[0]
	if in.ID != model.IntentID("c-1", "response.r", "isolate", "isolate_host", in.Target, 0) {
		t.Errorf("id = %s", in.ID)
	}
	c.FirstID = "c-2" // after a merge its own intents would have other ids
	for _, state := range []model.IntentState{
		model.IntentPending, model.IntentDone, model.IntentAlready, model.IntentRefused, model.IntentFailed, model.IntentUnknown,
	} {
		in.State = state
		c.Intents = []model.Intent{in}
		c.ChangedAt = now.Add(time.Hour)
		if again := p.Plan(c, now.Add(time.Hour), func(string) int { return 0 }); len(again.Intents) != 0 {
			t.Errorf("%s: planned again", state)
		}
	}
	in.DryRun = true
	c.Intents = []model.Intent{in}
	if again := planned(p.Plan(c, now, func(string) int { return 0 })); len(again) != 1 || !strings.Contains(again[0], "planned as a dry run") {
		t.Errorf("after a dry run: %v", again)
	}
	in.DryRun = false
	in.State, in.FinishedAt = model.IntentUndone, now.Add(time.Hour)
	c.Intents = []model.Intent{in}
	if again := p.Plan(c, now.Add(2*time.Hour), func(string) int { return 0 }); len(again.Intents) != 0 {
		t.Error("undone, and nothing new: planned again")
	}
	c.ChangedAt = now.Add(90 * time.Minute)
	again := p.Plan(c, now.Add(2*time.Hour), func(string) int { return 0 })
	if len(again.Intents) != 1 || again.Intents[0].Round != 1 || again.Intents[0].ID == in.ID {
		t.Errorf("undone, and then a new signal: %+v", again.Intents)
	}
}

// TestSteps: a step that reads another's result waits for it.
func TestSteps(t *testing.T) {
	after := Step{
		Name: "after", Verb: "notify", When: program(`step.isolate.result == "failed" || step.isolate.result == "unknown"`),
		To: program(`"soc@example.org"`),
	}
	p := New(settings(isolate(), after))
	c := testCase(nil)
	none := func(string) int { return 0 }
	c.Intents = p.Plan(c, now, none).Intents
	if len(c.Intents) != 2 {
		t.Fatalf("planned %v", c.Intents)
	}
	for _, s := range []struct {
		one, two model.IntentState
		want     int
	}{
		{model.IntentPending, model.IntentFailed, 0},
		{model.IntentDone, model.IntentDone, 0},
		{model.IntentDone, model.IntentAlready, 0},
		{model.IntentDone, model.IntentFailed, 1},
		{model.IntentUnknown, model.IntentDone, 1},
		{model.IntentRefused, model.IntentDone, 0},
	} {
		c.Intents[0].State, c.Intents[1].State = s.one, s.two
		if got := p.Plan(c, now, none); len(got.Intents) != s.want {
			t.Errorf("%s and %s: %d planned, want %d", s.one, s.two, len(got.Intents), s.want)
		}
	}

	// Nothing was planned, so there is no result to wait for.
	c = testCase(map[string]any{"hosts": []any{}})
	if got := p.Plan(c, now, none); len(got.Intents) != 0 {
		t.Errorf("planned %v", got.Intents)
	}
}

func TestParameters(t *testing.T) {
	s := isolate()
	s.Notice = true
	s.Because = program(`"${case.title} on ${target.value}"`)
	s.Parameters = map[string]*expr.Program{
		"reason": program(`"${case.title}: ${target.asset.name}"`), "nothing": program("case.nothing"),
		"list": program("[1, 0.10, true]"),
	}
	got := New(settings(s)).Plan(testCase(map[string]any{"hosts": "ws-1"}), now, func(string) int { return 0 }).Intents[0]
	want := `{"list":[1,0.1,true],"notice":{"asked":"","because":"it on ws-1","dry_run":false},"reason":"it: ws-1"}`
	if string(got.Parameters) != want || got.Because != "it on ws-1" {
		t.Errorf("because %q, parameters %s", got.Because, got.Parameters)
	}
	if known := string(got.Target.Known); known != `{"asset":{"name":"ws-1","roles":["workstation"]}}` {
		t.Errorf("known = %s", known)
	}
}

func TestNotesAreBounded(t *testing.T) {
	var hosts []any
	for i := range 200 {
		hosts = append(hosts, fmt.Sprintf("other-%d", i))
	}
	p := New(settings(isolate())).Plan(testCase(map[string]any{"hosts": hosts}), now, func(string) int { return 0 })
	if n := len(p.Notes); n != maxNotes+1 || p.Notes[maxNotes].Why != "and 150 more" {
		t.Errorf("%d notes, the last %+v", n, p.Notes[n-1])
	}
}
