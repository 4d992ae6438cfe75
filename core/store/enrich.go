package store

import (
	"context"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// pendingEnrichments goes from one to the next by the index, however many asks each
// has.
const pendingEnrichments = `WITH RECURSIVE found (enrichment) AS (
		VALUES ('')
		UNION ALL
		SELECT (SELECT a.enrichment FROM asks a INDEXED BY asks_pending
			WHERE a.state = 'pending' AND a.enrichment > found.enrichment ORDER BY a.enrichment LIMIT 1)
		FROM found WHERE found.enrichment IS NOT NULL)
	SELECT enrichment FROM found WHERE enrichment != ''`

// PendingEnrichments lists those that have pending asks.
func (s *Store) PendingEnrichments(ctx context.Context) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (enrichment string, err error) {
		return enrichment, scan(&enrichment)
	}, pendingEnrichments)
}

const urgentAsks = `SELECT place, doc FROM asks INDEXED BY asks_urgent
	WHERE state = 'pending' AND enrichment = ?1 ORDER BY severity DESC, place, id LIMIT ?2`

// UrgentAsks lists what waits for an answer of one enrichment, those of the most severe
// cases first, of these the oldest.
func (s *Store) UrgentAsks(ctx context.Context, enrichment string, limit int) ([]enrich.Pending, error) {
	return s.pendingAsks(ctx, urgentAsks, enrichment, limit)
}

const pendingAsks = `SELECT place, doc FROM asks
	WHERE state = 'pending' AND enrichment = ?1 AND (place, id) > (?2, ?3) ORDER BY place, id LIMIT ?4`

// PendingAsks lists what waits for an answer of one enrichment after a place, oldest
// first.
func (s *Store) PendingAsks(ctx context.Context, enrichment string, after enrich.Place, limit int) ([]enrich.Pending, error) {
	return s.pendingAsks(ctx, pendingAsks, enrichment, after.Number, after.Ask, limit)
}

func (s *Store) pendingAsks(ctx context.Context, query string, args ...any) ([]enrich.Pending, error) {
	return queryRows(ctx, s, func(scan scanner) (p enrich.Pending, err error) {
		var doc []byte
		if err = scan(&p.Number, &doc); err == nil {
			err = unmarshal(doc, &p.Ask)
		}
		return p, err
	}, query, args...)
}

const cachedReply = `SELECT doc FROM lookup_cache WHERE source = ? AND kind = ? AND value = ? AND expires > ?`

// CachedReply returns the stored answer of a source about an observable that is
// good at now, if there is one.
func (s *Store) CachedReply(ctx context.Context, source string, o sdk.Observable, now time.Time) (model.Reply, bool, error) {
	r, err := getDoc[model.Reply](ctx, s, cachedReply, source, o.Kind, o.Value, now.UnixNano())
	if errors.Is(err, ErrNotFound) {
		return model.Reply{}, false, nil
	}
	return r, err == nil, err
}

// forgetAtOnce bounds what one write removes of what has expired.
const forgetAtOnce = 512

const putReply = `INSERT INTO lookup_cache (source, kind, value, expires, doc) VALUES (?, ?, ?, ?, ?)
	ON CONFLICT (source, kind, value) DO UPDATE SET expires = excluded.expires, doc = excluded.doc`

const forgetReplies = `DELETE FROM lookup_cache WHERE rowid IN (SELECT rowid FROM lookup_cache WHERE expires <= ? LIMIT ?)`

// CacheReplies keeps answers until they expire, and forgets some that have.
func (s *Store) CacheReplies(ctx context.Context, source string, replies map[sdk.Observable]model.Reply, now time.Time) error {
	return s.transact(ctx, func(w *writer) error {
		for o, r := range replies {
			w.exec(putReply, source, o.Kind, o.Value, r.Expires.UnixNano(), w.json(r))
		}
		w.exec(forgetReplies, now.UnixNano(), forgetAtOnce)
		return nil
	})
}

// Used is what a source has used of its limits; zero if nothing was.
func (s *Store) Used(ctx context.Context, source string) (enrich.Used, error) {
	u, err := getDoc[enrich.Used](ctx, s, `SELECT doc FROM quotas WHERE source = ?`, source)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return u, err
}

// SaveUsed keeps it, so that a restart does not forget it.
func (s *Store) SaveUsed(ctx context.Context, source string, u enrich.Used) error {
	return s.transact(ctx, func(w *writer) error {
		w.exec(`INSERT INTO quotas (source, doc) VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET doc = excluded.doc`, source, w.json(u))
		return nil
	})
}
