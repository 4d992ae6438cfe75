package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Keys of the meta table.
const (
	metaPosition = "inputs_position" // decide.Position
	metaAt       = "decide_time"
	metaFlags    = "flags" // decide.Flags
	metaEpoch    = "epoch"
	metaSums     = "sums"    // decide.Sums
	metaSource   = "source:" // and the source's address: decide.SourceState
)

// Commit writes what decide changed, all of it or nothing. The same changes may be
// committed again.
func (s *Store) Commit(ctx context.Context, c decide.Changes) error {
	_, err := s.CommitClaiming(ctx, c, nil)
	return err
}

func (w *writer) changes(c decide.Changes) {
	n := numbers{signals: make(map[string]int64, len(c.Signals)), cases: make(map[string]int64, len(c.Cases))}
	w.records(Place(c.Position), c.At, c.Records) // before the intents: it counts those that were there
	w.signals(c, n)
	w.experimental(c)
	w.cases(c, n)
	w.members(c, n)
	w.aliases(c)
	w.outcomes(c, n)
	w.asks(c)
	w.intents(c)
	w.holds(c)
	w.questions(c)
	w.schedules(c)
	w.proposals(c)
	w.cursors(c)
	w.counts(c)
	w.memory(c, n)
	w.meta(metaPosition, c.Position)
	w.meta(metaAt, c.At)
	if c.Flags != nil {
		w.meta(metaFlags, c.Flags)
	}
}

// numbers are those of the rows that a transaction has added, by id: what belongs to
// them need not look for them.
type numbers struct{ signals, cases map[string]int64 }

