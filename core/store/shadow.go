package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Bounds of what is kept of shadows: so long, and the newest so many observables of all
// of them together.
const (
	keepShadows = 30 * 24 * time.Hour
	MostPairs   = 100_000
)

const (
	putPair = `INSERT INTO shadow_answers (shadow, kind, value, at, first, said) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (shadow, kind, value) DO UPDATE SET at = excluded.at,
			first = coalesce(excluded.first, first), said = coalesce(excluded.said, said)`
	shadowHour  = `SELECT doc FROM shadow_hours WHERE shadow = ? AND hour = ?`
	shadowHours = `SELECT hour, doc FROM shadow_hours WHERE shadow = ? AND hour >= ? ORDER BY hour`
	pairs       = `SELECT kind, value, at, first, said FROM shadow_answers WHERE shadow = ? AND at >= ? ORDER BY at DESC LIMIT ?`

	forgetPairs = `DELETE FROM shadow_answers WHERE rowid IN (SELECT rowid FROM shadow_answers WHERE at < ? LIMIT ?)`
	forgetHours = `DELETE FROM shadow_hours WHERE hour < ?`
	thinPairs   = `DELETE FROM shadow_answers WHERE rowid IN (SELECT rowid FROM shadow_answers ORDER BY at DESC LIMIT ? OFFSET ?)`
)

// KeepRecord keeps what has come of a shadow, in no hurry.
func (s *Store) KeepRecord(ctx context.Context, r enrich.Record) error {
	return s.transactSoon(ctx, func(w *writer) error {
		for i := range r.Pairs {
			p := &r.Pairs[i]
			w.exec(putPair, r.Shadow, p.Observable.Kind, p.Observable.Value, p.At.UnixNano(), w.said(p.First), w.said(p.Shadow))
		}
		for o, reply := range r.Replies {
			w.exec(putReply, r.Key, o.Kind, o.Value, reply.Expires.UnixNano(), w.json(reply))
		}
		if err := w.tally(r.Shadow, r.At.Truncate(time.Hour).Unix(), r.Tally); err != nil {
			return err
		}
		if r.Tidy {
			old := r.At.Add(-keepShadows)
			w.exec(forgetPairs, old.UnixNano(), forgetAtOnce)
			w.exec(forgetHours, old.Unix())
			w.exec(thinPairs, forgetAtOnce, MostPairs)
			w.exec(forgetReplies, r.At.UnixNano(), forgetAtOnce)
		}
		return nil
	})
}

// said is a half of a pair; nil leaves the one that there is.
func (w *writer) said(s *enrich.Said) any {
	if s == nil {
		return nil
	}
	return w.json(s)
}

func (w *writer) tally(shadow string, hour int64, t enrich.Tally) error {
	if t == (enrich.Tally{}) {
		return nil
	}
	var doc []byte
	var sum enrich.Tally
	switch err := w.scan(shadowHour, []any{shadow, hour}, &doc); {
	case err == nil:
		if err := unmarshal(doc, &sum); err != nil {
			return err
		}
	case !errors.Is(err, ErrNotFound):
		return err
	}
	sum.Add(&t)
	w.exec(`INSERT INTO shadow_hours (shadow, hour, doc) VALUES (?, ?, ?) ON CONFLICT (shadow, hour) DO UPDATE SET doc = excluded.doc`,
		shadow, hour, w.json(sum))
	return nil
}

// ShadowTally sums up what became of a shadow's questions from the hour of since on, and
// says when the first of these hours began; zero: there is none.
func (s *Store) ShadowTally(ctx context.Context, shadow string, since time.Time) (enrich.Tally, time.Time, error) {
	var sum enrich.Tally
	var begin time.Time
	_, err := queryRows(ctx, s, func(scan scanner) (struct{}, error) {
		var hour int64
		var doc sql.RawBytes
		var t enrich.Tally
		err := scan(&hour, &doc)
		if err == nil {
			err = unmarshal(doc, &t)
		}
		if begin.IsZero() {
			begin = time.Unix(hour, 0).UTC()
		}
		sum.Add(&t)
		return struct{}{}, err
	}, shadowHours, shadow, since.Truncate(time.Hour).Unix())
	return sum, begin, err
}

// ShadowPairs lists what a shadow and the one before it said of the observables that
// either was heard of since then, the newest first, at most MostPairs.
func (s *Store) ShadowPairs(ctx context.Context, shadow string, since time.Time) ([]enrich.Pair, error) {
	return queryRows(ctx, s, func(scan scanner) (p enrich.Pair, err error) {
		var at int64
		var first, said []byte
		if err = scan(&p.Observable.Kind, &p.Observable.Value, &at, &first, &said); err != nil {
			return p, err
		}
		p.At = time.Unix(0, at).UTC()
		for doc, half := range map[*[]byte]**enrich.Said{&first: &p.First, &said: &p.Shadow} {
			if *doc == nil {
				continue
			}
			*half = new(enrich.Said)
			if err = unmarshal(*doc, *half); err != nil {
				return p, err
			}
		}
		return p, nil
	}, pairs, shadow, since.UnixNano(), MostPairs)
}

const newestCases = `SELECT doc FROM cases WHERE state != 'merged' ORDER BY number DESC LIMIT ?`

// NewestCases lists the cases that were opened last, the latest first.
func (s *Store) NewestCases(ctx context.Context, limit int) ([]model.Case, error) {
	return queryDocs[model.Case](ctx, s, newestCases, limit)
}

// LatestConfig is the configuration that is in force, as INPUTS brought it; ErrNotFound
// if there never was one.
func (s *Store) LatestConfig(ctx context.Context) (model.Config, error) {
	flags, err := s.Flags(ctx)
	if err != nil {
		return model.Config{}, err
	}
	return getDoc[model.Config](ctx, s, `SELECT doc FROM config_versions WHERE hash = ?`, flags.Config)
}

var _ enrich.Book = (*Store)(nil)
