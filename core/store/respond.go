package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

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
		VALUES ('')
		UNION ALL
		SELECT (SELECT i.action FROM intents i INDEXED BY intents_pending
			WHERE i.state = 'pending' AND i.action > found.action ORDER BY i.action LIMIT 1)
		FROM found WHERE found.action IS NOT NULL)
	SELECT action FROM found WHERE action != ''`

// PendingActions lists the actions that have pending intents.
func (s *Store) PendingActions(ctx context.Context) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (action string, err error) {
		return action, scan(&action)
	}, pendingActions)
}

const (
	pendingIntents = `SELECT id, score, deadline, place FROM intents INDEXED BY intents_urgent
	WHERE state = 'pending' AND action = ?1 ORDER BY score DESC, deadline, place, id LIMIT ?2`
	oldestIntents = `SELECT id, score, deadline, place FROM intents INDEXED BY intents_pending
	WHERE state = 'pending' AND action = ?1 ORDER BY place, id LIMIT ?2`
)

// PendingIntents lists an action's pending intents, the highest score first, of these
// the nearest deadline, of these the oldest.
func (s *Store) PendingIntents(ctx context.Context, action string, limit int) ([]respond.Waiting, error) {
	return s.waiting(ctx, pendingIntents, action, limit)
}

// OldestIntents lists an action's pending intents, oldest first.
func (s *Store) OldestIntents(ctx context.Context, action string, limit int) ([]respond.Waiting, error) {
	return s.waiting(ctx, oldestIntents, action, limit)
}

func (s *Store) waiting(ctx context.Context, query, action string, limit int) ([]respond.Waiting, error) {
	return queryRows(ctx, s, func(scan scanner) (w respond.Waiting, err error) {
		var score, deadline int64
		err = scan(&w.Intent, &score, &deadline, &w.Place)
		w.Score = model.Hundredths(score)
		if deadline != noDeadline {
			w.Deadline = time.Unix(0, deadline).UTC()
		}
		return w, err
	}, query, action, limit)
}

// noDeadline comes after all others.
const noDeadline = math.MaxInt64

func deadlineOf(in *model.Intent) int64 {
	if in.Deadline.IsZero() {
		return noDeadline
	}
	return in.Deadline.UnixNano()
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

const attemptsOf = `SELECT doc FROM attempts WHERE intent = (SELECT number FROM intents WHERE id = ?) ORDER BY number`

// Attempts of an intent, by number.
func (s *Store) Attempts(ctx context.Context, intent string) ([]respond.Attempt, error) {
	return queryDocs[respond.Attempt](ctx, s, attemptsOf, intent)
}

// Claim writes a new attempt of a pending intent. It fails with respond.ErrPaused,
// respond.ErrFenced or respond.ErrSettled, and then nothing was written.
func (s *Store) Claim(ctx context.Context, a respond.Attempt) error {
	return s.transact(ctx, func(w *writer) error {
		if err := w.mayClaim(a.Epoch); err != nil {
			return err
		}
		var state string
		err := w.scan(`SELECT state FROM intents WHERE id = ?`, []any{a.Intent}, &state)
		if err != nil {
			return fmt.Errorf("intent %s: %w", a.Intent, err)
		}
		var attempts int
		if err := w.scan(`SELECT count(*) FROM attempts WHERE intent = (SELECT number FROM intents WHERE id = ?)`, []any{a.Intent}, &attempts); err != nil {
			return err
		}
		if state != string(model.IntentPending) || a.Number != attempts+1 {
			return respond.ErrSettled
		}
		w.attempt(a)
		return nil
	})
}

// ClaimFirst writes the first attempts of several pending intents that can agrees to,
// and gives those that it wrote. It fails with respond.ErrPaused or respond.ErrFenced,
// and then nothing was written.
func (s *Store) ClaimFirst(ctx context.Context, firsts []respond.Attempt, can func(*model.Intent) bool) ([]respond.Claimed, error) {
	var written []respond.Claimed
	err := s.transact(ctx, func(w *writer) error {
		written = nil
		for i, a := range firsts {
			if i == 0 {
				if err := w.mayClaim(a.Epoch); err != nil {
					return err
				}
			}
			in, err := w.intent(a.Intent)
			switch {
			case errors.Is(err, ErrNotFound):
				continue
			case err != nil:
				return fmt.Errorf("intent %s: %w", a.Intent, err)
			}
			if in.State == model.IntentPending && can(&in) && w.first(a) {
				written = append(written, respond.Claimed{Intent: in, Attempt: a})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

func (w *writer) intent(id string) (model.Intent, error) {
	return scanIntent(func(to ...any) error { return w.scan(intentOf, []any{id}, to...) })
}

// mayClaim tells whether a responder of an epoch may claim now.
func (w *writer) mayClaim(epoch int64) error {
	last, err := w.epoch()
	if err != nil {
		return err
	}
	if last > epoch {
		return respond.ErrFenced
	}
	var f struct {
		Paused bool `json:"paused"`
	}
	if err := w.getMeta(metaFlags, &f); err != nil {
		return err
	}
	if f.Paused {
		return respond.ErrPaused
	}
	return nil
}

// CommitClaiming writes what decide changed and, in the same transaction, the first
// attempts of intents of it. It returns those attempts that were written: none while
// actions are paused or after another epoch has begun, and none of an intent that has
// an attempt already.
func (s *Store) CommitClaiming(ctx context.Context, c decide.Changes, claims []respond.Attempt) ([]respond.Attempt, error) {
	var written []respond.Attempt
	err := s.transact(ctx, func(w *writer) (err error) {
		w.changes(c)
		written, err = w.claim(claims)
		return err
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

func (w *writer) claim(claims []respond.Attempt) (written []respond.Attempt, err error) {
	if len(claims) == 0 {
		return nil, nil
	}
	switch err := w.mayClaim(claims[0].Epoch); {
	case errors.Is(err, respond.ErrPaused), errors.Is(err, respond.ErrFenced):
		return nil, nil
	case err != nil:
		return nil, err
	}
	for _, a := range claims {
		if w.first(a) {
			written = append(written, a)
		}
	}
	return written, nil
}

// first writes an intent's first attempt, unless it has one.
func (w *writer) first(a respond.Attempt) bool {
	return w.count(`INSERT INTO attempts (intent, number, epoch, claimed, not_after, state, doc)
		VALUES ((SELECT number FROM intents WHERE id = ?), ?, ?, ?, ?, 'claimed', ?)
		ON CONFLICT (intent, number) DO NOTHING`,
		a.Intent, a.Number, a.Epoch, a.Claimed.UnixNano(), a.NotAfter.UnixNano(), w.json(a)) == 1
}

// SaveAttempt writes what became of an attempt. It is in no hurry: if another
// transaction comes along soon, it goes with it.
func (s *Store) SaveAttempt(ctx context.Context, a respond.Attempt) error {
	return s.transactSoon(ctx, func(w *writer) error {
		w.attempt(a)
		return nil
	})
}

func (w *writer) attempt(a respond.Attempt) {
	state := string(a.State)
	if state == "" {
		state = "claimed"
	}
	w.exec(`INSERT INTO attempts (intent, number, epoch, claimed, not_after, state, doc)
		VALUES ((SELECT number FROM intents WHERE id = ?), ?, ?, ?, ?, ?, ?)
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
