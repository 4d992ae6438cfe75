//go:build linux

package faulttest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// check compares an outcome with the model, and collects what is not as it says.
type check struct {
	w        *World
	o        *Outcome
	m        Reference
	tally    *Tally
	problems []string
	// group is the case of an intent, by the case's ids.
	cases map[string]int // index in o.Cases
	// reported is what rules over several must have reported, by id.
	reported map[string]RefSignal
}

// mostProblems of one kind of check that are told.
const mostProblems = 40

// Check says what of an outcome is not as it must be.
func (o *Outcome) Check(w *World, tally *Tally) []string {
	c := &check{w: w, o: o, m: NewReference(w.Feeds), tally: tally, cases: map[string]int{}}
	for i, e := range o.Cases {
		for _, id := range append([]string{e.Case.ID, e.Case.FirstID}, e.Case.Aliases...) {
			c.cases[id] = i
		}
	}
	for _, f := range w.Feeds {
		c.events(f)
	}
	c.reported = c.ruleSignals()
	c.books(o.Resting, false)
	c.books(o.Final, true)
	c.signals()
	c.groups()
	c.rules()
	c.scores()
	c.intents()
	c.effects()
	c.mails()
	c.fenced()
	if n := len(c.problems); n > mostProblems {
		c.problems = append(c.problems[:mostProblems], fmt.Sprintf("and %d more", n-mostProblems))
	}
	return c.problems
}

