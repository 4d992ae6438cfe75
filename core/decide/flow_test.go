package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func workstation(name string) model.Reply {
	return asset(model.Asset{Name: name, Owner: "kim@example.org", Roles: []string{"workstation"}, Criticality: ptr(70)})
}

// intent finds the one intent of a step.
func (f *feed) intent(step string) model.Intent {
	f.t.Helper()
	var found []model.Intent
	for _, in := range f.tables.intents {
		if in.Step == step {
			found = append(found, in)
		}
	}
	if len(found) != 1 {
		f.t.Fatalf("%d intents of step %s: %v", len(found), step, f.tables.planned())
	}
	return found[0]
}

func (f *feed) outcome(in model.Intent, state model.IntentState) {
	f.t.Helper()
	f.apply(model.Input{Outcome: &model.Outcome{Intent: in.ID, State: state, Attempts: 1, Message: "as told"}})
}

func (f *feed) want(planned ...string) {
	f.t.Helper()
	if diff := cmp.Diff(planned, f.tables.planned()); diff != "" {
		f.t.Error(diff)
	}
}

// notes of all open cases.
func (f *feed) notes() []string {
	var all []string
	for _, k := range f.tables.open() {
		for _, n := range k.Notes {
			all = append(all, strings.TrimSpace(n.Step+" "+n.Target)+": "+n.Why)
		}
	}
	return all
}

// TestAlertToActions follows one alert: asked about, scored, told and acted on.
func TestAlertToActions(t *testing.T) {
	f := newFeed(t)
	c := f.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3", "indicator domain:bad.example"))
	if got := fmt.Sprint(len(c.Signals), len(c.Cases), len(c.Members), len(c.Asks), len(c.Intents)); got != "1 1 1 2 0" {
		t.Fatalf("signals, cases, members, asks, intents = %s", got)
	}
	if got := c.Cases[0].Notes; len(got) != 2 || got[0].Why != "waits for the answer of enrichment.reputation about domain:bad.example and 1 more" {
		t.Fatalf("notes = %+v", got)
	}
	f.answer("enrichment.assets", "ip:10.1.2.3", workstation("ws-17"))
	f.want()
	c = f.answer("enrichment.reputation", "domain:bad.example", verdict(90, 90))

	k := c.Cases[0]
	if k.Score.Total != 6480+1400 || k.Score.Upper != k.Score.Total || len(k.Notes) != 0 {
		t.Errorf("score %d, upper %d, notes %+v", k.Score.Total, k.Score.Upper, k.Notes)
	}
	if got := fmt.Sprint(k.Subjects, k.Reported); got != "[{ip 10.1.2.3 subject} {host ws-17 subject}] 1" {
		t.Errorf("subjects = %s", got)
	}
	f.want("isolate ws-17 pending", "mail kim@example.org pending")
	f.outcome(f.intent("isolate"), model.IntentDone)
	f.want("hook https://hook.example pending", "isolate ws-17 done", "mail kim@example.org pending")

	n, err := sdk.ParseNotice(noticeOf(t, f.intent("mail")))
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Notice{
		Case: k.ID, Title: "title of s-1", Severity: 50, FirstAt: minutes(0), LastAt: minutes(0), OpenedAt: start,
		Because: "tell: the score is 78.8 of 100", Thread: k.FirstID, Plainly: "Something calls out.",
		Score: sdk.NoticeScore{Total: 78.8, Upper: 78.8, Factors: []sdk.NoticeFactor{
			{Label: "threat", Points: 81, Weight: "0.8", Combine: "max", Share: 64.8, Lines: []sdk.NoticeLine{
				{Label: "verdicts", Points: 81, Counted: 81, Because: "enrichment.reputation calls bad.example malicious", Source: "enrichment.reputation", About: "domain:bad.example", At: start, Reliability: ptr(90)},
				{Label: "detector", Points: 50, Because: "reported at 50"},
			}},
			{Label: "machine", Points: 70, Weight: "0.2", Combine: "max", Share: 14, Lines: []sdk.NoticeLine{
				{Label: "criticality", Points: 70, Counted: 70, Because: "ws-17 is rated 70", Source: "enrichment.assets", About: "ip:10.1.2.3", At: start},
			}},
		}},
		Subjects:   []sdk.NoticeObservable{{Kind: "host", Value: "ws-17"}, {Kind: "ip", Value: "10.1.2.3"}},
		Indicators: []sdk.NoticeObservable{{Kind: "domain", Value: "bad.example"}},
		Assets: []sdk.NoticeAsset{{
			Name: "ws-17", Owner: "kim@example.org", Roles: []string{"workstation"}, Criticality: ptr(70),
		}},
		Signals: []sdk.NoticeSignal{{At: minutes(0), Title: "title of s-1", Source: "detector.ids", Severity: 50}},
		Verdicts: []sdk.NoticeVerdict{{
			Kind: "domain", Value: "bad.example", Source: "enrichment.reputation", Disposition: sdk.Malicious, Score: 90, Confidence: 90, At: start,
		}},
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Error(diff)
	}
}

