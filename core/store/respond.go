package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// pendingLimit bounds how many intents are handed out at once.
const pendingLimit = 256

// PendingIntents lists intents to carry out, oldest first; none while actions are
// paused.
func (s *Store) PendingIntents(ctx context.Context) ([]model.Intent, error) {
	flags, err := s.Flags(ctx)
	if err != nil || flags.Paused {
		return nil, err
	}
	return queryDocs[model.Intent](ctx, s,
		`SELECT doc FROM intents WHERE state = 'pending' ORDER BY planned, id LIMIT ?`, pendingLimit)
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

// Attempts of an intent, by number.
func (s *Store) Attempts(ctx context.Context, intent string) ([]respond.Attempt, error) {
	return queryDocs[respond.Attempt](ctx, s, `SELECT doc FROM attempts WHERE intent = ? ORDER BY number`, intent)
}

// SaveAttempt writes a claim, or what became of it.
func (s *Store) SaveAttempt(ctx context.Context, a respond.Attempt) error {
	return s.transact(ctx, func(tx *sql.Tx) error {
		w := writer{ctx: ctx, tx: tx}
		state := string(a.State)
		if state == "" {
			state = "claimed"
		}
		w.each(1, `INSERT OR REPLACE INTO attempts (intent, number, epoch, claimed, not_after, state, doc) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			func(int) []any {
				return []any{a.Intent, a.Number, a.Epoch, a.Claimed.UnixNano(), a.NotAfter.UnixNano(), state, w.json(a)}
			})
		return w.err
	})
}

// queryDocs reads rows whose only column is a JSON document.
func queryDocs[T any](ctx context.Context, s *Store, query string, args ...any) ([]T, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var doc sql.RawBytes
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(doc, &v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, classify(rows.Err())
}

func getDoc[T any](ctx context.Context, s *Store, query string, args ...any) (T, error) {
	var v T
	var doc []byte
	if err := s.read.QueryRowContext(ctx, query, args...).Scan(&doc); err != nil {
		return v, classify(err)
	}
	return v, json.Unmarshal(doc, &v)
}