const (
	addSignal = `INSERT INTO signals (id, rule, source, time, doc, raw) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	setSignal = `UPDATE signals SET rule = ?2, source = ?3, time = ?4, doc = ?5, raw = ?6 WHERE id = ?1`
)

func (w *writer) signals(c decide.Changes, n numbers) {
	for _, g := range c.Signals {
		raw := g.Raw
		g.Raw = nil
		args := []any{g.ID, g.Rule, g.Source, g.Time.UnixNano(), w.json(g), raw}
		if number, added := w.add(addSignal, args...); added {
			n.signals[g.ID] = number
		} else {
			w.exec(setSignal, args...)
		}
	}
}

const (
	addCase = `INSERT INTO cases (id, state, score, first, last, updated, waiting, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	setCase = `UPDATE cases SET state = ?2, score = ?3, first = ?4, last = ?5, updated = ?6, waiting = ?7, doc = ?8 WHERE id = ?1`
)

func (w *writer) cases(c decide.Changes, n numbers) {
	more := 0
	for i := range c.Cases {
		k := &c.Cases[i]
		waiting := 0
		if k.Pending > 0 {
			waiting = k.Size
		}
		args := []any{k.ID, string(k.State), int64(k.Score.Total), k.FirstAt.UnixNano(), k.LastAt.UnixNano(), k.UpdatedAt.UnixNano(), waiting, w.json(k)}
		number, added := w.add(addCase, args...)
		switch {
		case !added:
			w.exec(setCase, args...)
			continue
		case k.State != model.CaseMerged:
			more++
		}
		n.cases[k.ID] = number
	}
	if more > 0 {
		w.exec(`UPDATE case_count SET n = n + ? WHERE id = 1`, more)
	}
}

const (
	putMember = `INSERT INTO members (signal, case_number)
	SELECT s.number, c.number FROM signals s CROSS JOIN cases c WHERE s.id = ? AND c.id = ?
	ON CONFLICT (signal) DO UPDATE SET case_number = excluded.case_number`
	putNumbers = `INSERT INTO members (signal, case_number) VALUES (?, ?)
	ON CONFLICT (signal) DO UPDATE SET case_number = excluded.case_number`
)

func (w *writer) members(c decide.Changes, n numbers) {
	for _, m := range c.Members {
		signal, there := n.signals[m.Signal]
		if in, ok := n.cases[m.Case]; there && ok {
			w.exec(putNumbers, signal, in)
		} else if rows := w.count(putMember, m.Signal, m.Case); rows != 1 && w.err == nil {
			w.err = fmt.Errorf("signal %s of case %s: %w", m.Signal, m.Case, ErrNotFound)
		}
	}
}

func (w *writer) aliases(c decide.Changes) {
	for _, a := range c.Aliases {
		if a.Case == "" {
			w.exec(`DELETE FROM case_aliases WHERE alias = ?`, a.ID)
			continue
		}
		w.exec(`INSERT INTO case_aliases (alias, case_id) VALUES (?, ?)
			ON CONFLICT (alias) DO UPDATE SET case_id = excluded.case_id`, a.ID, a.Case)
	}
}

func (w *writer) asks(c decide.Changes) {
	at := Place(c.Position)
	for i := range c.Asks {
		a := &c.Asks[i]
		w.exec(`INSERT OR IGNORE INTO asks (id, enrichment, kind, value, state, asked, place, severity, doc) VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?)`,
			a.ID, a.Enrichment, a.Observable.Kind, a.Observable.Value, a.AskedAt.UnixNano(), at, a.Severity, w.json(a))
	}
	for i := range c.Answers {
		r := &c.Answers[i]
		if n := w.count(`UPDATE asks SET state = ?, answer = ? WHERE id = ?`, string(r.State), w.json(r), r.Ask); n != 1 && w.err == nil {
			w.err = fmt.Errorf("ask %s: %w", r.Ask, ErrNotFound)
		}
	}
}

func (w *writer) intents(c decide.Changes) {
	at := Place(c.Position)
	for i := range c.Intents {
		n := c.Intents[i]
		// Of an intent that was there before, decide does not keep what it was planned with.
		parameters, known := []byte(n.Parameters), []byte(n.Target.Known)
		n.Parameters, n.Target.Known = nil, nil
		w.exec(`INSERT INTO intents (id, case_number, action, state, planned, place, score, deadline, doc, parameters, known)
			VALUES (?, (SELECT number FROM cases WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET case_number = excluded.case_number, action = excluded.action, state = excluded.state,
			planned = excluded.planned, score = excluded.score, deadline = excluded.deadline, doc = excluded.doc`,
			n.ID, n.Case, n.Action, string(n.State), n.PlannedAt.UnixNano(), at, int64(n.Score), deadlineOf(&n), w.json(&n), parameters, known)
	}
}

func (w *writer) counts(c decide.Changes) {
	for i := range c.Ledger {
		l := &c.Ledger[i]
		w.exec(`INSERT INTO ledger (source, hour, doc) VALUES (?, ?, ?) ON CONFLICT (source, hour) DO UPDATE SET doc = excluded.doc`,
			l.Source, l.Hour.Unix(), w.json(l))
	}
	for i := range c.Sources {
		w.meta(metaSource+c.Sources[i].Source, c.Sources[i])
	}
	if c.Sums != nil {
		w.meta(metaSums, c.Sums)
	}
	for i := range c.Configs {
		v := &c.Configs[i]
		w.exec(`INSERT INTO config_versions (hash, seq, doc) VALUES (?, ?, ?)
			ON CONFLICT (hash) DO UPDATE SET seq = excluded.seq, doc = excluded.doc`, v.Hash, int64(v.Position.Seq), w.json(v))
	}
}

// Place is a number that grows from commit to commit, so that who reads rows in its
// order misses none. A message of INPUTS has at most 1 MiB, and so fewer parts.
func Place(p decide.Position) int64 { return int64(p.Seq)<<20 | int64(min(p.Part, 1<<20-1)) }

// Position is the last input whose changes are committed; zero at the beginning.
func (s *Store) Position(ctx context.Context) (decide.Position, error) {
	var p decide.Position
	err := s.getMeta(ctx, metaPosition, &p)
	if errors.Is(err, ErrNotFound) {
		return decide.Position{}, nil
	}
	return p, err
}

// Flags are what holds for everything; the zero value at the beginning.
func (s *Store) Flags(ctx context.Context) (decide.Flags, error) {
	var f decide.Flags
	err := s.getMeta(ctx, metaFlags, &f)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return f, err
}

// NextEpoch gives this process a number higher than every one before it.
func (s *Store) NextEpoch(ctx context.Context) (int64, error) {
	var epoch int64
	err := s.transact(ctx, func(w *writer) (err error) {
		if epoch, err = w.epoch(); err != nil {
			return err
		}
		epoch++
		w.meta(metaEpoch, epoch)
		return nil
	})
	return epoch, err
}

// epoch that is in force; 0 before the first.
func (w *writer) epoch() (int64, error) {
	var text string
	err := w.scan(`SELECT value FROM meta WHERE key = ?`, []any{metaEpoch}, &text)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("epoch: %w", err)
	}
	return epoch, nil
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

// metaCheckpointBefore holds the decide.EarlierCheckpoint before the last one.
const metaCheckpointBefore = "checkpoint_before"

// Checkpoint returns the last one; its File is empty if there is none.
func (s *Store) Checkpoint(ctx context.Context) (decide.Checkpoint, error) {
	var c decide.Checkpoint
	err := s.read.QueryRowContext(ctx, `SELECT file, hash, seq FROM checkpoints WHERE id = 1`).Scan(&c.File, &c.Hash, &c.Seq)
	if err == nil {
		err = s.getMeta(ctx, metaCheckpointBefore, &c.Before)
	}
	if err = classify(err); errors.Is(err, ErrNotFound) {
		err = nil
	}
	return c, err
}

// SaveCheckpoint replaces the last one and the one before it.
func (s *Store) SaveCheckpoint(ctx context.Context, c decide.Checkpoint) error {
	return s.transact(ctx, func(w *writer) error {
		w.exec(`INSERT OR REPLACE INTO checkpoints (id, file, hash, seq) VALUES (1, ?, ?, ?)`, c.File, c.Hash, int64(c.Seq))
		w.meta(metaCheckpointBefore, c.Before)
		return nil
	})
}
