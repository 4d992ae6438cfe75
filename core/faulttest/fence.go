//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/faulttest/contain/world"
	"github.com/kelpie-sec/kelpie/core/model"
)

// The fence contains hosts and disables users, by the plugin contain, and lets go of
// them seconds later. Users are shared by cases, so that a hold has several owners.

// users is how many there are.
const users = 4

func user(group int) string { return fmt.Sprintf("kim-%d", group%users) }

// fenceThreshold is the severity from which a case is contained.
const fenceThreshold = 60

// fenceScript draws which of the fence's first calls go wrong, and writes what the
// organisation knows of its hosts and users, without which nothing is contained.
func (w *World) fenceScript() error {
	r := stream(w.Seed, "fence")
	var script world.Script
	targets := make([]string, 0, w.groups+users)
	hosts, people := "name,owner\n", "name,department\n"
	for g := range w.groups {
		targets = append(targets, host(g))
		hosts += host(g) + ",soc@example.org\n"
	}
	for u := range users {
		targets = append(targets, user(u))
		people += user(u) + ",finance\n"
	}
	wild := []world.Behaviour{
		world.Loses, world.Late, world.Slow, world.Hangs, world.HangsAfter, world.Fails, world.Loses, world.Late,
	}
	// A crash spoils all calls under way, and too many have the plugin given up.
	crashes := []world.Behaviour{
		world.Crashes, world.CrashesAfter, world.CrashesLate,
	}
	for _, target := range targets {
		for _, op := range []world.Op{world.Execute, world.Undo, world.Check} {
			for n := 1; n <= 2; n++ {
				if r.IntN(4) > 0 {
					continue
				}
				line := world.Line{Op: op, Target: target, N: n, Do: pick(r, wild)}
				if r.IntN(12) == 0 {
					line.Do = pick(r, crashes)
				}
				if op == world.Check {
					line.Do = pick(r, []world.Behaviour{world.Hangs, world.Loses})
				}
				if op != world.Check && (line.Do == world.Late || line.Do == world.Slow || line.Do == world.CrashesLate) {
					line.After = time.Duration(20+r.IntN(1800)) * time.Millisecond
				}
				script = append(script, line)
			}
		}
	}
	var text strings.Builder
	for _, l := range script {
		text.WriteString(l.String() + "\n")
	}
	for name, content := range map[string]string{"hosts.csv": hosts, "people.csv": people, "fence.script": text.String()} {
		if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// fenceBlocks are the fence's part of the configuration.
func (w *World) fenceBlocks() string {
	return fmt.Sprintf(`
enrichment "table" "hosts" {
  internal = true
  path     = "hosts.csv"
  answer   = "asset"
  takes    = ["host"]
  patience = "5s"
}

enrichment "table" "people" {
  internal = true
  path     = "people.csv"
  answer   = "identity"
  takes    = ["user"]
  patience = "5s"
}

response "contain" {
  when = case.severity >= %d

  step "isolate" {
    do         = action.fence.isolate_host
    targets    = case.hosts
    undo_after = "2s"
  }
  step "disable" {
    do         = action.fence.disable_account
    targets    = case.users
    undo_after = "3s"
  }
}

action "contain" "fence" {
  world   = "fence.world"
  script  = "fence.script"
  timeout = "1500ms"
}
`, fenceThreshold)
}

func (w *World) fence() (*world.State, error) { return world.World{Path: w.path("fence.world")}.Read() }

// unfinished tells what the fence still holds that is to end by itself.
func (w *World) unfinished() (int, error) {
	var holds []api.Held
	if err := w.get("holds", &holds); err != nil {
		return 0, err
	}
	n := 0
	for _, h := range holds {
		if h.State == model.HoldInForce || h.State == model.HoldReleasing {
			n++
		}
	}
	return n, nil
}

// fenced: what the fence did, and what is told of it, agree.
func (c *check) fenced() {
	s, err := c.w.fence()
	if err != nil {
		c.wrong("the fence's world: %v", err)
		return
	}
	if err := c.tallyFence(s); err != nil {
		c.wrong("the fence's script: %v", err)
	}
	intents := map[string]model.Intent{}
	open := map[string]bool{} // by verb and target: nobody knows
	for _, in := range c.o.Intents {
		if in.Action != "action.fence" {
			continue
		}
		intents[in.ID] = in
		what := in.Verb + " " + in.Target.Value
		if in.State == model.IntentUnknown || in.Undoes != "" && (in.State == model.IntentFailed || in.State == model.IntentRefused) {
			open[what] = true // before a person
		}
		c.fenceIntent(in, s)
	}
	for _, op := range []world.Op{world.Execute, world.Undo} {
		for key, n := range s.Effects[op] {
			in, ok := intents[key]
			if !ok {
				c.wrong("%s of %s took effect, and is no intent", op, key)
				continue
			}
			c.tally.Effects[in.Verb+" "+string(op)] += n
			if n > 1 {
				c.wrong("%s of %s (%s %s) took effect %d times", op, key, in.Verb, in.Target.Value, n)
				c.tally.Doubled++
			}
		}
	}
	c.inTime(intents, s)
	for what := range c.o.Contained {
		if !open[what] {
			c.wrong("%s was in force when its time was over", what)
		}
	}
	// The last run, which ends at once, may have had new evidence.
	for _, h := range c.o.Held {
		open[h.Verb+" "+h.Target.Value] = true
	}
	for what := range s.Contained {
		if !open[what] {
			c.wrong("%s is in force, and nobody is told", what)
		}
	}
}

// inTime: what was held until its time was over was held that long. What the machine's
// clock did between two lives nobody can tell from time that passed.
func (c *check) inTime(intents map[string]model.Intent, s *world.State) {
	at := map[string]time.Duration{} // of each effect, by key
	for _, e := range s.Entries {
		if e.What == world.Effect {
			at[e.Key] = e.At
		}
	}
	for _, undo := range intents {
		from, began := at[undo.Undoes]
		to, ended := at[undo.ID]
		if undo.Undoes == "" || !began || !ended || !strings.HasPrefix(undo.Because, "its time of") {
			continue
		}
		if slices.ContainsFunc(c.w.doubts, func(d time.Duration) bool { return from <= d && d <= to }) {
			continue
		}
		c.tally.Lifted++
		if held, after := to-from, intents[undo.Undoes].UndoAfter; held < after {
			c.wrong("%s of %s was held for %s, and should have been for %s", undo.Verb, undo.Target.Value, held, after)
		}
	}
}

// tallyFence counts the calls that the fence's script had go wrong.
func (c *check) tallyFence(s *world.State) error {
	script, err := world.ReadScript(c.w.path("fence.script"))
	if err != nil {
		return err
	}
	times := map[world.Op]map[string]int{world.Execute: {}, world.Undo: {}, world.Check: {}}
	for _, e := range s.Entries {
		if e.What != world.Called {
			continue
		}
		times[e.Op][e.Target]++
		if do := script.Of(e.Op, e.Target, times[e.Op][e.Target]).Do; do != world.Answers {
			c.tally.Faults[fmt.Sprintf("containment: %s", do)]++
		}
	}
	return nil
}

// fenceIntent compares one intent with what came of it.
func (c *check) fenceIntent(in model.Intent, s *world.State) {
	op := world.Execute
	if in.Undoes != "" {
		op = world.Undo
	}
	effects, found := s.Effects[op][in.ID], s.Found[op][in.ID]
	switch in.State {
	case model.IntentPending:
	case model.IntentDone, model.IntentAlready, model.IntentUndone:
		if effects+found == 0 && in.HeldBy == "" {
			c.wrong("%s (%s %s of %s) is %s, and did not happen", in.ID, op, in.Verb, in.Target.Value, in.State)
		}
	case model.IntentFailed, model.IntentRefused:
		if effects > 0 && in.Verb == "isolate_host" {
			c.wrong("%s (%s %s of %s) is %s, and happened", in.ID, op, in.Verb, in.Target.Value, in.State)
		}
	}
}

// released is a person who lets go of something that is held.
type released struct{}

func (released) Name() string { return "hold released" }

func (released) Apply(w *World, r *rand.Rand) (Work, error) {
	var holds []api.Held
	_, err := w.Press(func() Work {
		if w.get("holds", &holds) != nil {
			return Work{}
		}
		return Work{Intents: len(holds)}
	})
	if err != nil || len(holds) == 0 {
		return Work{}, err
	}
	h := pick(r, holds)
	var after api.Held
	if err := w.post("holds/"+h.ID+"/release", api.Order{By: "kim", Because: "it is enough"}, &after); err != nil {
		return Work{}, nil //nolint:nilerr // it has ended meanwhile, or the core has
	}
	return Work{Intents: 1}, nil
}

// extended is a person who holds on to something for longer.
type extended struct{}

func (extended) Name() string { return "hold extended" }

func (extended) Apply(w *World, r *rand.Rand) (Work, error) {
	var holds []api.Held
	_, err := w.Press(func() Work {
		if w.get("holds", &holds) != nil {
			return Work{}
		}
		return Work{Intents: len(holds)}
	})
	if err != nil || len(holds) == 0 {
		return Work{}, err
	}
	var after api.Held
	order := api.Order{By: "kim", Because: "not yet", For: "1s"}
	if err := w.post("holds/"+pick(r, holds).ID+"/extend", order, &after); err != nil {
		return Work{}, nil //nolint:nilerr // it has ended meanwhile, or the core has
	}
	return Work{Intents: 1}, nil
}
