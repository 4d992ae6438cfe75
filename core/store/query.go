package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// CaseQuery selects cases. The zero value selects all that are not merged.
type CaseQuery struct {
	State    model.CaseState  // empty: open and closed
	MinScore model.Hundredths // 0: any
	Limit    int              // 0: all
}

const (
	// casesOfAll goes through all states but merged.
	casesOfAll = `SELECT doc FROM (
		SELECT doc, score, number FROM cases WHERE state = 'open' AND score >= ?1
		UNION ALL SELECT doc, score, number FROM cases WHERE state = 'closed' AND score >= ?1
		ORDER BY score DESC, number LIMIT ?2)`
	casesOfState = `SELECT doc FROM cases WHERE state = ?3 AND score >= ?1 ORDER BY score DESC, number LIMIT ?2`
)

// Cases lists cases, highest score first, then in the order in which they were opened.
func (s *Store) Cases(ctx context.Context, q CaseQuery) ([]model.Case, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = -1
	}
	if q.State == "" {
		return queryDocs[model.Case](ctx, s, casesOfAll, int64(q.MinScore), limit)
	}
	return queryDocs[model.Case](ctx, s, casesOfState, int64(q.MinScore), limit, string(q.State))
}

// Case returns the case with an id, which may be an older one.
func (s *Store) Case(ctx context.Context, id string) (model.Case, error) {
	// An alias of an alias does not exist: decide rewrites them when cases merge.
	var current string
	err := s.read.QueryRowContext(ctx, `SELECT case_id FROM case_aliases WHERE alias = ?`, id).Scan(&current)
	switch {
	case err == nil:
		id = current
	case !errors.Is(err, sql.ErrNoRows):
		return model.Case{}, classify(err)
	}
	return getDoc[model.Case](ctx, s, `SELECT doc FROM cases WHERE id = ?`, id)
}

const findCases = `SELECT id FROM cases WHERE id >= ?1 AND id < ?2 AND state != 'merged'
	UNION SELECT alias FROM case_aliases WHERE alias >= ?1 AND alias < ?2 ORDER BY 1 LIMIT ?3`

// FindCases lists the ids of cases, older ones included, that begin with prefix.
func (s *Store) FindCases(ctx context.Context, prefix string, limit int) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (id string, err error) {
		return id, scan(&id)
	}, findCases, prefix, prefix+string(utf8.MaxRune), limit)
}

const caseSignals = `SELECT s.doc, CASE WHEN ? THEN s.raw END FROM cases c
	JOIN members m ON m.case_number = c.number JOIN signals s ON s.number = m.signal WHERE c.id = ? ORDER BY s.time, s.id`

// CaseSignals lists a case's signals by event time, then id; with their payloads if
// raw is true.
func (s *Store) CaseSignals(ctx context.Context, id string, raw bool) ([]model.Signal, error) {
	return queryRows(ctx, s, func(scan scanner) (g model.Signal, err error) {
		var doc sql.RawBytes
		var payload []byte
		if err = scan(&doc, &payload); err == nil {
			err = unmarshal(doc, &g)
		}
		g.Raw = payload
		return g, err
	}, caseSignals, raw, id)
}

