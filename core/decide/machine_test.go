package decide

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/sdk"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func minutes(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// program compiles an expression over the shapes that the package declares.
func program(text string, strict bool) *expr.Program {
	return compiled(text, expr.Env{Strict: strict, Roots: map[string]*expr.Shape{
		"case": CaseShape(), "target": TargetShape(), "each": nil, "step": nil,
	}})
}

func compiled(text string, env expr.Env) *expr.Program {
	e, diags := hclsyntax.ParseExpression([]byte(text), "test.hcl", hcl.InitialPos)
	if !diags.HasErrors() {
		var p *expr.Program
		p, diags = expr.Compile(e, env)
		if !diags.HasErrors() {
			return p
		}
	}
	panic(fmt.Sprintf("%s: %v", text, diags))
}

func expression(text string) *expr.Program { return program(text, false) }

// testSettings is a configuration with everything that a machine decides by.
func testSettings() *Settings {
	return &Settings{
		Plainly:   map[string]string{"pipeline.ids": "Something calls out."},
		Correlate: correlate.Settings{Window: time.Hour, Lateness: 48 * time.Hour, Lease: time.Hour, NeverJoin: []sdk.Observable{{Kind: sdk.IP, Value: "10.0.0.1"}}},
		Score: score.Settings{Factors: []score.Factor{
			{Name: "threat", Weight: "0.8", Combine: score.Max, Evidence: []score.Evidence{
				{
					Name: "verdicts", ForEach: expression("case.verdicts"),
					Points:  expression("each.value.score * each.value.confidence / 100"),
					Because: expression(`"${each.value.source} calls ${each.value.observable} ${each.value.disposition}"`),
				},
				{Name: "detector", Points: expression("case.severity"), Because: expression(`"reported at ${case.severity}"`)},
			}},
			{Name: "machine", Weight: "0.2", Combine: score.Max, Evidence: []score.Evidence{
				{
					Name: "criticality", ForEach: expression("case.assets"), Points: expression("each.value.criticality"),
					Because: expression(`"${each.value.name} is rated ${each.value.criticality}"`),
				},
			}},
		}},
		Plan: plan.Settings{
			Mode: plan.On,
			Responses: []plan.Response{
				{Address: "response.tell", When: expression("case.score.total >= 20"), Steps: []plan.Step{
					{Name: "mail", Action: "action.mail", Verb: "notify", Route: "route.owner", TargetKinds: []string{"address"}, Notice: true},
				}},
				{Address: "response.contain", When: expression("case.score.total >= 60 && case.stopped != true"), Steps: []plan.Step{
					{
						Name: "isolate", Action: "action.edr", Verb: "isolate_host", Targets: expression("case.hosts"),
						TargetKinds: []string{"host"}, Contains: true,
					},
					{
						Name: "hook", Action: "action.hook", Verb: "notify", When: expression(`step.isolate.result == "done"`),
						To: expression(`["https://hook.example"]`), TargetKinds: []string{"address"},
						Parameters: map[string]*expr.Program{"text": expression(`"${case.title} of ${case.size}"`)},
					},
				}},
			},
			Routes: []plan.Route{{Address: "route.owner", To: expression("[case.assets.owner]"), Otherwise: "soc@example.org"}},
			Protects: []plan.Protect{{
				Name: "domain controllers", Verbs: []string{"isolate_host"},
				When: program(`contains(target.asset.roles, "domain_controller")`, true),
			}},
			Limits: []plan.Limit{{Verb: "isolate_host", PerHour: 2}},
			Rules:  map[string][]string{"pipeline.ids": {"response.tell", "response.contain"}},
		},
		Sources: []Source{
			{Address: "enrichment.assets", Takes: []string{sdk.IP, sdk.Host}, Internal: true},
			{Address: "enrichment.reputation", Takes: []string{sdk.IP, sdk.Domain, sdk.URL}},
		},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Domains:  []string{"example.org"},
	}
}

