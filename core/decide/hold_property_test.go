package decide

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// holdStory draws what may happen to holds, in any order: alerts about three hosts, in
// cases that are apart or come together, outcomes of every kind, orders, ticks, reboots,
// and restarts of decide. It keeps what is really contained, and looks after each input
// whether everything is as it must be.
type holdStory struct {
	t      *rapid.T
	m      *Machine
	tables *tables
	parts  []part

	compile Compiler
	now     time.Time
	uptime  time.Duration
	boot    int
	events  uint64
	// contained is what the vendor would show, by hold; maybe: nobody knows.
	contained map[string]containment
}

type containment int

const (
	no containment = iota
	yes
	maybe
)

func (s *holdStory) give(in model.Input) {
	in.At = s.now
	p := part{Position{Seq: s.m.Position().Seq + 1}, in}
	apply(s.t, s.m, s.tables, p)
	s.parts = append(s.parts, p)
	s.tables.commit(s.m.Changes())
	s.check()
}

func (s *holdStory) tick(passes time.Duration) {
	s.now, s.uptime = s.now.Add(passes), s.uptime+passes
	s.give(model.Input{Tick: &model.Tick{Boot: fmt.Sprint("boot-", s.boot), Uptime: s.uptime, Wall: s.now}})
}

// alert gives a host a signal in one of eight places in time, of which neighbours join.
func (s *holdStory) alert(host, place int) {
	s.events++
	g := sig(fmt.Sprintf("s-%d", s.events), minutes(50*place), 90, fmt.Sprintf("subject host:ws-%d", host), "indicator domain:bad.example")
	g.Observables = g.Observables[:1]
	g.Position = model.Position{Seq: s.events}
	s.give(model.Input{Match: &model.MatchResult{
		Seq: s.events, Source: "detector.ids", Total: s.events, Count: 1, Counts: model.Counts{Matched: 1}, Signals: []model.Signal{g},
	}})
	for {
		var next *lookup
		for _, l := range s.m.asks {
			if l.pending() && (next == nil || l.ask < next.ask) {
				next = l
			}
		}
		if next == nil {
			return
		}
		r := workstation(s.m.index.Observable(next.value).Value)
		r.Ask, r.AnsweredAt, r.Expires = next.ask, s.now, s.now.Add(10000*time.Hour)
		s.give(model.Input{Reply: &r})
	}
}

// open are the intents that wait for an outcome, or for a person.
func (s *holdStory) open(states ...model.IntentState) []string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(s.tables.intents)) {
		if in := s.tables.intents[id]; in.Hold != "" && slices.Contains(states, in.State) {
			all = append(all, id)
		}
	}
	return all
}

// outcome tells what became of an intent, and makes it so.
func (s *holdStory) outcome(id string, state model.IntentState) {
	in := s.tables.intents[id]
	is := s.contained[in.Hold]
	switch {
	case in.Undoes != "" && s.tables.holds[in.Hold].Undo != id: // it tells of what is over
	case state == model.IntentDone && in.Undoes == "":
		is = yes
	case state == model.IntentDone || state == model.IntentAlready && in.Undoes != "":
		is = no
	case state == model.IntentAlready && s.tables.holds[in.Hold].State == model.HoldUnknown: // else by somebody else
		is = yes
	case state == model.IntentUnknown:
		is = maybe
	}
	s.contained[in.Hold] = is
	s.give(model.Input{Outcome: &model.Outcome{Intent: id, State: state, Attempts: 1, UndoToken: []byte("t")}})
}

