package decide

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

// part is one input at its place.
type part struct {
	at Position
	in model.Input
}

var allConfigs = []string{"base", "base narrow", "base dry", "base quiet", "base blind", "base off", "base fido"}

// within makes the test configurations with other limits and lateness.
func within(limits Limits, lateness time.Duration) Compiler {
	return func(c model.Config) (*Settings, error) {
		s, err := testCompiler(c)
		if err == nil {
			s.Memory, s.Correlate.Lateness = limits, lateness
		}
		return s, err
	}
}

func drawLimits(t *rapid.T) Limits {
	return Limits{
		Signals: rapid.IntRange(1, 8).Draw(t, "room for signals"), Values: rapid.IntRange(1, 20).Draw(t, "room for values"),
		Intents: rapid.IntRange(1, 4).Draw(t, "room for intents"), Answers: rapid.SampledFrom([]int{1, 5000}).Draw(t, "room for answers"),
	}
}

func drawLateness(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{48 * time.Hour, 0, 20 * time.Minute}).Draw(t, "lateness")
}

func drawCompiler(t *rapid.T) Compiler {
	if rapid.Bool().Draw(t, "ample memory") {
		return within(Limits{}, drawLateness(t))
	}
	return within(drawLimits(t), drawLateness(t))
}

// story draws a sequence of inputs as they would come: replies to what was asked,
// outcomes of what was planned, and now and then what should not come. It runs a
// machine along, to know what there is.
func story(t *rapid.T, compile Compiler, configs ...string) []part {
	m, rows := New(compile), newTables()
	var parts []part
	now, events := start, uint64(0)
	give := func(in model.Input) {
		in.At = now
		at := Position{Seq: m.position.Seq + 1}
		if m.position.Seq > 0 && rapid.IntRange(0, 2).Draw(t, "same message") == 0 {
			at = Position{Seq: m.position.Seq, Part: m.position.Part + 1}
		}
		// Through JSON, as INPUTS carries it.
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		in = model.Input{}
		if err := json.Unmarshal(text, &in); err != nil {
			t.Fatal(err)
		}
		apply(t, m, rows, part{at, in})
		rows.commit(m.Changes())
		parts = append(parts, part{at, in})
	}
	config := func() {
		text := rapid.SampledFrom(configs).Draw(t, "config")
		give(model.Input{Config: &model.Config{
			Hash: "hash of " + text, Text: []byte(`"` + text + `"`), Once: rapid.IntRange(0, 3).Draw(t, "once") == 0,
		}})
	}
	if rapid.IntRange(0, 9).Draw(t, "config first") > 0 {
		config()
	}
	for range rapid.IntRange(1, 40).Draw(t, "inputs") {
		now = now.Add(time.Duration(rapid.IntRange(-30, 600).Draw(t, "seconds")) * time.Second)
		switch rapid.IntRange(0, 11).Draw(t, "input") {
		default:
			events++
			give(model.Input{Match: drawMatch(t, events)})
		case 5, 6, 7:
			if r := drawReply(t, m, now); r != nil {
				give(model.Input{Reply: r})
			}
		case 8:
			if o := drawOutcome(t, m); o != nil {
				give(model.Input{Outcome: o})
			}
		case 9:
			config()
		case 10:
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "minutes")) * time.Minute)
			give(model.Input{Tick: &model.Tick{}})
		case 11:
			switch rapid.IntRange(0, 6).Draw(t, "order") {
			case 6:
				if c := drawEnd(t, m); c != nil {
					give(model.Input{Command: c})
				}
			case 4, 5:
				if c := drawDecision(t, m, len(parts)); c != nil {
					give(model.Input{Command: c})
				}
			case 0:
				give(model.Input{Ended: &model.Ended{}})
			case 1:
				give(model.Input{Command: &model.Command{Kind: model.PauseActions, By: "kim"}})
			case 2:
				give(model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "kim"}})
			case 3:
				for _, id := range slices.Sorted(maps.Keys(m.intents)) {
					if m.intents[id].State == model.IntentUnknown {
						give(model.Input{Command: &model.Command{
							Kind: model.ResolveIntent, By: "kim", Intent: id, State: model.IntentDone, Because: "I looked",
						}})
						break
					}
				}
			}
		}
	}
	return parts
}

