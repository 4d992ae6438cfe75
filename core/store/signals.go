package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// MostExperimental is how many signals of one experimental rule are kept: its newest.
const MostExperimental = 1000

// placeOf is a place in EVENTS as one number: the later event has the higher one.
func placeOf(p model.Position) int64 { return int64(p.Seq)<<16 | int64(p.Index&0xffff) }

// experimental writes signals of experimental rules. Which are kept depends on all that
// ever came, and not on how they were grouped: those with the highest places, the lowest of
// them with all that have its place.
func (w *writer) experimental(c decide.Changes) {
	rules := map[string]bool{}
	for _, g := range c.Experimental {
		raw := g.Raw
		g.Raw = nil
		w.exec(`INSERT INTO experimental (id, rule, place, doc, raw) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, place = excluded.place, doc = excluded.doc, raw = excluded.raw
			WHERE excluded.place >= place`,
			g.ID, g.Rule, placeOf(g.Position), w.json(g), raw)
		rules[g.Rule] = true
	}
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		w.exec(`DELETE FROM experimental WHERE rule = ?1 AND place < (
			SELECT place FROM experimental WHERE rule = ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2)`, rule, MostExperimental-1)
	}
}

// SignalQuery asks for signals.
type SignalQuery struct {
	// Rule that reported them; empty: any.
	Rule string
	// Experimental ones alone.
	Experimental bool
	// Limit is how many.
	Limit int
}

// searched is among how many of the newest signals those of a rule are looked for: they
// are in no order by rule.
const searched = 100_000

// Signals lists the newest signals without their payloads, the latest in EVENTS first.
func (s *Store) Signals(ctx context.Context, q SignalQuery) ([]model.Signal, error) {
	all, err := queryDocs[model.Signal](ctx, s, `SELECT doc FROM experimental WHERE ?1 = '' OR rule = ?1 ORDER BY place DESC LIMIT ?2`, q.Rule, q.Limit)
	if err != nil || q.Experimental {
		return all, err
	}
	others, err := queryDocs[model.Signal](ctx, s, `SELECT doc FROM signals
		WHERE number > (SELECT coalesce(max(number), 0) FROM signals) - ?1 AND (?2 = '' OR rule = ?2) ORDER BY number DESC LIMIT ?3`, searched, q.Rule, q.Limit)
	if err != nil {
		return nil, err
	}
	production := map[string]bool{}
	for i := range others {
		production[others[i].ID] = true
	}
	// A rule that was promoted may have reported the same event again.
	all = append(others, slices.DeleteFunc(all, func(g model.Signal) bool { return production[g.ID] })...)
	slices.SortStableFunc(all, func(a, b model.Signal) int {
		return cmp.Or(cmp.Compare(placeOf(b.Position), placeOf(a.Position)), cmp.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), q.Limit)], nil
}
