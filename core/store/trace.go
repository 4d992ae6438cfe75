package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

const (
	signalOf = `SELECT s.doc, s.raw, coalesce((SELECT c.id FROM members m JOIN cases c ON c.number = m.case_number WHERE m.signal = s.number), '')
		FROM signals s WHERE s.id = ?`
	configTimes = `SELECT hash, coalesce(json_extract(CAST(doc AS TEXT), '$.at'), '') FROM config_versions ORDER BY seq DESC LIMIT ?`
)

// Signal returns a signal with its payload, and the id of the case that it is in.
func (s *Store) Signal(ctx context.Context, id string) (g model.Signal, in string, err error) {
	var doc sql.RawBytes
	rows, err := queryRows(ctx, s, func(scan scanner) (model.Signal, error) {
		var g model.Signal
		var payload []byte
		err := scan(&doc, &payload, &in)
		if err == nil {
			err = unmarshal(doc, &g)
		}
		g.Raw = payload
		return g, err
	}, signalOf, id)
	if err == nil && len(rows) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return model.Signal{}, "", err
	}
	return rows[0], in, nil
}

// mostConfigTimes is how many configurations are looked at for the one of a time.
const mostConfigTimes = 200

// ConfigAt is the hash of the configuration that was in force at a time. It fails with
// ErrNotFound where that is not known any more, since one that comes into force again
// is remembered by the last time.
func (s *Store) ConfigAt(ctx context.Context, at time.Time) (string, error) {
	type version struct {
		hash string
		at   time.Time
	}
	all, err := queryRows(ctx, s, func(scan scanner) (v version, err error) {
		var text string
		if err = scan(&v.hash, &text); err != nil {
			return v, err
		}
		v.at, err = time.Parse(time.RFC3339Nano, text)
		return v, err
	}, configTimes, mostConfigTimes)
	if err != nil {
		return "", err
	}
	for _, v := range all {
		if !v.at.After(at) {
			return v.hash, nil
		}
	}
	return "", ErrNotFound
}