// drawEnd ends a case, or has one go on.
func drawEnd(t *rapid.T, m *Machine) *model.Command {
	firsts := slices.Sorted(maps.Keys(m.firsts))
	if len(firsts) == 0 {
		return nil
	}
	c := &model.Command{By: "kim", Because: "I looked", Kind: model.EndCase, Case: rapid.SampledFrom(firsts).Draw(t, "case")}
	if rapid.IntRange(0, 3).Draw(t, "reopen") == 0 {
		c.Kind = model.ReopenCase
		return c
	}
	c.Finding = &model.Finding{Kind: rapid.SampledFrom(model.FindingKinds()).Draw(t, "finding")}
	return c
}

// drawDecision is an order about cases, such as there is something to order about.
func drawDecision(t *rapid.T, m *Machine, n int) *model.Command {
	var ids []string
	for n := range correlate.SignalNum(m.index.SignalRoom()) {
		if id := m.index.ID(n); id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	c := &model.Command{ID: fmt.Sprint(n), By: "kim", Because: "I looked"}
	c.Kind = rapid.SampledFrom([]model.CommandKind{model.MergeCases, model.SplitCase, model.NeverJoin, model.UndoDecision}).Draw(t, "decision")
	switch c.Kind {
	case model.NeverJoin:
		c.Value = rapid.SampledFrom([]string{"ip:10.1.2.3", "host:ws-17", "host:ws-18", "domain:bad.example"}).Draw(t, "value that joins nothing")
	case model.UndoDecision:
		if len(m.decisions) == 0 {
			return nil
		}
		c.Decision = rapid.SampledFrom(m.decisions).Draw(t, "to undo").ID
	default:
		if len(ids) == 0 {
			return nil
		}
		c.Signals = rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, min(3, len(ids)), rapid.ID).Draw(t, "signals of a decision")
	}
	return c
}

func drawMatch(t *rapid.T, events uint64) *model.MatchResult {
	r := &model.MatchResult{
		Seq:    events - uint64(rapid.IntRange(0, 1).Draw(t, "again")),
		Source: rapid.SampledFrom([]string{"detector.ids", "detector.edr"}).Draw(t, "source"),
		Total:  events, Config: "hash",
		Counts: model.Counts{
			Passed:   rapid.IntRange(0, 5).Draw(t, "passed"),
			Ignored:  map[string]int{"ignore.scan": 1},
			Rejected: map[string]int{"no JSON": rapid.IntRange(0, 1).Draw(t, "rejected"), "too large": 1},
		},
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "signals") {
		s := drawSignal(t)
		s.Position = model.Position{Seq: r.Seq, Index: i}
		r.Signals = append(r.Signals, s)
	}
	return r
}

func drawSignal(t *rapid.T) model.Signal {
	values := rapid.SliceOfN(rapid.SampledFrom([]string{
		"subject ip:10.1.2.3", "subject ip:10.1.2.4", "subject host:ws-17", "indicator domain:bad.example", "ip:203.0.113.9",
		"indicator ip:203.0.113.9", "subject host:ws-18", "subject ip:10.0.0.1", "indicator url:http://bad.example/x", "host:ws-19",
	}), 0, 4).Draw(t, "values")
	s := sig(fmt.Sprintf("s-%02d", rapid.IntRange(0, 15).Draw(t, "id")), minutes(rapid.IntRange(0, 240).Draw(t, "minute")),
		rapid.IntRange(0, 100).Draw(t, "severity"), values...)
	s.Rule = rapid.SampledFrom([]string{"pipeline.ids", "pipeline.ids", "rule.quiet"}).Draw(t, "rule")
	s.Revision = fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "revision"))
	s.Title = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "title")
	s.Techniques = rapid.SampledFrom([][]string{nil, {"T1071"}, {"T1105", "T1071"}}).Draw(t, "techniques")
	s.Stopped = rapid.SampledFrom([]*bool{nil, new(bool), ptr(true)}).Draw(t, "stopped")
	return s
}

func ptr[T any](v T) *T { return &v }

