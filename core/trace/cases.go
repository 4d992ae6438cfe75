package trace

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what is read of cases.
const (
	// mostMembers of a case that is put together again.
	mostMembers = 2000
	// newestCases are looked at for those that an event would join, and joinedCases of
	// them taken.
	newestCases = 500
	joinedCases = 5
)

// cases says which cases the event's signals are in, and those that the configuration
// would make where that is something else.
func (t *Tracer) cases(ctx context.Context, r *Report, f found) error {
	var stored []Signal
	if r.Stored != nil {
		stored = r.Stored.Signals
	}
	byCase := map[string][]string{}
	for _, g := range stored {
		byCase[g.Case] = append(byCase[g.Case], g.ID)
	}
	for i := range r.Facts {
		if f := &r.Facts[i]; f.Stored && !slices.Contains(byCase[f.Case], f.Signal) {
			byCase[f.Case] = append(byCase[f.Case], f.Signal)
		}
	}
	var ids []string
	for id := range byCase {
		if id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var others []model.Signal // of the cases that it is in
	for _, id := range ids {
		c, members, err := t.storedCase(ctx, id, byCase[id])
		if err != nil {
			return err
		}
		r.Cases = append(r.Cases, c)
		others = append(others, members...)
	}
	if t.same(r) || len(r.Match.Signals) == 0 {
		return nil
	}
	var own []string
	for _, g := range r.Match.Signals {
		own = append(own, g.ID)
	}
	gone := slices.Clone(own)
	for _, g := range stored { // what would not be reported any more
		gone = append(gone, g.ID)
	}
	left := ""
	if len(ids) == 0 && t.Store != nil {
		var err error
		if others, left, err = t.neighbours(ctx, r.Match.Signals); err != nil {
			return err
		}
	}
	others = slices.DeleteFunc(others, func(g model.Signal) bool { return slices.Contains(gone, g.ID) })
	would, err := t.would(ctx, append(others, r.Match.Signals...), own, nil)
	for i := range would {
		would[i].Alone, would[i].Left = t.Store == nil, left
	}
	r.Cases = append(r.Cases, would...)
	return err
}

// same tells whether what happened is all that the configuration would make of it.
func (t *Tracer) same(r *Report) bool {
	if r.Stored == nil || t.Hash != t.InForce || len(r.Stored.Signals) != len(r.Match.Signals) {
		return false
	}
	return !slices.ContainsFunc(r.Match.Signals, func(g model.Signal) bool {
		return !slices.ContainsFunc(r.Stored.Signals, func(s Signal) bool { return s.ID == g.ID })
	})
}

// storedCase is a case as it is stored, and its signals.
func (t *Tracer) storedCase(ctx context.Context, id string, own []string) (Case, []model.Signal, error) {
	row, err := t.Store.Case(ctx, id)
	if err != nil {
		return Case{}, nil, err
	}
	c := Case{Case: row, Own: own, Responses: []plan.Followed{}}
	if c.Intents, err = t.Store.CaseIntents(ctx, append([]string{row.ID, row.FirstID}, row.Aliases...)); err != nil {
		return c, nil, err
	}
	if row.Size > mostMembers {
		c.Left = fmt.Sprintf("it has %d signals, too many to say why its responses did what they did", row.Size)
		c.Shared = []Shared{}
		c.Lookups, err = t.Store.Lookups(ctx, row.Observables(nil))
		t.showCase(&c)
		return c, nil, err
	}
	members, err := t.Store.CaseSignals(ctx, id, false)
	if err != nil {
		return c, nil, err
	}
	if c.Lookups, err = t.Store.Lookups(ctx, row.Observables(members)); err != nil {
		return c, nil, err
	}
	c.Shared = t.shared(own, members)
	if t.Hash != t.InForce { // what it would be is told by a case of its own
		t.showCase(&c)
		return c, members, nil
	}
	again, err := t.would(ctx, members, own, c.Intents)
	if err != nil {
		return c, nil, err
	}
	t.showCase(&c)
	for _, w := range again {
		matchIntents(w.Responses, c.Intents)
		c.Responses = append(c.Responses, w.Responses...)
	}
	return c, members, nil
}

// matchIntents puts the steps as they were really planned in the place of those that
// were planned again.
func matchIntents(responses []plan.Followed, intents []model.Intent) {
	for i := range responses {
		r := &responses[i]
		for j := range r.Steps {
			for k := range r.Steps[j].Targets {
				f := &r.Steps[j].Targets[k]
				at := slices.IndexFunc(intents, func(in model.Intent) bool {
					return in.Undoes == "" && !in.Preview && in.Response == r.Response && in.Step == r.Steps[j].Step && in.Target.Kind == f.Kind && in.Target.Value == f.Value
				})
				if f.Intent == "" && at < 0 {
					continue
				}
				if at < 0 {
					f.Intent, f.State, f.Held = "", "", "it was not planned"
					continue
				}
				f.Intent, f.State, f.DryRun = intents[at].ID, intents[at].State, intents[at].DryRun
			}
		}
	}
}

// shared are the values that a case's other signals have in common with these.
func (t *Tracer) shared(own []string, members []model.Signal) []Shared {
	all := []Shared{}
	at := map[string]int{}
	for _, g := range members {
		if !slices.Contains(own, g.ID) {
			continue
		}
		for _, o := range g.Observables {
			if _, had := at[o.Key()]; had {
				continue
			}
			at[o.Key()] = len(all)
			never := slices.ContainsFunc(t.Decide.Correlate.NeverJoin, func(n sdk.Observable) bool { return n.Key() == o.Key() })
			o.Role = sdk.NoRole
			all = append(all, Shared{Observable: o, Never: never})
		}
	}
	for _, g := range members {
		if slices.Contains(own, g.ID) {
			continue
		}
		had := map[string]bool{}
		for _, o := range g.Observables {
			i, ok := at[o.Key()]
			if !ok || had[o.Key()] {
				continue
			}
			had[o.Key()] = true
			s := &all[i]
			s.Signals++
			if rule := t.Shown(g.Rule); !slices.Contains(s.Rules, rule) {
				s.Rules = append(s.Rules, rule)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s Shared) bool { return s.Signals == 0 })
	slices.SortStableFunc(all, func(a, b Shared) int { return cmp.Compare(b.Signals, a.Signals) })
	return all[:min(len(all), maxShared)]
}

// maxShared bounds what is told of why a signal is in its case.
const maxShared = 20

// neighbours are the signals of cases that an event would join: among the newest.
func (t *Tracer) neighbours(ctx context.Context, own []model.Signal) (all []model.Signal, left string, err error) {
	newest, err := t.Store.NewestCases(ctx, newestCases)
	if err != nil {
		return nil, "", err
	}
	taken := 0
	for i := range newest {
		c := &newest[i]
		if !t.joins(c, own) {
			continue
		}
		if taken++; taken > joinedCases || c.Size > mostMembers {
			left = fmt.Sprintf("of the cases that it would join not all were looked at, such as %s", c.ID)
			continue
		}
		members, err := t.Store.CaseSignals(ctx, c.ID, false)
		if err != nil {
			return nil, "", err
		}
		all = append(all, members...)
	}
	if len(newest) == newestCases && left == "" {
		left = fmt.Sprintf("only the newest %d cases were looked at for those that it would join", newestCases)
	}
	return all, left, nil
}

// joins tells whether an event's signals may belong to a case.
func (t *Tracer) joins(c *model.Case, own []model.Signal) bool {
	window := t.Decide.Correlate.Window
	for i := range own {
		g := &own[i]
		if g.Time.Before(c.FirstAt.Add(-window)) || g.Time.After(c.LastAt.Add(window)) {
			continue
		}
		for _, o := range g.Observables {
			if slices.ContainsFunc(t.Decide.Correlate.NeverJoin, func(n sdk.Observable) bool { return n.Key() == o.Key() }) {
				continue
			}
			is := func(p sdk.Observable) bool { return p.Key() == o.Key() }
			if slices.ContainsFunc(c.Subjects, is) || slices.ContainsFunc(c.Indicators, is) {
				return true
			}
		}
	}
	return false
}

// showCase puts the addresses of now into a case.
func (t *Tracer) showCase(c *Case) {
	for i := range c.Rules {
		c.Rules[i] = t.Shown(c.Rules[i])
	}
	for i := range c.Lookups {
		c.Lookups[i].Ask.Enrichment = t.Shown(c.Lookups[i].Ask.Enrichment)
	}
	for i := range c.Notes {
		c.Notes[i].Response = t.Shown(c.Notes[i].Response)
	}
	for i := range c.Responses {
		r := &c.Responses[i]
		r.Response = t.Shown(r.Response)
		for j := range r.Steps {
			r.Steps[j].Action = t.Shown(r.Steps[j].Action)
		}
	}
	for i := range c.Intents {
		c.Intents[i].Response, c.Intents[i].Action = t.Shown(c.Intents[i].Response), t.Shown(c.Intents[i].Action)
	}
}
