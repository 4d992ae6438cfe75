//go:build linux

package faulttest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// RefSignal is what a rule over several, or over signals, must report.
type RefSignal struct {
	ID       string
	Rule     string
	Time     time.Time
	Size     int
	Severity int
	Members  []string // by time, then id
	values   []string // that it shares with others of its case
}

// settled is a time at which nothing is waited for any more.
var settled = began.Add(1000 * time.Hour)

// ruleSignals works out what the rules must report of what the feeds offered: all of it
// from the set of the events, whatever their order. The log is asked for nothing but the
// ids that they have there.
func (c *check) ruleSignals() map[string]RefSignal {
	all := map[string]RefSignal{}
	made := map[string][]correlate.Fact{} // what the rules of the pack read, by what makes it
	var alerts []correlate.Fact
	for _, f := range c.w.Feeds {
		seen := map[string]bool{}
		for _, l := range c.o.Log[f.Name()] {
			key := f.Key(l.ID, payload(l))
			e, offered := c.m.Events[f.Name()][key]
			if !offered || seen[key] {
				continue
			}
			seen[key] = true
			source := "detector." + f.Name()
			switch {
			case e.Class == Fact:
				made[e.Door.Kind] = append(made[e.Door.Kind], correlate.Fact{
					ID: model.FactID(source, f.Plugin(), l.ID), Time: e.Time(), Number: 1000,
					Observables: []sdk.Observable{{Kind: sdk.User, Value: e.Door.User, Role: sdk.Subject}, {Kind: sdk.IP, Value: e.Door.From, Role: sdk.Indicator}},
				})
			case e.Class == Matched:
				for _, g := range e.Groups {
					alerts = append(alerts, correlate.Fact{
						Watch: alertRule, Key: "host:" + host(g), ID: model.SignalID("pipeline.alerts", source, f.Plugin(), l.ID), Time: e.Time(),
					})
				}
			}
		}
	}
	for _, r := range correlate.Reports(thriceWatch, alerts, settled) {
		s := reported(r, thriceSeverity)
		all[s.ID] = s
	}
	for _, rule := range ruledBy {
		w := rule.watch
		w.Rule = doorPrefix + rule.name
		var facts []correlate.Fact
		for term, from := range rule.terms {
			for _, f := range made[from] {
				f.Watch, f.Term = w.Rule, term
				f.Key = model.Grouping{Kinds: rule.by}.Texts(f.Observables, nil)[0]
				facts = append(facts, f)
			}
		}
		for _, r := range correlate.Reports(w, facts, settled) {
			s := reported(r, rule.severity)
			all[s.ID] = s
			made[w.Rule] = append(made[w.Rule], correlate.Fact{ID: s.ID, Time: s.Time, Observables: keyOf(r)})
			if w.Rule == guessedRule {
				s.Rule, s.Severity, s.Size, s.Members = markedRule, markedSeverity, 1, []string{s.ID}
				s.ID = model.SignalID(markedRule, "", "", s.ID)
				all[s.ID] = s
			}
		}
	}
	return all
}

func reported(r correlate.Report, severity int) RefSignal {
	s := RefSignal{ID: model.SeveralID(r.Watch, r.Key, r.Bucket), Rule: r.Watch, Time: r.Time, Size: r.Size, Severity: severity}
	for _, m := range r.Members {
		s.Members = append(s.Members, m.ID)
	}
	for _, o := range append(keyOf(r), r.Observables...) {
		s.values = append(s.values, o.Key())
	}
	return s
}

// keyOf is what a report is grouped by.
func keyOf(r correlate.Report) []sdk.Observable {
	var all []sdk.Observable
	names, values := model.KeyParts(r.Key)
	for i, name := range names {
		all = append(all, sdk.Observable{Kind: name, Value: values[i]})
	}
	return all
}

