package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// CommonValue is a value and how much it is part of.
type CommonValue struct {
	Value   sdk.Observable `json:"value"`
	Signals int            `json:"signals"`
	Cases   int            `json:"cases"`
	// Largest is how many of these signals are in the one case that has most of them.
	Largest int `json:"largest"`
}

// Common says which values most signals have.
type Common struct {
	Values []CommonValue `json:"values"`
	// Signals that were looked at: the newest; All: there are no more in that time.
	Signals int  `json:"signals"`
	All     bool `json:"all"`
	// From and To are the times of the earliest and the latest of them.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// MostCommon bounds the signals that are looked at for common values.
const MostCommon = 200_000

// CommonValues counts the values of the newest signals, as they were decided, that
// happened within a window before the latest of them, and lists at most so many: the
// most common first, then by key.
func (s *Store) CommonValues(ctx context.Context, window time.Duration, most int) (Common, error) {
	var c Common
	var last sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT max(time) FROM (SELECT time FROM signals ORDER BY number DESC LIMIT ?)`, MostCommon).Scan(&last)
	if err != nil || !last.Valid {
		return c, classify(err)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT s.time, s.doc, m.case_number FROM
		(SELECT number, time, doc FROM signals ORDER BY number DESC LIMIT ?) s JOIN members m ON m.signal = s.number
		WHERE s.time >= ?`, MostCommon, last.Int64-int64(window))
	if err != nil {
		return c, classify(err)
	}
	defer rows.Close()
	counts := map[sdk.Observable]map[int64]int{} // signals, by case
	for rows.Next() {
		var at, number int64
		var doc sql.RawBytes
		if err := rows.Scan(&at, &doc, &number); err != nil {
			return c, classify(err)
		}
		var g struct {
			Observables []sdk.Observable `json:"observables"`
		}
		if err := json.Unmarshal(doc, &g); err != nil {
			return c, err
		}
		c.count(time.Unix(0, at).UTC())
		for i, o := range g.Observables {
			o.Role = sdk.NoRole
			if slices.ContainsFunc(g.Observables[:i], func(p sdk.Observable) bool { return p.Kind == o.Kind && p.Value == o.Value }) {
				continue
			}
			if counts[o] == nil {
				counts[o] = map[int64]int{}
			}
			counts[o][number]++
		}
	}
	if err := rows.Err(); err != nil {
		return c, classify(err)
	}
	c.All = c.Signals < MostCommon
	c.list(counts, most)
	return c, nil
}

func (c *Common) count(at time.Time) {
	if c.Signals == 0 || at.Before(c.From) {
		c.From = at
	}
	if at.After(c.To) {
		c.To = at
	}
	c.Signals++
}

// list lists the values that more than one signal has.
func (c *Common) list(counts map[sdk.Observable]map[int64]int, most int) {
	for o, cases := range counts {
		v := CommonValue{Value: o, Cases: len(cases)}
		for _, n := range cases {
			v.Signals += n
			v.Largest = max(v.Largest, n)
		}
		if v.Signals > 1 {
			c.Values = append(c.Values, v)
		}
	}
	slices.SortFunc(c.Values, func(a, b CommonValue) int {
		return cmp.Or(b.Signals-a.Signals, cmp.Compare(a.Value.Key(), b.Value.Key()))
	})
	c.Values = c.Values[:min(len(c.Values), most)]
}
