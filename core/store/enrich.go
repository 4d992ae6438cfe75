package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// PendingAsks lists what waits for an answer of one enrichment, oldest first.
func (s *Store) PendingAsks(ctx context.Context, enrichment string, limit int) ([]model.Ask, error) {
	return queryDocs[model.Ask](ctx, s, `SELECT doc FROM asks WHERE state = 'pending' AND enrichment = ? ORDER BY asked, id LIMIT ?`, enrichment, limit)
}

// CachedReply returns the stored answer of a source about an observable that is
// good at now, if there is one.
func (s *Store) CachedReply(ctx context.Context, source string, o sdk.Observable, now time.Time) (model.Reply, bool, error) {
	r, err := getDoc[model.Reply](ctx, s,
		`SELECT doc FROM lookup_cache WHERE source = ? AND kind = ? AND value = ? AND expires > ?`,
		source, o.Kind, o.Value, now.UnixNano())
	if errors.Is(err, ErrNotFound) {
		return model.Reply{}, false, nil
	}
	return r, err == nil, err
}

// CacheReplies keeps answers until they expire, and forgets those that have.
func (s *Store) CacheReplies(ctx context.Context, source string, replies map[sdk.Observable]model.Reply, now time.Time) error {
	return s.transact(ctx, func(tx *sql.Tx) error {
		w := writer{ctx: ctx, tx: tx}
		for o, r := range replies {
			w.each(1, `INSERT OR REPLACE INTO lookup_cache (source, kind, value, expires, doc) VALUES (?, ?, ?, ?, ?)`,
				func(int) []any { return []any{source, o.Kind, o.Value, r.Expires.UnixNano(), w.json(r)} })
		}
		w.each(1, `DELETE FROM lookup_cache WHERE expires <= ?`, func(int) []any { return []any{now.UnixNano()} })
		return w.err
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
	return s.transact(ctx, func(tx *sql.Tx) error {
		w := writer{ctx: ctx, tx: tx}
		w.each(1, `INSERT OR REPLACE INTO quotas (source, doc) VALUES (?, ?)`,
			func(int) []any { return []any{source, w.json(u)} })
		return w.err
	})
}
