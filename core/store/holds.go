package store

import (
	"context"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (w *writer) holds(c decide.Changes) {
	for i := range c.Holds {
		h := &c.Holds[i]
		w.exec(`INSERT INTO holds (id, action, target, state, since, doc) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, since = excluded.since, doc = excluded.doc`,
			h.ID, h.Action, h.Target.Value, string(h.State), h.Since.UnixNano(), w.json(h))
	}
}

const (
	holdsOfAll   = `SELECT doc FROM holds ORDER BY since, id`
	holdsInForce = `SELECT doc FROM holds WHERE state != 'released' ORDER BY since, id`
	holdsOn      = `SELECT doc FROM holds WHERE target = ? AND state != 'released' ORDER BY since, id`
)

// Holds lists what is held, longest first; with released, what was held as well.
func (s *Store) Holds(ctx context.Context, released bool) ([]model.Hold, error) {
	if released {
		return queryDocs[model.Hold](ctx, s, holdsOfAll)
	}
	return queryDocs[model.Hold](ctx, s, holdsInForce)
}

// HoldsOn lists what is held on targets of a value.
func (s *Store) HoldsOn(ctx context.Context, target string) ([]model.Hold, error) {
	return queryDocs[model.Hold](ctx, s, holdsOn, target)
}

// Hold returns one, also if it is released.
func (s *Store) Hold(ctx context.Context, id string) (model.Hold, error) {
	return getDoc[model.Hold](ctx, s, `SELECT doc FROM holds WHERE id = ?`, id)
}

// HoldCounts counts what is held by state.
func (s *Store) HoldCounts(ctx context.Context) (map[model.HoldState]int, error) {
	counts := map[model.HoldState]int{}
	_, err := queryRows(ctx, s, func(scan scanner) (struct{}, error) {
		var state string
		var n int
		err := scan(&state, &n)
		counts[model.HoldState(state)] = n
		return struct{}{}, err
	}, holdCounts)
	return counts, err
}

const holdCounts = `SELECT state, count(*) FROM holds WHERE state != 'released' GROUP BY state`

const holdingActions = `SELECT DISTINCT action FROM holds WHERE state != 'released' ORDER BY action`

// HoldingActions lists the action instances that still hold something, or may: each is
// needed for its undo.
func (s *Store) HoldingActions(ctx context.Context) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (action string, err error) {
		return action, scan(&action)
	}, holdingActions)
}