func drawReply(t *rapid.T, m *Machine, now time.Time) *model.Reply {
	asks := slices.Sorted(maps.Keys(m.asks))
	if len(asks) == 0 {
		return nil
	}
	id := rapid.SampledFrom(asks).Draw(t, "ask")
	r := &model.Reply{Ask: id, State: model.Unknown, AnsweredAt: now, Expires: now.Add(30 * time.Minute)}
	switch rapid.IntRange(0, 5).Draw(t, "reply") {
	case 0:
		r.State, r.Reason = model.Failed, "time-out"
		r.Expires = time.Time{}
	case 1, 2:
		r.State = model.Known
		a := model.Asset{
			Name: rapid.SampledFrom([]string{"ws-17", "ws-18", "dc-1"}).Draw(t, "asset"), Owner: "kim@example.org",
			Criticality: ptr(rapid.IntRange(0, 100).Draw(t, "criticality")),
			Roles:       rapid.SampledFrom([][]string{nil, {"workstation"}, {"domain_controller"}}).Draw(t, "roles"),
			SeenAt:      rapid.SampledFrom([]time.Time{{}, minutes(10), minutes(100), minutes(200)}).Draw(t, "seen"),
		}
		r.Answers = []model.Answer{{Asset: &a, Details: json.RawMessage(`{"b": 1, "a": [2]}`), At: now}}
	case 3:
		*r = verdict(rapid.IntRange(0, 100).Draw(t, "score"), 100)
		r.Ask, r.AnsweredAt, r.Expires = id, now, now.Add(time.Hour)
	case 4:
		r.State = model.Known
		r.Found = []model.Found{{Observable: m.index.Observable(m.asks[id].value), At: now}}
		r.Found[0].Observable.Kind, r.Found[0].Observable.Value = "host", rapid.SampledFrom([]string{"WS-17", "ws-20", "-"}).Draw(t, "found")
	}
	return r
}

func drawOutcome(t *rapid.T, m *Machine) *model.Outcome {
	intents := slices.Sorted(maps.Keys(m.intents))
	if len(intents) == 0 {
		return nil
	}
	return &model.Outcome{
		Intent: rapid.SampledFrom(intents).Draw(t, "intent"),
		State: rapid.SampledFrom([]model.IntentState{
			model.IntentDone, model.IntentDone, model.IntentFailed, model.IntentUnknown, model.IntentUndone, model.IntentAlready,
		}).Draw(t, "state"),
		Attempts: 1, Message: "m", UndoToken: []byte("u"),
	}
}

func apply(t *rapid.T, m *Machine, rows *tables, p part) {
	if err := rows.bring(m, p.at, &p.in, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Apply(p.at.Seq, p.at.Part, p.in); err != nil {
		t.Fatal(err)
	}
}

func encoded(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func snapshot(t interface{ Fatal(...any) }, m *Machine) []byte {
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestReplay: the same inputs give the same bytes, from the beginning and from a
// snapshot at any place, and the same rows however they are put into transactions.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		compile := drawCompiler(t)
		parts := story(t, compile, allConfigs...)
		cut := rapid.IntRange(0, len(parts)).Draw(t, "cut")

		whole, rows := New(compile), newTables()
		var tail [][]byte // the changes after the cut
		var atCut []byte
		for i, p := range parts {
			if i == cut {
				atCut = snapshot(t, whole)
			}
			apply(t, whole, rows, p)
			c := whole.Changes()
			rows.commit(c)
			if i >= cut {
				tail = append(tail, encoded(c))
			}
		}
		if cut == len(parts) {
			atCut = snapshot(t, whole)
		}

		restored := New(compile)
		if err := restored.Restore(bytes.NewReader(atCut)); err != nil {
			t.Fatal(err)
		}
		if again := snapshot(t, restored); !bytes.Equal(again, atCut) {
			t.Fatalf("a restored machine is another:\n%q\n%q", again, atCut)
		}
		for i, p := range parts[cut:] {
			if err := rows.again(restored, p); err != nil {
				t.Fatal(err)
			}
			if c := encoded(restored.Changes()); !bytes.Equal(c, tail[i]) {
				t.Fatalf("after the cut, input %v: %s", p.at, cmp.Diff(string(tail[i]), string(c)))
			}
		}
		end := snapshot(t, whole)
		if !bytes.Equal(snapshot(t, restored), end) {
			t.Fatal("the restored machine ends otherwise")
		}

		grouped, others := New(compile), newTables()
		for _, p := range parts {
			apply(t, grouped, others, p)
			if rapid.Bool().Draw(t, "commit") {
				others.commit(grouped.Changes())
			}
		}
		others.commit(grouped.Changes())
		if diff := cmp.Diff(rows.dump(), others.dump()); diff != "" {
			t.Fatalf("other transactions give other rows: %s", diff)
		}
		if !bytes.Equal(snapshot(t, grouped), end) {
			t.Fatal("the machine with other transactions ends otherwise")
		}
		consistent(t, rows, whole)
	})
}