func (c *check) wrong(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// events: the log holds what the feed offered.
func (c *check) events(f Feed) {
	offered := f.Events()
	c.tally.Events += len(offered)
	have := map[string]bool{}
	var order []string
	for _, l := range c.o.Log[f.Name()] {
		key := f.Key(l.ID, payload(l))
		if _, ok := c.m.Events[f.Name()][key]; !ok {
			c.wrong("%s: the log holds event %q (%.80q), which was never offered", f.Name(), l.ID, payload(l))
			continue
		}
		have[key] = true
		order = append(order, key)
	}
	for key := range c.m.Events[f.Name()] {
		if !have[key] {
			c.wrong("%s: event %s is not in the log", f.Name(), key)
			c.tally.Lost++
		}
	}
	if f.Exactly() {
		var want []string
		for _, e := range offered {
			want = append(want, e.Key)
		}
		if !slices.Equal(order, want) {
			c.wrong("%s: %d events were offered, the log holds %d or another order, first at %d", f.Name(), len(want), len(order), differ(order, want))
		}
	}
}

func differ(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// members of a case, as feeds know them.
func (c *check) members(e api.Explanation) map[Member]model.Signal {
	all := map[Member]model.Signal{}
	for _, s := range e.Signals {
		if s.Rule != "pipeline.alerts" {
			continue
		}
		name := strings.TrimPrefix(s.Source, "detector.")
		for _, f := range c.w.Feeds {
			if f.Name() == name {
				m := Member{name, f.Key(s.EventID, s.Raw)}
				if _, twice := all[m]; twice {
					c.wrong("case %s has %v twice", e.Case.ID, m)
				}
				all[m] = s
			}
		}
	}
	return all
}

// signals: each alert is one, in one case, as its last revision says.
func (c *check) signals() {
	seen := map[Member]string{}
	for _, e := range c.o.Cases {
		for m, s := range c.members(e) {
			if other, twice := seen[m]; twice {
				c.wrong("%v is in the cases %s and %s", m, other, e.Case.ID)
			}
			seen[m] = e.Case.ID
			want, ok := c.m.Events[m.Feed][m.Key]
			if !ok || want.Class != Matched {
				c.wrong("%v is a signal, and no alert", m)
				continue
			}
			title := fmt.Sprintf("%d.%d", want.N, want.Revision)
			if s.Severity != want.Severity || s.Title != title || !s.Time.Equal(want.Time()) {
				c.wrong("%v is %q, severity %d at %s; want %q, %d at %s", m, s.Title, s.Severity, s.Time, title, want.Severity, want.Time())
			}
			maker := c.w.Feeds[slices.IndexFunc(c.w.Feeds, func(f Feed) bool { return f.Name() == m.Feed })].Plugin()
			if id := model.SignalID("pipeline.alerts", s.Source, maker, s.EventID); s.ID != id {
				c.wrong("%v has the id %s, want %s", m, s.ID, id)
			}
		}
	}
	c.tally.Signals += len(seen)
	for _, want := range c.m.Cases {
		for _, m := range want.Members {
			if seen[m] == "" {
				c.wrong("%v is an alert, and no signal", m)
				c.tally.Lost++
			}
		}
	}
}

// groups: the cases have the members that they must have, and their names and
// severities follow from these.
func (c *check) groups() {
	want := map[string]RefCase{}
	for _, mc := range c.m.Cases {
		want[text(mc.Members)] = mc
	}
	c.tally.Cases += len(c.o.Cases)
	alerts := slices.DeleteFunc(slices.Clone(c.o.Cases), func(e api.Explanation) bool { return c.ofDoors(e.Signals) })
	if len(alerts) != len(want) {
		c.wrong("%d cases, want %d", len(alerts), len(want))
	}
	for _, e := range alerts {
		members := c.members(e)
		keys := slices.SortedFunc(maps.Keys(members), func(a, b Member) int {
			return cmp.Or(cmp.Compare(a.Feed, b.Feed), cmp.Compare(a.Key, b.Key))
		})
		mc, ok := want[text(keys)]
		if !ok {
			c.wrong("case %s has %d members that are no case of the model: %.300s", e.Case.ID, len(keys), text(keys))
			continue
		}
		if e.Case.Severity != mc.Severity {
			c.wrong("case %s has the severity %d, want %d", e.Case.ID, e.Case.Severity, mc.Severity)
		}
		c.subjects(e, mc)
		first := slices.MinFunc(e.Signals, func(a, b model.Signal) int {
			return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
		})
		if id := model.CaseID(first.ID); id != e.Case.ID {
			c.wrong("case %s must be named %s by its earliest member", e.Case.ID, id)
		}
	}
}

// subjects of a case are those that its events name, whatever a source outside says.
func (c *check) subjects(e api.Explanation, mc RefCase) {
	want, got := map[string]bool{}, map[string]bool{}
	for _, g := range mc.Groups {
		want["host:"+host(g)], want["user:"+user(g)] = true, true
	}
	for _, s := range e.Case.Subjects {
		got[s.Kind+":"+s.Value] = true
	}
	if !maps.Equal(got, want) {
		c.wrong("case %s has the subjects %s, want %s", e.Case.ID, text(got), text(want))
	}
}

// scores follow from the severity and what enrichments are known to have said, which
// is the truth.
func (c *check) scores() {
	for _, e := range c.o.Cases {
		most := e.Case.Severity
		asked := map[string]bool{}
		for _, l := range e.Lookups {
			value := l.Ask.Observable.Value
			if l.Ask.Enrichment == "enrichment.hosts" || l.Ask.Enrichment == "enrichment.people" {
				continue
			}
			asked[l.Ask.Enrichment+" "+value] = true
			score, known := Truth(c.w.Seed, l.Ask.Enrichment, value)
			switch {
			case l.Reply == nil || l.Reply.State == model.Pending:
				c.wrong("case %s: %s about %s is still pending", e.Case.ID, l.Ask.Enrichment, value)
			case l.Reply.State == model.Failed:
			case (l.Reply.State == model.Unknown) == known:
				c.wrong("case %s: %s about %s is %s, and knows it: %v", e.Case.ID, l.Ask.Enrichment, value, l.Reply.State, known)
			case known && (len(l.Reply.Answers) != 1 || l.Reply.Answers[0].Verdict == nil || l.Reply.Answers[0].Verdict.Score != score):
				c.wrong("case %s: %s about %s says %s, want %d", e.Case.ID, l.Ask.Enrichment, value, text(l.Reply.Answers), score)
			case known:
				most = max(most, score)
			}
		}
		for _, o := range e.Case.Indicators {
			if o.Kind != sdk.IP {
				continue // a lookup may have named it, and then it is no more than that
			}
			for _, name := range []string{"enrichment.honest", "enrichment.wild"} {
				if !asked[name+" "+o.Value] {
					c.wrong("case %s: %s was not asked about %s", e.Case.ID, name, o.Value)
				}
			}
		}
		if int(e.Case.Score.Total) != 100*most {
			c.wrong("case %s has the score %s, want %d", e.Case.ID, e.Case.Score.Total, most)
		}
	}
}

// intents: each case has the steps that it must have, each for one target once.
func (c *check) intents() {
	type place struct {
		at           int
		step, target string
	}
	had := map[place]int{}
	for _, in := range c.o.Intents {
		at, ok := c.cases[in.Case]
		if !ok {
			c.wrong("intent %s is of the case %s, which there is not", in.ID, in.Case)
			continue
		}
		if in.Action != "action.fence" {
			had[place{at, in.Step, in.Target.Value}]++
		}
		switch in.State {
		case model.IntentPending:
			c.wrong("intent %s (%s) is still pending", in.ID, in.Verb)
		case model.IntentUnknown:
			c.tally.Unknown++
		}
	}
	for i, e := range c.o.Cases {
		act := e.Case.Severity >= actThreshold
		weigh := e.Case.Score.Total >= 100*weighThreshold
		hosts := 0
		if c.ofDoors(e.Signals) {
			rung := had[place{i, "ring", "soc@example.org"}]
			delete(had, place{i, "ring", "soc@example.org"})
			if must := e.Case.Severity >= ringThreshold; must && rung < 1 || !must && rung > 0 || rung > len(e.Signals) {
				c.wrong("case %s (severity %d, %d signals): %d times ring", e.Case.ID, e.Case.Severity, len(e.Signals), rung)
			}
			continue
		}
		for _, s := range e.Case.Subjects {
			if s.Kind != "host" {
				continue
			}
			hosts++
			for step, must := range map[string]bool{"scan": act, "collect": act, "ticket": weigh} {
				n := had[place{i, step, s.Value}]
				delete(had, place{i, step, s.Value})
				if must && n != 1 || !must && n != 0 {
					c.wrong("case %s (severity %d, score %s): %d times %s of %s", e.Case.ID, e.Case.Severity, e.Case.Score.Total, n, step, s.Value)
				}
			}
		}
		// Cases that became one may each have told of themselves.
		for _, step := range []string{"tell", "mail"} {
			n := had[place{i, step, "soc@example.org"}]
			delete(had, place{i, step, "soc@example.org"})
			if act && (n < 1 || n > hosts) || !act && n != 0 {
				c.wrong("case %s (severity %d, %d hosts): %d times %s", e.Case.ID, e.Case.Severity, hosts, n, step)
			}
		}
	}
	for p, n := range had {
		c.wrong("case %s: %d times %s of %s, which it does not have", c.o.Cases[p.at].Case.ID, n, p.step, p.target)
	}
}

// effects: none twice, none that nobody decided, and none is told that was not, nor
// denied that was.
func (c *check) effects() {
	intents := map[string]model.Intent{}
	for _, in := range c.o.Intents {
		intents[in.ID] = in
	}
	for key, effects := range c.o.Effects {
		in, ok := intents[key]
		if !ok {
			c.wrong("%s took effect (%s of %s), and is no intent", key, effects[0].Call.Verb, effects[0].Call.Target)
			continue
		}
		c.tally.Effects[in.Verb] += len(effects)
		unmarked := 0
		for _, e := range effects {
			if e.Call.Attempt <= 1 {
				unmarked++
			}
		}
		if in.Verb == "notify" && unmarked > 1 {
			c.wrong("%s was notified %d times unmarked", key, unmarked)
			c.tally.Doubled++
		}
		if in.Verb != "notify" && len(effects) > 1 {
			c.wrong("%s (%s of %s) took effect %d times", key, in.Verb, in.Target.Value, len(effects))
			c.tally.Doubled++
		}
	}
	for _, in := range c.o.Intents {
		if in.Action == "action.mail" || in.Action == "action.fence" {
			continue
		}
		n := len(c.o.Effects[in.ID])
		switch in.State {
		case model.IntentDone, model.IntentAlready:
			if n == 0 {
				c.wrong("%s (%s of %s) is %s, and did not happen", in.ID, in.Verb, in.Target.Value, in.State)
			}
		case model.IntentFailed, model.IntentRefused:
			// A refusal speaks of its own call: before it one may have been lost that a
			// repeat was allowed for.
			if n > 0 && in.Verb != "notify" && in.Verb != "ticket" {
				c.wrong("%s (%s of %s) is %s, and happened", in.ID, in.Verb, in.Target.Value, in.State)
			}
		}
		if in.Verb == "notify" && n > 1 && in.State == model.IntentDone && !in.Repeat {
			c.wrong("%s was notified %d times, and its outcome does not say so", in.ID, n)
		}
	}
}

// mails: each is there once, and what came again says so.
func (c *check) mails() {
	plain, all := map[string]int{}, map[string]int{}
	for _, l := range c.o.Mails {
		all[l.id]++
		if !l.repeat {
			plain[l.id]++
		}
	}
	c.tally.Effects["mail"] += len(c.o.Mails)
	for id, n := range plain {
		if n > 1 {
			c.wrong("mail %s came %d times unmarked", id, n)
			c.tally.Doubled++
		}
	}
	intents, done := 0, 0
	for _, in := range c.o.Intents {
		if in.Action == "action.mail" {
			intents++
			if in.State == model.IntentDone {
				done++
			}
		}
	}
	if len(all) < done || len(all) > intents {
		c.wrong("%d different mails for %d steps, of which %d are done", len(all), intents, done)
	}
}