// rules: each has reported what it must, no more, and in the cases where that belongs.
func (c *check) rules() {
	got, in := map[string]model.Signal{}, map[string]string{} // by id
	members := map[string][]string{}                          // signals of the doors, by case
	for _, e := range c.o.Cases {
		for _, s := range e.Signals {
			in[s.ID] = e.Case.ID
			if s.Rule == "pipeline.alerts" {
				continue
			}
			if _, twice := got[s.ID]; twice {
				c.wrong("signal %s of %s is in two cases", s.ID, s.Rule)
			}
			got[s.ID] = s
			if s.Rule != alertRule {
				members[e.Case.ID] = append(members[e.Case.ID], s.ID)
			}
		}
	}
	counts := map[string]int{}
	for id, want := range c.reported {
		counts[want.Rule]++
		s, there := got[id]
		if !there {
			c.wrong("%s has no signal %s at %s of %d events", want.Rule, id, want.Time, want.Size)
			c.tally.Lost++
			continue
		}
		var ids []string
		for _, m := range s.Members {
			ids = append(ids, m.ID)
		}
		if s.Rule != want.Rule || !s.Time.Equal(want.Time) || s.Size != want.Size || s.Severity != want.Severity || !slices.Equal(ids, want.Members) {
			c.wrong("signal %s of %s at %s has severity %d and %d members %v; want %s at %s, %d, %d, %v",
				id, s.Rule, s.Time, s.Severity, s.Size, ids, want.Rule, want.Time, want.Severity, want.Size, want.Members)
		}
		if want.Rule == alertRule && in[id] != in[want.Members[0]] {
			c.wrong("signal %s of %s is in the case %s, and its events are in %s", id, s.Rule, in[id], in[want.Members[0]])
		}
	}
	for id, s := range got {
		if _, must := c.reported[id]; !must {
			c.wrong("%s has a signal %s at %s of %d events that it must not have", s.Rule, id, s.Time, s.Size)
			c.tally.Doubled++
		}
	}
	for _, r := range ruledBy {
		if rule := doorPrefix + r.name; counts[rule] == 0 {
			c.wrong("%s had nothing to report: the feeds prove nothing of it", rule)
		}
	}
	c.tally.Signals += len(got)
	c.tally.Reported += len(got)
	c.doorCases(members)
}

// doorCases are the signals of the doors that share values, with their ids and severities.
func (c *check) doorCases(members map[string][]string) {
	var want []string
	for _, group := range c.doorGroups() {
		first, severity := group[0], 0
		var ids []string
		for _, s := range group {
			if cmp.Or(s.Time.Compare(first.Time), strings.Compare(s.ID, first.ID)) < 0 {
				first = s
			}
			severity = max(severity, s.Severity)
			ids = append(ids, s.ID)
		}
		slices.Sort(ids)
		want = append(want, fmt.Sprint(model.CaseID(first.ID), severity, ids))
	}
	severities := map[string]int{}
	for _, e := range c.o.Cases {
		severities[e.Case.ID] = e.Case.Severity
	}
	var got []string
	for id, ids := range members {
		slices.Sort(ids)
		got = append(got, fmt.Sprint(id, severities[id], ids))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		at := differ(got, want)
		c.wrong("the doors have %d cases, want %d; from the %d-th on %.300q, want %.300q", len(got), len(want), at, got[at:], want[at:])
	}
}

// doorGroups joins what shares a value, again and again until nothing changes.
func (c *check) doorGroups() [][]RefSignal {
	root := map[string]string{} // value to the lowest that it is joined with
	ids := slices.Sorted(maps.Keys(c.reported))
	for changed := true; changed; {
		changed = false
		for _, id := range ids {
			s := c.reported[id]
			if s.Rule == alertRule {
				continue
			}
			low := s.values[0]
			for _, v := range s.values {
				if _, known := root[v]; !known {
					root[v] = v
				}
				low = min(low, root[v])
			}
			for _, v := range s.values {
				if root[v] != low {
					root[v], changed = low, true
				}
			}
		}
	}
	groups := map[string][]RefSignal{}
	for _, id := range ids {
		if s := c.reported[id]; s.Rule != alertRule {
			groups[root[s.values[0]]] = append(groups[root[s.values[0]]], s)
		}
	}
	return slices.Collect(maps.Values(groups))
}

// ofDoors tells whether a case is one of the doors'.
func (c *check) ofDoors(caseSignals []model.Signal) bool {
	return slices.ContainsFunc(caseSignals, func(s model.Signal) bool { return strings.HasPrefix(s.Rule, doorPrefix) })
}