// consistent holds the rows against what must be true of them.
func consistent(t *rapid.T, rows *tables, m *Machine) {
	size := map[string]int{}
	for signal, id := range rows.members {
		size[id]++
		if k := rows.cases[id]; k.State != model.CaseOpen && k.State != model.CaseClosed {
			t.Fatalf("signal %s is in case %s, which is %q", signal, id, k.State)
		}
	}
	for id, k := range rows.cases {
		switch {
		case k.State == model.CaseMerged && rows.aliases[id] == "":
			t.Fatalf("merged case %s is no alias", id)
		case k.State != model.CaseMerged && (k.Size != size[id] || rows.aliases[id] != ""):
			t.Fatalf("case %s has size %d, %d members, and is alias of %q", id, k.Size, size[id], rows.aliases[id])
		}
		for _, alias := range k.Aliases {
			if rows.aliases[alias] != id {
				t.Fatalf("%s should be an alias of %s, it is of %q", alias, id, rows.aliases[alias])
			}
		}
	}
	for alias, id := range rows.aliases {
		if !slices.Contains(rows.cases[id].Aliases, alias) {
			t.Fatalf("alias %s of %s is not in the case: %v", alias, id, rows.cases[id].Aliases)
		}
	}
	sumsAgree(t, rows, m)
	pending := 0
	for _, l := range m.asks {
		if l.pending() && l.src != nil {
			pending++
		}
	}
	if pending != m.pending {
		t.Fatalf("%d lookups are pending, %d are counted", pending, m.pending)
	}
}

// TestOrder: other orders of the same events give the same members and, when all
// is answered, the same scores.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		signals := rapid.SliceOfNDistinct(rapid.Custom(drawSignal), 1, 12, func(s model.Signal) string { return s.ID }).Draw(t, "signals")
		run := func(order []int) (string, map[string]model.Hundredths) {
			m, rows := New(testCompiler), newTables()
			seq := uint64(0)
			give := func(in model.Input) {
				seq++
				in.At = start.Add(time.Duration(seq) * time.Second)
				if err := m.Apply(seq, 0, in); err != nil {
					t.Fatal(err)
				}
				rows.commit(m.Changes())
			}
			give(model.Input{Config: &model.Config{Hash: "base", Text: []byte(`"base"`)}})
			for i, n := range order {
				s := signals[n]
				s.Position = model.Position{Seq: uint64(i + 1)}
				give(model.Input{Match: &model.MatchResult{Seq: uint64(i + 1), Source: s.Source, Signals: []model.Signal{s}}})
			}
			for {
				var next *lookup
				for _, l := range m.asks {
					if l.pending() && (next == nil || m.index.Key(l.value) < m.index.Key(next.value)) {
						next = l
					}
				}
				if next == nil {
					break
				}
				r := verdict(len(m.index.Key(next.value))*4%100, 100)
				r.Ask, r.AnsweredAt, r.Expires = next.ask, start, start.Add(24*time.Hour)
				give(model.Input{Reply: &r})
			}
			scores := map[string]model.Hundredths{}
			for _, k := range rows.open() {
				scores[k.ID] = k.Score.Total
			}
			return rows.grouping(), scores
		}
		order := make([]int, len(signals))
		for i := range order {
			order[i] = i
		}
		members, scores := run(order)
		others, otherScores := run(rapid.Permutation(order).Draw(t, "order"))
		if diff := cmp.Diff(members, others); diff != "" {
			t.Fatalf("members: %s", diff)
		}
		if diff := cmp.Diff(scores, otherScores); diff != "" {
			t.Fatalf("scores: %s", diff)
		}
		var all []correlate.Signal
		for _, s := range signals {
			all = append(all, correlate.Signal{ID: s.ID, Time: s.Time, Observables: s.Observables})
		}
		if got, want := len(scores), len(correlate.Group(all, testSettings().Correlate)); got != want {
			t.Fatalf("%d cases, want %d", got, want)
		}
	})
}

func TestSnapshotOfUnsavedChanges(t *testing.T) {
	f := newFeed(t)
	if err := f.m.Apply(2, 0, model.Input{Tick: &model.Tick{}}); err != nil {
		t.Fatal(err)
	}
	if err := f.m.Snapshot(&bytes.Buffer{}); !errors.Is(err, ErrUnsaved) {
		t.Errorf("err = %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	feed := newFeed(f)
	feed.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3", "indicator domain:bad.example"), sig("s-2", minutes(5), 70, "subject ip:10.1.2.3"))
	feed.settle()
	f.Add(snapshot(f, feed.m))
	f.Add(snapshot(f, New(testCompiler)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(func(model.Config) (*Settings, error) { return testSettings(), nil })
		if err := m.Restore(bytes.NewReader(data)); err != nil {
			return
		}
		m.Apply(m.position.Seq+1, 0, model.Input{Tick: &model.Tick{}})
		m.Changes()
	})
}