func noticeOf(t *testing.T, in model.Intent) []byte {
	t.Helper()
	var p struct {
		Notice json.RawMessage `json:"notice"`
	}
	if err := json.Unmarshal(in.Parameters, &p); err != nil {
		t.Fatal(err)
	}
	return p.Notice
}

// TestTargetsAreEarned: what is isolated was reported and is known inside, or is
// named from such; what an external source says earns nothing.
func TestTargetsAreEarned(t *testing.T) {
	external := func(name string) model.Reply {
		r := verdict(100, 100)
		r.Answers = append(r.Answers, model.Answer{Asset: &model.Asset{Name: name, Owner: "evil@evil.test", Roles: []string{"workstation"}}})
		r.Found = []model.Found{{Observable: sdk.Observable{Kind: sdk.Host, Value: name + "-found"}}}
		r.Aliases = []sdk.Observable{{Kind: sdk.Host, Value: name + "-alias"}}
		return r
	}
	for name, c := range map[string]struct {
		observables []string
		answers     map[string]model.Reply // by "enrichment key"
		want        []string
		notes       []string
	}{
		"reported and known inside": {
			observables: []string{"subject host:ws-1", "indicator ip:203.0.113.1"},
			answers:     map[string]model.Reply{"assets host:ws-1": workstation("ws-1"), "reputation ip:203.0.113.1": verdict(100, 100)},
			want:        []string{"isolate ws-1 pending", "mail kim@example.org pending"},
		},
		"reported and not known inside": {
			observables: []string{"subject host:ws-1", "indicator ip:203.0.113.1"},
			answers:     map[string]model.Reply{"reputation ip:203.0.113.1": verdict(100, 100)},
			want:        []string{"mail soc@example.org pending"},
			notes:       []string{"isolate host:ws-1: not done: no internal enrichment knows it"},
		},
		"the lookup inside failed": {
			observables: []string{"subject host:ws-1", "indicator ip:203.0.113.1"},
			answers: map[string]model.Reply{
				"assets host:ws-1": {State: model.Failed, Reason: "time-out"}, "reputation ip:203.0.113.1": verdict(100, 100),
			},
			want:  []string{"mail soc@example.org pending"},
			notes: []string{"isolate host:ws-1: not done: no internal enrichment knows it"},
		},
		"no subject": {
			observables: []string{"indicator host:ws-1", "indicator ip:203.0.113.1"},
			answers:     map[string]model.Reply{"assets host:ws-1": workstation("ws-1"), "reputation ip:203.0.113.1": verdict(100, 100)},
			want:        []string{"mail kim@example.org pending"},
			notes:       []string{"isolate: the case has no host for it"},
		},
		"named from an indicator": {
			observables: []string{"indicator ip:203.0.113.1"},
			answers:     map[string]model.Reply{"assets ip:203.0.113.1": workstation("ws-1"), "reputation ip:203.0.113.1": verdict(100, 100)},
			want:        []string{"mail kim@example.org pending"},
			notes:       []string{"isolate: the case has no host for it"},
		},
		"named from outside": {
			observables: []string{"subject ip:203.0.113.1"},
			answers:     map[string]model.Reply{"reputation ip:203.0.113.1": external("ws-2")},
			want:        []string{"mail soc@example.org pending"},
			notes:       []string{"isolate: the case has no host for it"},
		},
		"found inside": {
			observables: []string{"subject ip:203.0.113.1"},
			answers: map[string]model.Reply{
				"reputation ip:203.0.113.1": verdict(100, 100),
				"assets ip:203.0.113.1":     {State: model.Known, Found: []model.Found{{Observable: sdk.Observable{Kind: sdk.Host, Value: "WS-3"}}}},
				"assets host:ws-3":          asset(model.Asset{Roles: []string{"workstation"}}),
			},
			want: []string{"isolate ws-3 pending", "mail soc@example.org pending"},
		},
		"protected by what another source knows": {
			observables: []string{"subject host:dc-1", "subject ip:192.0.2.9", "indicator ip:203.0.113.1"},
			answers: map[string]model.Reply{
				"reputation ip:203.0.113.1": verdict(100, 100),
				"assets host:dc-1":          asset(model.Asset{Name: "dc-1", Roles: []string{"server"}}),
				"assets ip:192.0.2.9":       asset(model.Asset{Name: "dc-1", Roles: []string{"domain_controller"}}),
			},
			want:  []string{"mail soc@example.org pending"},
			notes: []string{`isolate host:dc-1: protected by "domain controllers"`},
		},
		"an asset without roles": {
			observables: []string{"subject host:ws-1", "indicator ip:203.0.113.1"},
			answers: map[string]model.Reply{
				"reputation ip:203.0.113.1": verdict(100, 100), "assets host:ws-1": asset(model.Asset{Name: "ws-1"}),
			},
			want:  []string{"mail soc@example.org pending"},
			notes: []string{`isolate host:ws-1: protected by "domain controllers"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t)
			f.signals(sig("s-1", minutes(0), 90, c.observables...))
			for range 3 { // what is found is asked about in turn
				for _, l := range f.m.asks {
					key := strings.TrimPrefix(l.src.Address, "enrichment.") + " " + f.m.index.Key(l.value)
					if r, ok := c.answers[key]; ok && l.pending() {
						f.answer(l.src.Address, f.m.index.Key(l.value), r)
					}
				}
			}
			f.settle()
			f.want(c.want...)
			if diff := cmp.Diff(c.notes, f.notes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNothingOfOursGoesOut looks at all that is asked.
func TestNothingOfOursGoesOut(t *testing.T) {
	f := newFeed(t)
	c := f.signals(sig("s-1", minutes(0), 90, "subject ip:192.0.2.7", "subject ip:10.9.9.9", "domain:wiki.example.org", "domain:bad.example",
		"url:http://bad.example/?u=wiki.example.org", "url:http://bad.example/", "host:ws-1", "ip:203.0.113.1"))
	var asked []string
	for _, a := range c.Asks {
		asked = append(asked, strings.TrimPrefix(a.Enrichment, "enrichment.")+" "+a.Observable.Key())
	}
	slices.Sort(asked)
	want := []string{
		"assets host:ws-1", "assets ip:10.9.9.9", "assets ip:192.0.2.7", "assets ip:203.0.113.1",
		"reputation domain:bad.example", "reputation ip:203.0.113.1", "reputation url:http://bad.example/",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

// TestMergeRepeatsNothing: a signal that joins two cases makes one of them, which
// does not do again what each had done.
func TestMergeRepeatsNothing(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(10), 90, "subject host:ws-1", "indicator ip:203.0.113.1"))
	f.signals(sig("s-2", minutes(0), 90, "subject host:ws-2", "indicator ip:203.0.113.2"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	f.answer("enrichment.assets", "host:ws-2", workstation("ws-2"))
	f.settle()
	want := []string{"isolate ws-1 pending", "isolate ws-2 pending", "mail kim@example.org pending", "mail kim@example.org pending"}
	f.want(want...)
	for _, in := range maps.Clone(f.tables.intents) {
		f.outcome(in, model.IntentDone)
	}
	hooks := []string{"hook https://hook.example pending", "hook https://hook.example pending"}
	want = append(hooks, "isolate ws-1 done", "isolate ws-2 done", "mail kim@example.org done", "mail kim@example.org done")
	f.want(want...)

	c := f.signals(sig("s-3", minutes(5), 95, "subject host:ws-1", "subject host:ws-2"))
	f.want(want...)
	open := f.tables.open()
	if len(open) != 1 || open[0].ID != model.CaseID("s-2") || open[0].FirstID != model.CaseID("s-1") || open[0].Size != 3 ||
		!slices.Equal(open[0].Aliases, []string{model.CaseID("s-1")}) || open[0].Title != "title of s-3" {
		t.Errorf("open = %+v", open)
	}
	if diff := cmp.Diff([]Alias{{model.CaseID("s-1"), model.CaseID("s-2")}}, c.Aliases); diff != "" {
		t.Error(diff)
	}
	if gone := f.tables.cases[model.CaseID("s-1")]; gone.State != model.CaseMerged || gone.UpdatedAt != f.m.At() {
		t.Errorf("merged = %+v", gone)
	}

	// A later revision takes it apart again; neither part does anything again.
	f.now = f.now.Add(time.Minute)
	s := sig("s-3", minutes(5), 95, "subject host:ws-2")
	s.Revision = "2"
	c = f.signals(s)
	if open := f.tables.open(); len(open) != 2 || len(f.tables.aliases) != 0 {
		t.Errorf("open = %+v, aliases %v", open, f.tables.aliases)
	}
	f.settle()
	f.want(want...)
}

// TestRevisions: a later revision updates, everything else is a repeat.
func TestRevisions(t *testing.T) {
	f := newFeed(t)
	at := func(seq uint64, revision string, severity int) model.Signal {
		s := sig("s-1", minutes(0), severity, "ip:203.0.113.1")
		s.Position, s.Revision = model.Position{Seq: seq}, revision
		return s
	}
	for _, step := range []struct {
		s        model.Signal
		severity int
	}{
		{at(5, "a", 10), 10},
		{at(5, "a", 99), 10}, // the same place
		{at(6, "a", 99), 10}, // the same revision
		{at(4, "b", 99), 10}, // an earlier place
		{at(6, "b", 20), 20},
		{at(7, "a", 5), 5}, // back again is later, too
	} {
		f.signals(step.s)
		if k := f.tables.open(); len(k) != 1 || k[0].Severity != step.severity {
			t.Fatalf("after %+v: %+v", step.s.Position, k)
		}
	}
	l := f.m.ledger["detector.ids"]
	if got := fmt.Sprint(l.Signals, l.Revised, l.Repeated); got != "1 2 3" {
		t.Errorf("signals, revised, repeated = %s", got)
	}
}

func TestLateAnswersAndFailures(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 20, "indicator domain:bad.example"))
	f.answer("enrichment.reputation", "domain:bad.example", model.Reply{State: model.Failed, Reason: "no answer in time"})
	k := f.tables.open()[0]
	if k.Score.Total != 1600 || k.Score.Upper != 10000 ||
		!slices.Equal(k.Score.Unknown, []string{"enrichment.reputation failed on domain:bad.example: no answer in time"}) {
		t.Errorf("after the failure: %+v", k.Score)
	}
	var ask string
	for id := range f.m.asks {
		ask = id
	}
	late := verdict(100, 50)
	late.Ask, late.AnsweredAt, late.Expires = ask, f.now, f.now.Add(time.Hour)
	f.apply(model.Input{Reply: &late})
	if k := f.tables.open()[0]; k.Score.Total != 4000 || k.Score.Unknown != nil {
		t.Errorf("after the late answer: %+v", k.Score)
	}
	f.apply(model.Input{Reply: &model.Reply{Ask: ask, State: model.Failed, AnsweredAt: f.now.Add(time.Hour)}})
	if k := f.tables.open()[0]; k.Score.Total != 4000 {
		t.Errorf("a failure took the place of an answer: %+v", k.Score)
	}
	if c := f.apply(model.Input{Reply: &model.Reply{Ask: "a-none", State: model.Known}}); len(c.Answers) != 0 {
		t.Errorf("an answer to nothing: %+v", c.Answers)
	}

	// While it is good, it is not asked again; then it is, and what was known counts on.
	if c := f.signals(sig("s-2", minutes(1), 20, "indicator domain:bad.example")); len(c.Asks) != 0 {
		t.Errorf("asked again: %+v", c.Asks)
	}
	f.now = f.now.Add(2 * time.Hour)
	if c := f.signals(sig("s-3", minutes(2), 20, "indicator domain:bad.example")); len(c.Asks) != 1 || c.Cases[0].Score.Total != 4000 {
		t.Errorf("not asked again, or forgotten: %+v, %+v", c.Asks, c.Cases)
	}
	f.answer("enrichment.reputation", "domain:bad.example", model.Reply{State: model.Unknown})
	if k := f.tables.open()[0]; k.Score.Total != 1600 {
		t.Errorf("after it was forgotten: %+v", k.Score)
	}
}

func TestOnceHoldsUntilTheEnd(t *testing.T) {
	f := newFeed(t)
	f.config("base", true)
	f.signals(sig("s-1", minutes(0), 90, "subject host:ws-1"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	f.signals(sig("s-2", minutes(90), 90, "subject host:ws-2"))
	f.want()
	f.apply(model.Input{Ended: &model.Ended{}})
	f.want()
	f.answer("enrichment.assets", "host:ws-2", workstation("ws-2"))
	f.want("isolate ws-1 pending", "isolate ws-2 pending", "mail kim@example.org pending", "mail kim@example.org pending")
}

func TestLimitsMakeRoomAgain(t *testing.T) {
	f := newFeed(t)
	for i := range 3 {
		host := fmt.Sprintf("ws-%d", i)
		f.signals(sig("s-"+host, minutes(200*i), 90, "subject host:"+host))
		f.answer("enrichment.assets", "host:"+host, workstation(host))
	}
	mails := slices.Repeat([]string{"mail kim@example.org pending"}, 3)
	f.want(append([]string{"isolate ws-0 pending", "isolate ws-1 pending"}, mails...)...)
	if got := f.notes(); !slices.Equal(got, []string{"isolate host:ws-2: the limit of 2 isolate_host per hour is reached"}) {
		t.Errorf("notes = %q", got)
	}
	f.now = f.now.Add(59 * time.Minute)
	f.apply(model.Input{Tick: &model.Tick{}})
	f.want(append([]string{"isolate ws-0 pending", "isolate ws-1 pending"}, mails...)...)
	f.now = f.now.Add(time.Minute)
	f.apply(model.Input{Tick: &model.Tick{}})
	f.want(append([]string{"isolate ws-0 pending", "isolate ws-1 pending", "isolate ws-2 pending"}, mails...)...)
	if got := f.notes(); got != nil {
		t.Errorf("notes = %q", got)
	}
}

func TestCommandsAndOutcomes(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 90, "subject host:ws-1"))
	c := f.apply(model.Input{Command: &model.Command{Kind: model.PauseActions, By: "kim", Because: "a change"}})
	if !c.Flags.Paused || c.Flags.PausedBy != "kim" || c.Flags.PausedReason != "a change" {
		t.Errorf("flags = %+v", c.Flags)
	}
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	in := f.intent("isolate") // paused actions are planned and kept
	if c := f.apply(model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "kim"}}); c.Flags.Paused {
		t.Errorf("flags = %+v", c.Flags)
	}
	resolve := func(state model.IntentState) {
		f.apply(model.Input{Command: &model.Command{Kind: model.ResolveIntent, By: "kim", Intent: in.ID, State: state, Because: "I looked"}})
	}
	resolve(model.IntentDone) // it is not for a person yet
	if got := f.intent("isolate").State; got != model.IntentPending {
		t.Errorf("state = %s", got)
	}
	f.outcome(in, model.IntentUnknown)
	resolve(model.IntentPending) // nothing that one can find out
	if got := f.intent("isolate"); got.State != model.IntentUnknown || got.Message != "as told" {
		t.Errorf("state = %s, message %q", got.State, got.Message)
	}
	resolve(model.IntentDone)
	if got := f.intent("isolate"); got.State != model.IntentDone || got.By != "kim" || got.Message != "I looked" {
		t.Errorf("resolved: %+v", got)
	}
	f.outcome(in, model.IntentFailed) // too late: it is known
	f.want("hook https://hook.example pending", "isolate ws-1 done", "mail kim@example.org pending")
}

// TestRowsThatSayTheSame: a case's row is written when it says something else, not
// whenever it is planned again.
func TestRowsThatSayTheSame(t *testing.T) {
	f := newFeed(t)
	written := func(what string, c Changes, want int) {
		t.Helper()
		if len(c.Cases) != want {
			t.Errorf("%s: %d rows of cases are written, want %d", what, len(c.Cases), want)
		}
	}
	later := func() { f.now = f.now.Add(time.Minute) }
	outcome := func(step string, state model.IntentState) Changes {
		later()
		return f.apply(model.Input{Outcome: &model.Outcome{Intent: f.intent(step).ID, State: state}})
	}
	for i := range 3 { // of which the third has to wait, for there may be two an hour
		host := fmt.Sprintf("ws-%d", i)
		f.signals(sig("s-"+host, minutes(200*i), 90, "subject host:"+host))
		f.answer("enrichment.assets", "host:"+host, asset(model.Asset{Name: host, Roles: []string{"workstation"}}))
	}
	later()
	written("a tick without room", f.apply(model.Input{Tick: &model.Tick{}}), 0)
	f.now = f.now.Add(time.Hour)
	written("a tick with room", f.apply(model.Input{Tick: &model.Tick{}}), 1)

	f = newFeed(t)
	f.signals(sig("s-1", minutes(0), 90, "subject host:ws-1"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	planned := f.now
	written("an outcome that ends", outcome("mail", model.IntentDone), 0)
	if k := f.tables.open()[0]; !k.UpdatedAt.Equal(planned) {
		t.Errorf("decided at %v, want %v", k.UpdatedAt, planned)
	}
	written("an outcome that another step follows", outcome("isolate", model.IntentDone), 1)
	f.intent("hook")
	if k := f.tables.open()[0]; !k.UpdatedAt.Equal(f.now) {
		t.Errorf("decided at %v, want %v", k.UpdatedAt, f.now)
	}
}

func TestConfigurations(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 90, "subject host:ws-1"), sig("s-2", minutes(30), 90, "subject host:ws-1"))
	f.answer("enrichment.assets", "host:ws-1", workstation("ws-1"))
	if open := f.tables.open(); len(open) != 1 {
		t.Fatalf("open = %+v", open)
	}
	if c := f.config("base", false); len(c.Cases) != 0 || len(c.Configs) != 0 {
		t.Errorf("the same configuration again: %+v", c)
	}
	want := f.tables.planned()
	c := f.config("base narrow", false)
	if open := f.tables.open(); len(open) != 2 || len(c.Configs) != 1 {
		t.Errorf("with a narrow window: %+v", open)
	}
	f.want(want...)
	// The log may hold the text only once.
	f.apply(model.Input{Config: &model.Config{Hash: "hash of base"}})
	if open := f.tables.open(); len(open) != 1 || open[0].ID != model.CaseID("s-1") {
		t.Errorf("with the first again: %+v", open)
	}
	f.want(want...)
	f.config("base quiet", false)
	f.signals(sig("s-9", minutes(500), 90, "subject host:ws-1"))
	f.want(want...)
	err := f.m.Apply(f.m.Position().Seq+1, 0, model.Input{Config: &model.Config{Hash: "x", Text: []byte("nonsense")}})
	if err == nil || !strings.Contains(err.Error(), `config x: no configuration "nonsense"`) {
		t.Errorf("err = %v", err)
	}
}

func TestInputsInOrder(t *testing.T) {
	tick := model.Input{Tick: &model.Tick{}, At: start}
	for _, c := range []struct {
		seq  uint64
		part int
		ok   bool
	}{{8, 0, true}, {7, 1, true}, {9, 0, false}, {7, 0, false}, {7, 2, false}, {8, 1, false}, {6, 0, false}} {
		m := New(testCompiler)
		if err := m.Apply(7, 0, tick); err != nil {
			t.Fatal(err)
		}
		if err := m.Apply(c.seq, c.part, tick); errors.Is(err, ErrOrder) == c.ok {
			t.Errorf("%d.%d after 7.0: %v", c.seq, c.part, err)
		}
	}
}

// TestTimeNeverGoesBack: decide's time is the latest of all inputs.
func TestTimeNeverGoesBack(t *testing.T) {
	f := newFeed(t)
	f.now = start.Add(time.Hour)
	f.apply(model.Input{Tick: &model.Tick{}})
	f.now = start
	if c := f.signals(sig("s-1", minutes(0), 1, "ip:203.0.113.1")); !c.At.Equal(start.Add(time.Hour)) || !c.Cases[0].OpenedAt.Equal(c.At) {
		t.Errorf("at %v, case %+v", c.At, c.Cases[0])
	}
}
