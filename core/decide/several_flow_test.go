package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestSeveralReplay: the same inputs after a snapshot give the same bytes and the same
// changes, with rules over several.
func TestSeveralReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		all := shuffled(random, happenings(random, 60), testLateness)
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		whole := &severalRun{t: t, compile: severalCompiler, answerAt: rapid.IntRange(0, 96).Draw(t, "answers")}
		var at []byte
		var rows *tables
		whole.each = func(i int) {
			if i == cut {
				at, rows = snapshot(t, whole.m), whole.rows.clone()
			}
		}
		whole.run(all)
		if cut == len(all) {
			return
		}
		again := &severalRun{t: t, compile: severalCompiler, answerAt: whole.answerAt, m: New(severalCompiler), rows: rows}
		if err := again.m.Restore(bytes.NewReader(at)); err != nil {
			t.Fatal(err)
		}
		again.rest(all, cut)
		if !bytes.Equal(snapshot(t, again.m), snapshot(t, whole.m)) {
			t.Fatal("the restored machine ends otherwise")
		}
		if diff := cmp.Diff(whole.rows.dump(), again.rows.dump()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestSeveralHalf: an end while an input is half applied, for what has left memory is
// brought back for what a rule reports, changes nothing.
func TestSeveralHalf(t *testing.T) {
	halves := 0
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		all := happenings(random, 100)
		compile := func(c model.Config) (*Settings, error) {
			s, err := severalCompiler(c)
			s.Memory = Limits{Signals: 6, Values: 12, Intents: 2, Answers: 1}
			return s, err
		}
		whole := &severalRun{t: t, compile: compile, answerAt: 5, lazy: true}
		var inputs []part
		var left *tables // as they are when it ends
		nth := rapid.IntRange(1, 3).Draw(t, "half")
		whole.applied = func(p part) { inputs = append(inputs, p) }
		whole.half = func() {
			if nth--; nth == 0 {
				left = whole.rows.clone()
			}
		}
		whole.run(all)
		if left == nil {
			return
		}
		halves++
		again := &severalRun{t: t, compile: compile, m: New(compile), rows: left}
		for _, p := range inputs {
			if p.at.After(left.position) {
				again.give(p.at, p.in)
				continue
			}
			if err := left.again(again.m, p); err != nil {
				t.Fatal(err)
			}
			if p.at == left.position {
				again.m.drop()
			}
		}
		if diff := cmp.Diff(whole.rows.dump(), left.dump()); diff != "" {
			t.Fatal(diff)
		}
	})
	if halves == 0 {
		t.Error("no input was ever half applied")
	}
}

// clone shares nothing that changes.
func (t *tables) clone() *tables {
	c := *t
	c.rows, c.cases, c.intents, c.holds = maps.Clone(t.rows), maps.Clone(t.cases), maps.Clone(t.intents), maps.Clone(t.holds)
	c.members, c.aliases, c.settled, c.away = maps.Clone(t.members), maps.Clone(t.aliases), maps.Clone(t.settled), maps.Clone(t.away)
	c.answers = maps.Clone(t.answers)
	c.asks, c.recalls = append([]model.Ask(nil), t.asks...), append([]Recall(nil), t.recalls...)
	return &c
}

// rules are the open cases' signals of rules, by what they are about.
func (f *feed) ruleSignals() []string {
	var all []string
	for key, row := range f.tables.rows {
		var s model.Signal
		if strings.HasPrefix(key, "signal ") && json.Unmarshal([]byte(row), &s) == nil && s.Several() {
			all = append(all, fmt.Sprintf("%s %s %d of %d", s.Rule, s.Title, s.Severity, s.Size))
		}
	}
	return all
}

func severalFeed(t testing.TB, rules ...Rule) *feed {
	f := &feed{t: t, now: start, tables: newTables()}
	f.m = New(func(c model.Config) (*Settings, error) {
		s := testSettings()
		s.Correlate.Lateness, s.Rules = testLateness, rules
		if strings.Contains(string(c.Text), "other") {
			s.Rules[0].Severity = number100(99)
		}
		return s, nil
	})
	f.config("base", false)
	return f
}

