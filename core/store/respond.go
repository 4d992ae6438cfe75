package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// Paused tells whether actions are paused.
func (s *Store) Paused(ctx context.Context) (bool, error) {
	f, err := s.Flags(ctx)
	return f.Paused, err
}

// pendingActions goes from action to action by the index, however many intents
// each has.
const pendingActions = `WITH RECURSIVE found (action) AS (
		SELECT min(action) FROM intents WHERE state = 'pending'
		UNION ALL
		SELECT (SELECT min(i.action) FROM intents i WHERE i.state = 'pending' AND i.action > found.action)
		FROM found WHERE found.action IS NOT NULL)
	SELECT action FROM found WHERE action IS NOT NULL`

// PendingActions lists the actions that have pending intents.
func (s *Store) PendingActions(ctx context.Context) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (action string, err error) {
		return action, scan(&action)
	}, pendingActions)
}

const pendingIntents = `SELECT place, id FROM intents
	WHERE state = 'pending' AND action = ?1 AND (place, id) > (?2, ?3) ORDER BY place, id LIMIT ?4`

// PendingIntents lists an action's pending intents after a place, oldest first.
func (s *Store) PendingIntents(ctx context.Context, action string, after respond.Place, limit int) ([]respond.Place, error) {
	return queryRows(ctx, s, func(scan scanner) (p respond.Place, err error) {
		return p, scan(&p.Number, &p.Intent)
	}, pendingIntents, action, after.Number, after.Intent, limit)
}

// Journal returns an intent and its attempts, by number.
func (s *Store) Journal(ctx context.Context, intent string) (model.Intent, []respond.Attempt, error) {
	in, err := s.Intent(ctx, intent)
	if err != nil {
		return model.Intent{}, nil, err
	}
	attempts, err := s.Attempts(ctx, intent)
	return in, attempts, err
}

const attemptsOf = `SELECT doc FROM attempts WHERE intent = ? ORDER BY number`

// Attempts of an intent, by number.
func (s *Store) Attempts(ctx context.Context, intent string) ([]respond.Attempt, error) {
	return queryDocs[respond.Attempt](ctx, s, attemptsOf, intent)
}

// Claim writes a new attempt of a pending intent. It fails with respond.ErrPaused,
// respond.ErrFenced or respond.ErrSettled, and then nothing was written.
func (s *Store) Claim(ctx context.Context, a respond.Attempt) error {
	return s.transact(ctx, func(w *writer) error {
		epoch, err := w.epoch()
		if err != nil {
			return err
		}
		if epoch > a.Epoch {
			return respond.ErrFenced
		}
		var f decide.Flags
		if err := w.getMeta(metaFlags, &f); err != nil {
			return err
		}
		if f.Paused {
			return respond.ErrPaused
		}
		var state string
		err = w.scan(`SELECT state FROM intents WHERE id = ?`, []any{a.Intent}, &state)
		if err != nil {
			return fmt.Errorf("intent %s: %w", a.Intent, err)
		}
		var attempts int
		if err := w.scan(`SELECT count(*) FROM attempts WHERE intent = ?`, []any{a.Intent}, &attempts); err != nil {
			return err
		}
		if state != string(model.IntentPending) || a.Number != attempts+1 {
			return respond.ErrSettled
		}
		w.attempt(a)
		return nil
	})
}

// SaveAttempt writes what became of an attempt.
func (s *Store) SaveAttempt(ctx context.Context, a respond.Attempt) error {
	return s.transact(ctx, func(w *writer) error {
		w.attempt(a)
		return nil
	})
}

func (w *writer) attempt(a respond.Attempt) {
	state := string(a.State)
	if state == "" {
		state = "claimed"
	}
	w.exec(`INSERT INTO attempts (intent, number, epoch, claimed, not_after, state, doc) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (intent, number) DO UPDATE SET state = excluded.state, doc = excluded.doc`,
		a.Intent, a.Number, a.Epoch, a.Claimed.UnixNano(), a.NotAfter.UnixNano(), state, w.json(a))
}

// getMeta leaves v as it is if there is no such key.
func (w *writer) getMeta(key string, v any) error {
	var value string
	err := w.scan(`SELECT value FROM meta WHERE key = ?`, []any{key}, &value)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = unmarshal([]byte(value), v)
	}
	return err
}