// testCompiler knows the configuration "base" and some that differ from it.
func testCompiler(c model.Config) (*Settings, error) {
	s := testSettings()
	for change := range strings.FieldsSeq(strings.Trim(string(c.Text), `"`)) {
		switch change {
		case "base":
		case "narrow":
			s.Correlate.Window = 2 * time.Minute
		case "dry":
			s.Plan.Mode = plan.DryRun
		case "off":
			s.Plan.Mode = plan.Off
		case "quiet":
			s.Plan.Responses = nil
		case "held": // what isolates can be undone
			s.Plan.Responses[1].Steps[0].Holds, s.Plan.Responses[1].Steps[0].UndoAfter = true, time.Hour
		case "graded": // who comes again is held for longer, and the third time for ever
			s.Plan.Responses[1].Steps[0].Holds = true
			s.Plan.Responses[1].Steps[0].UndoBy = expression(`length(case.history) > 3 ? "forever" : length(case.history) > 0 ? "24h" : "1h"`)
		case "heard": // by who was told of the case
			s.Plan.Stuck.Every = time.Hour
		case "told": // what can't be let go is told, and tried again
			s.Plan.Stuck = plan.Stuck{Via: "action.mail", To: []string{"soc@example.org"}, Every: time.Hour, Notice: true}
		case "kept": // and is held until a person lets it go
			s.Plan.Responses[1].Steps[0].Holds = true
		case "two": // inventories, and who people are
			s.Sources = append(s.Sources[:1],
				Source{Address: "enrichment.leases", Takes: []string{sdk.IP, sdk.MAC}, Internal: true},
				Source{Address: "enrichment.people", Takes: []string{sdk.User, sdk.Account}, Internal: true})
		case "asks": // what isolates waits for people
			ask(s)
		case "approves": // or is approved by them
			approve(s)
		case "anyone": // may approve who is asked, of whom some read a mailbox together
			a := s.Plan.Responses[1].Steps[0].Approval
			a.To, a.Role = expression(`["ann", "lee", "soc@example.org"]`), ""
			for i := range s.Plan.Users[1:3] {
				s.Plan.Users[i+1].Mail = append(s.Plan.Users[i+1].Mail, "soc@example.org")
			}
		case "routed": // and found by a route
			s.Plan.Responses[1].Steps[0].Approval = &plan.Approval{
				Route: "route.asked", Via: "action.mail", People: 1, Wait: 30 * time.Minute, Otherwise: model.OptionRefuse,
			}
		case "tells": // of the case too
			s.Plan.Rules["pipeline.ids"] = []string{"response.tell", "response.contain"}
		case "together": // who is asked is asked of several cases at once
			s.Plan.Routes[1].Gather = 10 * time.Second
		case "fido":
			s.Plan.Repeat = plan.RepeatOf("fido")
		case "capped":
			s.Correlate.Most = 3
		case "gather":
			s.Plan.Routes[0].Gather = 10 * time.Second
		case "digest":
			s.Plan.Routes[0].Digest = &plan.Digest{Below: 40_00, Every: 24 * time.Hour}
		case "nightly": // an hour from noon
			s.Plan.Routes[0].Quiet = []plan.Quiet{{From: 12 * time.Hour, To: 13 * time.Hour, Zone: time.UTC, Below: 60_00}}
		case "oncall":
			s.Schedules = []string{"schedule.netsec"}
		case "few":
			s.Plan.Limits = append(s.Plan.Limits, plan.Limit{Verb: "notify", PerHour: 1})
		case "blind":
			s.Sources = s.Sources[:1]
		default:
			return nil, fmt.Errorf("no configuration %q", change)
		}
	}
	return s, nil
}

// feed gives a machine its inputs one after the other.
type feed struct {
	t   testing.TB
	m   *Machine
	now time.Time
	// events is the last sequence of EVENTS.
	events uint64
	tables *tables
}

func newFeed(t testing.TB) *feed {
	f := &feed{t: t, m: New(testCompiler), now: start, tables: newTables()}
	f.config("base", false)
	return f
}

func (f *feed) apply(in model.Input) Changes {
	f.t.Helper()
	in.At = f.now
	if err := f.m.Apply(f.m.Position().Seq+1, 0, in); err != nil {
		f.t.Fatal(err)
	}
	c := f.m.Changes()
	f.tables.commit(c)
	return c
}

func (f *feed) config(text string, once bool) Changes {
	f.t.Helper()
	return f.apply(model.Input{Config: &model.Config{Hash: "hash of " + text, Text: []byte(`"` + text + `"`), Once: once}})
}

func (f *feed) signals(signals ...model.Signal) Changes {
	f.t.Helper()
	f.events++
	for i := range signals {
		if signals[i].Position == (model.Position{}) {
			signals[i].Position = model.Position{Seq: f.events, Index: i}
		}
	}
	return f.apply(model.Input{Match: &model.MatchResult{
		Seq: f.events, Source: "detector.ids", Total: f.events, Count: 1, Counts: model.Counts{Matched: 1}, Signals: signals,
	}})
}

// answer answers the pending ask of an enrichment about an observable.
func (f *feed) answer(source, key string, r model.Reply) Changes {
	f.t.Helper()
	for id, l := range f.m.asks {
		if l.pending() && l.src.Address == source && f.m.index.Key(l.value) == key {
			r.Ask = id
			if r.AnsweredAt.IsZero() {
				r.AnsweredAt = f.now
			}
			if r.Expires.IsZero() {
				r.Expires = f.now.Add(24 * time.Hour)
			}
			return f.apply(model.Input{Reply: &r})
		}
	}
	f.t.Fatalf("%s was not asked about %s", source, key)
	return Changes{}
}

// settle answers all that is pending with "has nothing".
func (f *feed) settle() {
	f.t.Helper()
	for {
		var next *lookup
		for _, l := range f.m.asks {
			if l.pending() && (next == nil || l.ask < next.ask) {
				next = l
			}
		}
		if next == nil {
			return
		}
		f.answer(next.src.Address, f.m.index.Key(next.value), model.Reply{State: model.Unknown})
	}
}

func sig(id string, at time.Time, severity int, observables ...string) model.Signal {
	s := model.Signal{
		ID: id, Rule: "pipeline.ids", Source: "detector.ids", EventID: id, Revision: "1",
		Time: at, Title: "title of " + id, Severity: severity, Raw: []byte(`{"id":"` + id + `"}`),
	}
	for _, text := range observables {
		role, key, ok := strings.Cut(text, " ")
		if !ok {
			role, key = "", text
		}
		kind, value, _ := strings.Cut(key, ":")
		s.Observables = append(s.Observables, sdk.Observable{Kind: kind, Value: value, Role: sdk.Role(role)})
	}
	return s
}

func asset(a model.Asset) model.Reply {
	return model.Reply{State: model.Known, Answers: []model.Answer{{Asset: &a}}}
}

func verdict(score, confidence int) model.Reply {
	return model.Reply{State: model.Known, Answers: []model.Answer{{Verdict: &model.Verdict{
		Disposition: sdk.Malicious, Score: score, Confidence: confidence,
	}}}}
}