func (f *feed) fact(rule string, term int, at time.Time) {
	f.t.Helper()
	f.events++
	f.apply(model.Input{Match: &model.MatchResult{
		Seq: f.events, Source: "detector.ids", Total: f.events, Count: 1, Counts: model.Counts{Fact: 1},
		Facts: []model.Fact{{
			Rule: rule, Term: term, ID: model.FactID("detector.ids", "", fmt.Sprint(f.events)), Time: at,
			Position: model.Position{Seq: f.events}, Observables: []sdk.Observable{{Kind: sdk.IP, Value: "10.1.2.3", Role: sdk.Subject}},
		}},
	}})
}

// tick passes time, a minute at once.
func (f *feed) tick(d time.Duration) {
	f.t.Helper()
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(time.Minute)
		f.apply(model.Input{Tick: &model.Tick{}})
	}
}

// TestAbsenceInQuiet: what does not come is noticed by the time that passes, and not while
// Kelpie is down.
func TestAbsenceInQuiet(t *testing.T) {
	f := severalFeed(t, Rule{
		Address: "rule.gone", Name: "gone", Severity: number100(30), Terms: []Term{{Detectors: []string{"detector.ids"}}, {Detectors: []string{"detector.ids"}}},
		Watch: correlate.Watch{Rule: "rule.gone", Kind: correlate.Absence, Terms: 2, Within: 30 * time.Minute, Lateness: testLateness},
	})
	f.fact("rule.gone", 0, f.now)
	f.now = f.now.Add(6 * time.Hour) // it was down
	f.apply(model.Input{Tick: &model.Tick{}})
	f.tick(30 * time.Minute)
	if got := f.ruleSignals(); got != nil {
		t.Errorf("too early: %v", got)
	}
	f.tick(20 * time.Minute)
	if diff := cmp.Diff([]string{"rule.gone gone 30 of 1"}, f.ruleSignals()); diff != "" {
		t.Error(diff)
	}
}

// TestRulesOverReload: facts stay over a reload where what is looked for is the same.
func TestRulesOverReload(t *testing.T) {
	f := severalFeed(t, Rule{
		Address: "rule.many", Name: "many", Severity: number100(30), Terms: []Term{{Detectors: []string{"detector.ids"}}},
		Watch: correlate.Watch{Rule: "rule.many", Kind: correlate.Count, Terms: 1, Least: 3, Within: time.Hour, Lateness: testLateness},
	})
	f.fact("rule.many", 0, f.now)
	f.fact("rule.many", 0, f.now)
	f.config("other", false)
	f.fact("rule.many", 0, f.now)
	if diff := cmp.Diff([]string{"rule.many many 99 of 3"}, f.ruleSignals()); diff != "" {
		t.Error(diff)
	}
}

