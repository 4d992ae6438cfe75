package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/audit"
	"github.com/kelpie-sec/kelpie/core/model"
)

const lastEntry = `SELECT seq, place, hash FROM audit ORDER BY seq DESC LIMIT 1`

// records adds to the audit what decide did up to a place, unless it has that already.
func (w *writer) records(place int64, at time.Time, all []model.Record) {
	if len(all) == 0 || w.err != nil {
		return
	}
	head, last, err := w.auditHead()
	switch {
	case err != nil:
		w.err = err
		return
	case last >= place:
		return
	case head.Seq == 0:
		all = append(w.began(at), all...)
	}
	for i := range all {
		record := w.json(&all[i])
		e := audit.Next(head, record)
		w.exec(`INSERT INTO audit (seq, place, hash, record) VALUES (?, ?, ?, ?)`, int64(e.Seq), place, e.Hash[:], record)
		head = e.Head()
	}
	w.trail = &trailEnd{head, place}
}

// trailEnd is the end of the audit. The writer remembers it until a transaction fails.
type trailEnd struct {
	head  audit.Head
	place int64
}

func (w *writer) auditHead() (h audit.Head, place int64, err error) {
	if w.trail != nil {
		return w.trail.head, w.trail.place, nil
	}
	var hash []byte
	err = w.scan(lastEntry, nil, &h.Seq, &place, &hash)
	if errors.Is(err, ErrNotFound) {
		return audit.Head{}, -1, nil
	}
	copy(h.Hash[:], hash)
	return h, place, err
}

// began is the first record where there were intents before there was an audit.
func (w *writer) began(at time.Time) []model.Record {
	counts := map[string]int{}
	for _, state := range intentStates {
		var n int
		if err := w.scan(`SELECT count(*) FROM intents WHERE state = ?`, []any{string(state)}, &n); err != nil {
			w.err = err
			return nil
		}
		if n > 0 {
			counts[string(state)] = n
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return []model.Record{{At: at, Kind: model.RecordBegan, Intents: counts}}
}

var intentStates = [...]model.IntentState{
	model.IntentPending, model.IntentDone, model.IntentAlready, model.IntentRefused, model.IntentFailed,
	model.IntentUnknown, model.IntentUndone, model.IntentGathered,
}

const entriesAfter = `SELECT seq, hash, record FROM audit WHERE seq > ? ORDER BY seq LIMIT ?`

// Audit lists entries after a sequence.
func (s *Store) Audit(ctx context.Context, after uint64, limit int) ([]audit.Entry, error) {
	return queryRows(ctx, s, entry, entriesAfter, int64(after), limit)
}

// AuditHead is the head of the trail; zero if it is empty. It follows nothing.
func (s *Store) AuditHead(ctx context.Context) (h audit.Head, err error) {
	all, err := queryRows(ctx, s, entry, `SELECT seq, hash, record FROM audit ORDER BY seq DESC LIMIT 1`)
	if len(all) > 0 {
		h = all[0].Head()
	}
	return h, err
}

// entry reads what there is, whatever somebody has made of it: the chain tells.
func entry(scan scanner) (e audit.Entry, err error) {
	var hash, record []byte
	err = scan(&e.Seq, &hash, &record)
	copy(e.Hash[:], hash)
	e.Record = record
	return e, err
}

// VerifyAudit follows the whole chain and compares it with the intents that there are,
// at one moment. An error of the chain itself is an *audit.BrokenError; differ says
// where the tables do not agree with it.
// v holds the head afterwards.
func (s *Store) VerifyAudit(ctx context.Context, v *audit.Verifier) (differ []string, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, classify(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	rows, err := tx.QueryContext(ctx, entriesAfter, 0, -1)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := entry(rows.Scan)
		if err == nil {
			err = v.Add(e)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, classify(err)
	}
	if err := v.End(); err != nil {
		return nil, err
	}
	counts, err := intentCounts(ctx, tx)
	if err != nil {
		return nil, err
	}
	return v.Compare(counts), nil
}

func intentCounts(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT state, count(*) FROM intents WHERE state != 'done' GROUP BY state
		UNION ALL SELECT 'all', count(*) FROM intents`)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[state] = n
	}
	done := counts["all"]
	delete(counts, "all")
	for _, n := range counts {
		done -= n
	}
	if done > 0 {
		counts[string(model.IntentDone)] = done
	}
	return counts, classify(rows.Err())
}
