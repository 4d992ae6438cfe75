package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Ledger lists the counts of all sources and hours, by source, then hour.
func (s *Store) Ledger(ctx context.Context) ([]decide.Ledger, error) {
	return queryDocs[decide.Ledger](ctx, s, ledger)
}

// Sources lists how far each source has come, and what became of all its events.
func (s *Store) Sources(ctx context.Context) ([]decide.SourceState, error) {
	return queryDocs[decide.SourceState](ctx, s, sources)
}

// Account is all that the ledger is made of, at one instant.
type Account struct {
	Position   decide.Position
	At         time.Time // decide's
	Flags      decide.Flags
	Checkpoint int                  // last message of INPUTS in it; 0: there is none
	Sources    []decide.SourceState // by source
	Hours      []decide.Ledger      // by source, then hour
	Counts     Counts
}

// Counts are the sizes of what the store holds.
type Counts struct {
	Signals int `json:"signals"`
	// SignalsWaiting are those about whose case an answer is pending; the others are
	// scored.
	SignalsWaiting int `json:"signals_waiting"`
	Cases          int `json:"cases"`
	AsksPending    int `json:"asks_pending"`
	AsksFailed     int `json:"asks_failed"`
	IntentsPending int `json:"intents_pending"`
	IntentsUnknown int `json:"intents_unknown"`
	IntentsFailed  int `json:"intents_failed"`
	IntentsDone    int `json:"intents_done"` // or already so before
	// Intents by state, all of them.
	Intents map[model.IntentState]uint64 `json:"intents"`
}

const (
	ledger  = `SELECT doc FROM ledger ORDER BY source, hour`
	sources = `SELECT CAST(value AS BLOB) FROM meta WHERE key >= 'source:' AND key < 'source;' ORDER BY key`

	// One statement sees one instant. Its rows are a kind and a document or number.
	counts = `SELECT 'signals', (SELECT coalesce(max(number), 0) FROM signals)
		UNION ALL SELECT 'waiting', (SELECT coalesce(sum(waiting), 0) FROM cases WHERE waiting > 0)
		UNION ALL SELECT 'cases', (SELECT n FROM case_count)
		UNION ALL SELECT 'sums', CAST(value AS BLOB) FROM meta WHERE key = 'sums'`
	account = counts + `
		UNION ALL SELECT key, CAST(value AS BLOB) FROM meta WHERE key IN ('inputs_position', 'decide_time', 'flags')
		UNION ALL SELECT 'checkpoint', (SELECT seq FROM checkpoints)
		UNION ALL SELECT 'source', CAST(value AS BLOB) FROM meta WHERE key >= 'source:' AND key < 'source;'
		UNION ALL SELECT 'hour', doc FROM ledger WHERE hour >= ?`
)

// Counts says how much there is. What it costs does not depend on that.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	a, err := s.account(ctx, counts)
	return a.Counts, err
}

// Account returns the ledger, with the hours from since on. What it costs depends on
// how many sources and hours there are, and not on how much they have counted.
func (s *Store) Account(ctx context.Context, since time.Time) (Account, error) {
	first := int64(0)
	if !since.IsZero() {
		first = since.Truncate(time.Hour).Unix()
	}
	return s.account(ctx, account, first)
}

func (s *Store) account(ctx context.Context, query string, args ...any) (Account, error) {
	a := Account{Counts: Counts{Intents: map[model.IntentState]uint64{}}}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return a, classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := a.row(rows); err != nil {
			return a, err
		}
	}
	slices.SortFunc(a.Sources, func(x, y decide.SourceState) int { return cmp.Compare(x.Source, y.Source) })
	slices.SortFunc(a.Hours, func(x, y decide.Ledger) int {
		return cmp.Or(cmp.Compare(x.Source, y.Source), x.Hour.Compare(y.Hour))
	})
	return a, classify(rows.Err())
}

func (a *Account) row(rows *sql.Rows) error {
	var kind string
	var doc sql.RawBytes
	if err := rows.Scan(&kind, &doc); err != nil {
		return err
	}
	number := func(to *int) error {
		if doc == nil {
			return nil
		}
		n, err := strconv.ParseUint(string(doc), 10, 63)
		*to = int(n)
		return err
	}
	switch kind {
	case "signals":
		return number(&a.Counts.Signals)
	case "waiting":
		return number(&a.Counts.SignalsWaiting)
	case "cases":
		return number(&a.Counts.Cases)
	case "checkpoint":
		return number(&a.Checkpoint)
	case "sums":
		var sums decide.Sums
		err := unmarshal(doc, &sums)
		a.Counts.add(sums)
		return err
	case metaPosition:
		return unmarshal(doc, &a.Position)
	case metaAt:
		return unmarshal(doc, &a.At)
	case metaFlags:
		return unmarshal(doc, &a.Flags)
	case "source":
		a.Sources = append(a.Sources, decide.SourceState{})
		return unmarshal(doc, &a.Sources[len(a.Sources)-1])
	case "hour":
		a.Hours = append(a.Hours, decide.Ledger{})
		return unmarshal(doc, &a.Hours[len(a.Hours)-1])
	}
	return fmt.Errorf("ledger: a row of kind %q", kind)
}

func (c *Counts) add(s decide.Sums) {
	c.AsksPending, c.AsksFailed = int(s.Asks[model.Pending]), int(s.Asks[model.Failed])
	for state, n := range s.Intents {
		c.Intents[state] = n
	}
	c.IntentsPending, c.IntentsUnknown = int(s.Intents[model.IntentPending]+s.Intents[model.IntentGathered]), int(s.Intents[model.IntentUnknown])
	c.IntentsFailed = int(s.Intents[model.IntentFailed])
	c.IntentsDone = int(s.Intents[model.IntentDone] + s.Intents[model.IntentAlready])
}