// TestSignalsWait: a signal feeds rules when what was asked about it is answered, and what
// an internal enrichment named is what it is grouped by.
func TestSignalsWait(t *testing.T) {
	f := severalFeed(t,
		Rule{
			Address: "rule.twice", Name: "twice", Severity: number100(70),
			Watch: correlate.Watch{Rule: "rule.twice", Kind: correlate.Count, Terms: 1, Least: 2, Within: time.Hour, Lateness: testLateness},
			Terms: []Term{{
				Signals: []string{"pipeline.ids"}, Detectors: []string{"detector.ids"}, Group: model.Grouping{Kinds: []string{sdk.Host}},
				When: signalProgram(`length([for a in signal.answers : a if a.state == "failed"]) == 0`, SignalShape()),
			}},
			Title: signalProgram(`"twice on ${signal.key.host}, ${signal.count} in all"`, ReportShape()),
		},
		Rule{
			Address: "rule.critical", Name: "critical", Single: true, Severity: number100(90),
			Terms: []Term{{
				Signals: []string{"rule.twice"},
				When:    signalProgram(`signal.assets[0].criticality == 70 && case.size > 2 && signal.rule == "rule.twice"`, SignalShape()),
			}},
		})
	f.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3"))
	f.signals(sig("s-2", minutes(5), 50, "subject ip:10.1.2.4"))
	f.answer("enrichment.assets", "ip:10.1.2.3", workstation("ws-17"))
	if got := f.ruleSignals(); got != nil {
		t.Errorf("before all is answered: %v", got)
	}
	f.answer("enrichment.assets", "ip:10.1.2.4", workstation("ws-17"))
	if diff := cmp.Diff([]string{"rule.twice twice on ws-17, 2 in all 70 of 2"}, f.ruleSignals()); diff != "" {
		t.Error(diff)
	}
	f.settle()
	if got := len(f.tables.open()); got != 1 {
		t.Errorf("%d cases", got)
	}
	// What it reports feeds others when it can't become earlier any more.
	f.tick(30 * time.Minute)
	if got := fmt.Sprint(f.ruleSignals()); !strings.Contains(got, "rule.critical") {
		t.Errorf("signals are %s", got)
	}
}

// TestWaitSurvivesRestart: what a signal waits for is not looked for anew at a start. It may
// be about a value that is no part of the signal any more.
func TestWaitSurvivesRestart(t *testing.T) {
	f := severalFeed(t, Rule{
		Address: "rule.twice", Name: "twice",
		Watch: correlate.Watch{Rule: "rule.twice", Kind: correlate.Count, Terms: 1, Least: 2, Within: time.Hour, Lateness: testLateness},
		Terms: []Term{{Signals: []string{"pipeline.ids"}, Detectors: []string{"detector.ids"}, Group: model.Grouping{Kinds: []string{sdk.IP}}}},
	})
	f.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3"))
	f.signals(sig("s-2", minutes(5), 50, "subject ip:10.1.2.4"))
	waits := func(m *Machine, id string) string {
		w := m.several.waiting[id]
		if w == nil || !slices.Contains(m.several.asks[w.Ask], w) {
			t.Fatalf("%s waits for nothing", id)
		}
		return w.Ask
	}
	other := waits(f.m, "s-2")
	first := f.m.several.waiting["s-1"]
	first.Ask = other
	f.m.several.asks[other] = append(f.m.several.asks[other], first)

	again := New(f.m.compile)
	if err := again.Restore(bytes.NewReader(snapshot(t, f.m))); err != nil {
		t.Fatal(err)
	}
	if got := waits(again, "s-1"); got != other {
		t.Errorf("s-1 waits for %s, and did for %s", got, other)
	}
}

// TestSeveralRuns: a run that goes on from another under --once reports what one run over
// all reports, but for what was missing at the end of the first.
func TestSeveralRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := happenings(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), 90)
		cut := rapid.IntRange(1, len(all)-1).Draw(t, "cut")
		reported := func(r *severalRun) map[string]string {
			rows := map[string]string{}
			for key, row := range r.rows.rows {
				for _, rule := range []string{"rule.guessed", "rule.many", "rule.new", "rule.twice"} {
					if strings.HasPrefix(key, "signal ") && strings.Contains(row, `"rule":"`+rule+`"`) {
						rows[key] = row
					}
				}
			}
			return rows
		}
		one := &severalRun{t: t, compile: severalCompiler}
		one.run(all)
		two := &severalRun{t: t, compile: severalCompiler}
		two.run(all[:cut])
		again := New(severalCompiler) // the process was another
		if err := again.Restore(bytes.NewReader(snapshot(t, two.m))); err != nil {
			t.Fatal(err)
		}
		two.m = again
		two.apply(model.Input{Config: &model.Config{Hash: "several", Text: []byte(`"several"`), Once: true}})
		two.rest(all, cut)
		if diff := cmp.Diff(reported(one), reported(two)); diff != "" {
			t.Fatal(diff)
		}
	})
}