// EarliestSignal is the id of a case's first signal by event time, then id.
func (s *Store) EarliestSignal(ctx context.Context, id string) (signal string, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT s.id FROM cases c JOIN members m ON m.case_number = c.number
		JOIN signals s ON s.number = m.signal WHERE c.id = ? ORDER BY s.time, s.id LIMIT 1`, id).Scan(&signal)
	return signal, classify(err)
}

// CaseOf is the case that a signal is in.
func (s *Store) CaseOf(ctx context.Context, signal string) (model.Case, error) {
	return getDoc[model.Case](ctx, s, `SELECT c.doc FROM signals s JOIN members m ON m.signal = s.number
		JOIN cases c ON c.number = m.case_number WHERE s.id = ?`, signal)
}

// Lookup is an ask and what became of it; Reply is nil while it is pending.
type Lookup struct {
	Ask   model.Ask    `json:"ask"`
	Reply *model.Reply `json:"reply,omitempty"`
}

const lookupsAbout = `SELECT doc, answer FROM asks WHERE kind = ? AND value = ? ORDER BY asked, id`

// Lookups lists what was asked about observables, by enrichment and observable, the
// latest ask of each.
func (s *Store) Lookups(ctx context.Context, observables []sdk.Observable) ([]Lookup, error) {
	stmt, err := s.read.PrepareContext(ctx, lookupsAbout)
	if err != nil {
		return nil, classify(err)
	}
	defer stmt.Close()
	latest := map[[3]string]Lookup{}
	for _, o := range observables {
		if err := lookupsOf(ctx, stmt, o, latest); err != nil {
			return nil, err
		}
	}
	all := make([]Lookup, 0, len(latest))
	for _, l := range latest {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Lookup) int {
		return cmp.Or(
			cmp.Compare(a.Ask.Enrichment, b.Ask.Enrichment),
			cmp.Compare(a.Ask.Observable.Kind, b.Ask.Observable.Kind),
			cmp.Compare(a.Ask.Observable.Value, b.Ask.Observable.Value),
		)
	})
	return all, nil
}

func lookupsOf(ctx context.Context, stmt *sql.Stmt, o sdk.Observable, latest map[[3]string]Lookup) error {
	rows, err := stmt.QueryContext(ctx, o.Kind, o.Value)
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var ask, reply sql.RawBytes
		if err := rows.Scan(&ask, &reply); err != nil {
			return err
		}
		var l Lookup
		if err := unmarshal(ask, &l.Ask); err != nil {
			return err
		}
		if reply != nil {
			l.Reply = new(model.Reply)
			if err := unmarshal(reply, l.Reply); err != nil {
				return err
			}
		}
		latest[[3]string{l.Ask.Enrichment, o.Kind, o.Value}] = l
	}
	return classify(rows.Err())
}

// intentColumns are what scanIntent reads.
const intentColumns = `SELECT doc, parameters, known FROM intents `

const (
	intentsOfAll   = intentColumns + `WHERE (planned, id) > (?1, ?2) ORDER BY planned, id LIMIT ?3`
	intentsOfState = intentColumns + `WHERE state = ?4 AND state != 'done' AND (planned, id) > (?1, ?2) ORDER BY planned, id LIMIT ?3`
	// intentsDone are most of all.
	intentsDone    = intentColumns + `INDEXED BY intents_planned WHERE state = 'done' AND (planned, id) > (?1, ?2) ORDER BY planned, id LIMIT ?3`
	intentsOfCases = intentColumns + `WHERE case_number IN
		(SELECT number FROM cases WHERE id IN (SELECT value FROM json_each(?))) ORDER BY planned, id`
	intentOf = intentColumns + `WHERE id = ?`
)

func scanIntent(scan scanner) (in model.Intent, err error) {
	var doc, parameters, known []byte
	if err = scan(&doc, &parameters, &known); err != nil {
		return in, err
	}
	err = unmarshal(doc, &in)
	in.Parameters, in.Target.Known = parameters, known
	return in, err
}

// MostIntents is how many a page of intents has at most.
const MostIntents = 1000

// IntentQuery selects a page of intents.
type IntentQuery struct {
	State model.IntentState // empty: any
	After string            // the last intent of the page before; empty: from the beginning
	Limit int               // 0, and more than that: MostIntents
}

// Intents lists intents by when they were planned, then id. It fails with ErrNotFound
// if there is none of the id After.
func (s *Store) Intents(ctx context.Context, q IntentQuery) ([]model.Intent, error) {
	limit, planned := q.Limit, int64(math.MinInt64)
	if limit <= 0 || limit > MostIntents {
		limit = MostIntents
	}
	if q.After != "" {
		if err := s.read.QueryRowContext(ctx, `SELECT planned FROM intents WHERE id = ?`, q.After).Scan(&planned); err != nil {
			return nil, classify(err)
		}
	}
	switch q.State {
	case "":
		return queryRows(ctx, s, scanIntent, intentsOfAll, planned, q.After, limit)
	case model.IntentDone:
		return queryRows(ctx, s, scanIntent, intentsDone, planned, q.After, limit)
	}
	return queryRows(ctx, s, scanIntent, intentsOfState, planned, q.After, limit, string(q.State))
}

// Intent returns one.
func (s *Store) Intent(ctx context.Context, id string) (model.Intent, error) {
	all, err := queryRows(ctx, s, scanIntent, intentOf, id)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return model.Intent{}, err
	}
	return all[0], nil
}

// CaseIntents lists the intents of a case under all its ids.
func (s *Store) CaseIntents(ctx context.Context, ids []string) ([]model.Intent, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return queryRows(ctx, s, scanIntent, intentsOfCases, string(list))
}