// check holds the rows against each other, and against what is really contained.
func (s *holdStory) check() {
	pending := map[string][]string{}
	for id, in := range s.tables.intents {
		if in.Hold != "" && in.State == model.IntentPending {
			pending[in.Hold] = append(pending[in.Hold], id)
		}
	}
	for hold, all := range pending {
		if len(all) > 1 {
			s.t.Fatalf("%s: %v are under way at once", hold, all)
		}
	}
	for id, h := range s.tables.holds {
		wanted := slices.ContainsFunc(h.Owners, model.Owner.Wants)
		switch h.State {
		case model.HoldInForce:
			if !wanted && len(pending[id]) == 0 {
				s.t.Fatalf("nobody wants %s, and it is in force: %+v", id, h)
			}
			if s.contained[id] == no {
				s.t.Fatalf("%s is said to be in force, and is free: %+v", id, h)
			}
		case model.HoldReleased:
			if s.contained[id] == yes {
				s.t.Fatalf("%s is said to be released, and is contained: %+v", id, h)
			}
			fallthrough
		default:
			if wanted {
				s.t.Fatalf("%s is %s while somebody wants it: %+v", id, h.State, h)
			}
		}
		if kept := s.m.holds[id]; (kept != nil && kept.State != "") != (h.State != model.HoldReleased) {
			s.t.Fatalf("%s is %s, and the memory has %+v", id, h.State, kept)
		}
	}
	for id, in := range s.tables.intents {
		if in.Undoes == "" {
			continue
		}
		h := s.tables.holds[in.Hold]
		if in.State == model.IntentPending && (h.State != model.HoldReleasing || h.Undo != id) {
			s.t.Fatalf("undo %s is pending, and the hold is %+v", id, h)
		}
	}
}

// restart goes on from a snapshot.
func (s *holdStory) restart() {
	text := snapshot(s.t, s.m)
	m := New(s.compile)
	if err := m.Restore(bytes.NewReader(text)); err != nil {
		s.t.Fatal(err)
	}
	if again := snapshot(s.t, m); !bytes.Equal(text, again) {
		s.t.Fatal("a restored machine is another")
	}
	s.m = m
}

func (s *holdStory) step() {
	t := s.t
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0, 1, 2:
		s.alert(rapid.IntRange(1, 3).Draw(t, "host"), rapid.IntRange(0, 7).Draw(t, "place"))
	case 3, 4, 5:
		all := s.open(model.IntentPending, model.IntentPending, model.IntentUnknown)
		if len(all) > 0 {
			s.outcome(rapid.SampledFrom(all).Draw(t, "intent"), rapid.SampledFrom([]model.IntentState{
				model.IntentDone, model.IntentDone, model.IntentDone, model.IntentAlready, model.IntentFailed, model.IntentRefused, model.IntentUnknown,
			}).Draw(t, "outcome"))
		}
	case 6:
		if all := s.open(model.IntentUnknown); len(all) > 0 {
			id := rapid.SampledFrom(all).Draw(t, "intent")
			state := rapid.SampledFrom([]model.IntentState{model.IntentDone, model.IntentFailed}).Draw(t, "word")
			in := s.tables.intents[id]
			if h := s.tables.holds[in.Hold]; in.Undoes == "" || h.Undo == id {
				s.contained[in.Hold] = maybe // a person may err
			}
			s.give(model.Input{Command: &model.Command{Kind: model.ResolveIntent, By: "kim", Intent: id, State: state}})
		}
	case 7:
		if len(s.tables.holds) > 0 {
			c := &model.Command{
				Kind: model.ReleaseHold, By: "kim", Because: "clean",
				Hold: rapid.SampledFrom(slices.Sorted(maps.Keys(s.tables.holds))).Draw(t, "hold"),
			}
			if owners := s.tables.holds[c.Hold].Owners; rapid.Bool().Draw(t, "one case") {
				c.Case = rapid.SampledFrom(owners).Draw(t, "owner").Case
			}
			s.give(model.Input{Command: c})
		}
	case 8, 9:
		s.tick(time.Duration(rapid.IntRange(0, 70).Draw(t, "minutes")) * time.Minute)
	case 10:
		switch rapid.IntRange(0, 2).Draw(t, "upset") {
		case 0:
			s.restart()
		case 1: // a reboot
			s.boot++
			s.uptime = 0
			s.tick(time.Minute)
		case 2:
			s.config(rapid.SampledFrom([]string{"base held", "base kept", "base dry", "base held narrow", "base quiet", "base held told", "base graded heard"}).Draw(t, "config"))
		}
	case 11:
		s.give(model.Input{Command: s.anyPause()})
	}
}

