package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/decide"
)

// Keys of the meta table.
const (
	metaPosition = "inputs_position" // decide.Position
	metaAt       = "decide_time"
	metaFlags    = "flags" // decide.Flags
	metaEpoch    = "epoch"
)

// Commit writes what decide changed, all of it or nothing.
func (s *Store) Commit(ctx context.Context, c decide.Changes) error {
	return s.transact(ctx, func(tx *sql.Tx) error {
		w := writer{ctx: ctx, tx: tx}
		w.signals(c)
		w.cases(c)
		w.asks(c)
		w.intents(c)
		w.counts(c)
		w.meta(metaPosition, c.Position)
		w.meta(metaAt, c.At)
		if c.Flags != nil {
			w.meta(metaFlags, c.Flags)
		}
		return w.err
	})
}

// writer writes rows until something fails.
type writer struct {
	ctx context.Context
	tx  *sql.Tx
	err error
}

// each prepares a statement once for the rows of one table. A row that can't be
// written ends it all.
func (w *writer) each(n int, query string, row func(i int) []any) {
	if w.err != nil || n == 0 {
		return
	}
	stmt, err := w.tx.PrepareContext(w.ctx, query)
	if err != nil {
		w.err = err
		return
	}
	defer stmt.Close()
	for i := range n {
		args := row(i)
		if w.err != nil {
			return
		}
		if _, err := stmt.ExecContext(w.ctx, args...); err != nil {
			w.err = err
			return
		}
	}
}

func (w *writer) json(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("encoding %T: %w", v, err)
	}
	return data
}

func (w *writer) meta(key string, value any) {
	w.each(1, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
		func(int) []any { return []any{key, string(w.json(value))} })
}

func (w *writer) signals(c decide.Changes) {
	w.each(len(c.Signals), `INSERT OR REPLACE INTO signals (id, rule, source, time, doc, raw) VALUES (?, ?, ?, ?, ?, ?)`,
		func(i int) []any {
			g := c.Signals[i]
			raw := g.Raw
			g.Raw = nil
			return []any{g.ID, g.Rule, g.Source, g.Time.UnixNano(), w.json(g), raw}
		})
}

func (w *writer) cases(c decide.Changes) {
	w.each(len(c.Cases), `INSERT OR REPLACE INTO cases (id, state, score, first, last, updated, doc) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		func(i int) []any {
			k := c.Cases[i]
			return []any{k.ID, k.State, int64(k.Score.Total), k.FirstAt.UnixNano(), k.LastAt.UnixNano(), k.UpdatedAt.UnixNano(), w.json(k)}
		})
	w.each(len(c.Members), `INSERT OR REPLACE INTO case_members (signal, case_id) VALUES (?, ?)`,
		func(i int) []any { return []any{c.Members[i].Signal, c.Members[i].Case} })
	var set, unset []decide.Alias
	for _, a := range c.Aliases {
		if a.Case == "" {
			unset = append(unset, a)
		} else {
			set = append(set, a)
		}
	}
	w.each(len(set), `INSERT OR REPLACE INTO case_aliases (alias, case_id) VALUES (?, ?)`,
		func(i int) []any { return []any{set[i].ID, set[i].Case} })
	w.each(len(unset), `DELETE FROM case_aliases WHERE alias = ?`,
		func(i int) []any { return []any{unset[i].ID} })
}

func (w *writer) asks(c decide.Changes) {
	w.each(len(c.Asks), `INSERT OR IGNORE INTO asks (id, enrichment, kind, value, state, asked, doc) VALUES (?, ?, ?, ?, 'pending', ?, ?)`,
		func(i int) []any {
			a := c.Asks[i]
			return []any{a.ID, a.Enrichment, a.Observable.Kind, a.Observable.Value, a.AskedAt.UnixNano(), w.json(a)}
		})
	w.each(len(c.Answers), `INSERT OR REPLACE INTO answers (ask, doc) VALUES (?, ?)`,
		func(i int) []any { return []any{c.Answers[i].Ask, w.json(c.Answers[i])} })
	w.each(len(c.Answers), `UPDATE asks SET state = ? WHERE id = ?`,
		func(i int) []any { return []any{c.Answers[i].State, c.Answers[i].Ask} })
}

func (w *writer) intents(c decide.Changes) {
	w.each(len(c.Intents), `INSERT OR REPLACE INTO intents (id, case_id, state, verb, planned, doc) VALUES (?, ?, ?, ?, ?, ?)`,
		func(i int) []any {
			n := c.Intents[i]
			return []any{n.ID, n.Case, n.State, n.Verb, n.PlannedAt.UnixNano(), w.json(n)}
		})
}

func (w *writer) counts(c decide.Changes) {
	w.each(len(c.Ledger), `INSERT OR REPLACE INTO ledger (source, hour, doc) VALUES (?, ?, ?)`,
		func(i int) []any { return []any{c.Ledger[i].Source, c.Ledger[i].Hour.Unix(), w.json(c.Ledger[i])} })
	w.each(len(c.Sources), `INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)`,
		func(i int) []any { return []any{sourceKey(c.Sources[i].Source), string(w.json(c.Sources[i]))} })
	w.each(len(c.Configs), `INSERT OR REPLACE INTO config_versions (hash, seq, doc) VALUES (?, ?, ?)`,
		func(i int) []any { return []any{c.Configs[i].Hash, int64(c.Position.Seq), w.json(c.Configs[i])} })
}

func sourceKey(source string) string { return "source:" + source }

// Position is the last input whose changes are committed; zero at the beginning.
func (s *Store) Position(ctx context.Context) (decide.Position, error) {
	var p decide.Position
	err := s.getMeta(ctx, metaPosition, &p)
	if errors.Is(err, ErrNotFound) {
		return decide.Position{}, nil
	}
	return p, err
}

// NextEpoch gives this process a number higher than every one before it.
func (s *Store) NextEpoch(ctx context.Context) (int64, error) {
	var epoch int64
	err := s.transact(ctx, func(tx *sql.Tx) error {
		var old string
		err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, metaEpoch).Scan(&old)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if old != "" {
			if epoch, err = strconv.ParseInt(old, 10, 64); err != nil {
				return fmt.Errorf("epoch: %w", err)
			}
		}
		epoch++
		w := writer{ctx: ctx, tx: tx}
		w.meta(metaEpoch, epoch)
		return w.err
	})
	return epoch, err
}

func (s *Store) getMeta(ctx context.Context, key string, v any) error {
	var value string
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, key).Scan(&value); err != nil {
		return classify(err)
	}
	if err := json.Unmarshal([]byte(value), v); err != nil {
		return fmt.Errorf("meta %s: %w", key, err)
	}
	return nil
}

// Checkpoint returns the last one; its File is empty if there is none.
func (s *Store) Checkpoint(ctx context.Context) (decide.Checkpoint, error) {
	var c decide.Checkpoint
	err := s.read.QueryRowContext(ctx, `SELECT file, hash, seq FROM checkpoints WHERE id = 1`).Scan(&c.File, &c.Hash, &c.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return c, classify(err)
}

// SaveCheckpoint replaces the last one.
func (s *Store) SaveCheckpoint(ctx context.Context, c decide.Checkpoint) error {
	return s.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO checkpoints (id, file, hash, seq) VALUES (1, ?, ?, ?)`, c.File, c.Hash, int64(c.Seq))
		return err
	})
}