// anyPause is an order that changes what is held back, or how long something is held.
func (s *holdStory) anyPause() *model.Command {
	c := &model.Command{By: "kim", Because: "clean", For: time.Duration(rapid.IntRange(0, 90).Draw(s.t, "for")) * time.Minute}
	c.Kind = rapid.SampledFrom([]model.CommandKind{
		model.PauseActions, model.ResumeActions, model.PauseOf, model.ResumeOf, model.ExtendHold, model.ReleaseAll,
	}).Draw(s.t, "order")
	c.Of = rapid.SampledFrom([]string{"pipeline.ids", "response.contain", "response.other"}).Draw(s.t, "of")
	if holds := slices.Sorted(maps.Keys(s.tables.holds)); len(holds) > 0 {
		c.Hold = rapid.SampledFrom(holds).Draw(s.t, "hold")
	}
	return c
}

func (s *holdStory) config(text string) {
	s.give(model.Input{Config: &model.Config{Hash: "hash of " + text, Text: []byte(`"` + text + `"`)}})
}

// end lets everything come to its end: time passes, and every call succeeds.
func (s *holdStory) end() {
	for range 20 {
		s.tick(2 * time.Hour)
		for _, id := range s.open(model.IntentPending, model.IntentUnknown) {
			s.outcome(id, model.IntentDone)
		}
		for id, h := range s.tables.holds {
			if h.State == model.HoldStuck || h.State == model.HoldUnknown {
				s.give(model.Input{Command: &model.Command{Kind: model.ReleaseHold, By: "kim", Hold: id}})
			}
		}
	}
	for id, h := range s.tables.holds {
		forEver := slices.ContainsFunc(h.Owners, func(o model.Owner) bool { return o.Wants() && o.After == 0 })
		if h.State != model.HoldReleased && !forEver {
			s.t.Fatalf("%s is never released: %+v", id, h)
		}
	}
	for id, h := range s.m.holds {
		if h.State == "" {
			s.t.Fatalf("%s is remembered for nothing: %+v", id, h)
		}
	}
}

// TestHolds: in whatever order things happen, nothing is released while an owner wants
// it, everything after the last has let go; a target has one call under way; and the
// same inputs give the same rows and the same memory, restarts or not.
func TestHolds(t *testing.T) {
	seen := map[model.HoldState]int{}
	rapid.Check(t, func(t *rapid.T) {
		compile := drawCompiler(t)
		s := &holdStory{t: t, compile: compile, m: New(compile), tables: newTables(), now: start, contained: map[string]containment{}}
		s.config("base held")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s.step()
			for _, h := range s.tables.holds {
				seen[h.State]++
			}
		}
		s.end()

		again, rows := New(compile), newTables()
		for i, p := range s.parts {
			apply(t, again, rows, p)
			if i%7 == 0 {
				rows.commit(again.Changes())
			}
		}
		rows.commit(again.Changes())
		if diff := cmp.Diff(s.tables.dump(), rows.dump()); diff != "" {
			t.Fatalf("replayed: %s", diff)
		}
		if !bytes.Equal(snapshot(t, s.m), snapshot(t, again)) {
			t.Fatal("replayed, the memory is another")
		}
	})
	for _, state := range []model.HoldState{
		model.HoldInForce, model.HoldReleasing, model.HoldReleased, model.HoldStuck, model.HoldUnknown,
	} {
		if seen[state] == 0 {
			t.Errorf("no story has a hold that is %s", state)
		}
	}
}
