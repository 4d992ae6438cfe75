package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// memory writes what has left decide's memory, and takes out what is back.
func (w *writer) memory(c decide.Changes, n numbers) {
	for _, number := range c.Recalled {
		w.unlink(number)
		w.exec(`DELETE FROM settled WHERE number = ?`, number)
	}
	if len(c.Settled) > 0 {
		w.settled(c.Settled, n)
		w.mergeRuns()
		w.forgetValues(c.Horizon, c.Quiet, 2*len(c.Settled))
	}
	if len(c.Away) > 0 {
		w.exec(`INSERT INTO away (hashes) VALUES (?)`, hashes(c.Away))
	}
	for _, r := range c.Recalls {
		w.exec(`INSERT INTO recalls (place, doc) VALUES (?, ?) ON CONFLICT (place) DO UPDATE SET doc = excluded.doc`,
			Place(r.Position), w.json(recallDoc{r.Position, r.Rounds}))
	}
}

// recallDoc is a recall as it is kept.
type recallDoc struct {
	Position decide.Position   `json:"position"`
	Rounds   []decide.Recalled `json:"rounds"`
}

func (w *writer) settled(all []decide.Settled, n numbers) {
	var values []runValue
	for i := range all {
		s := &all[i]
		var keys []byte // NULL if there are none
		if len(s.Values) > 0 {
			keys = hashes(s.Values)
		}
		var in any // NULL if its row is not one of these
		if number, ok := n.cases[s.Case]; ok {
			in = number
		}
		number := w.number(`INSERT INTO settled (case_key, case_number, last, changed, keys, doc)
			VALUES (?1, coalesce(?2, (SELECT number FROM cases WHERE id = ?3)), ?4, ?5, ?6, ?7)`,
			int64(decide.HashValue(s.Case)), in, s.Case, s.Last, s.Changed, keys, s.Doc)
		for _, h := range s.Values {
			values = append(values, runValue{number >> runBits, int64(h), number})
		}
	}
	w.addToRuns(values)
}

// unlink takes away by which values a case is found.
func (w *writer) unlink(number int64) {
	var keys []byte
	if err := w.scan(`SELECT coalesce((SELECT keys FROM settled WHERE number = ?), x'')`, []any{number}, &keys); err != nil && w.err == nil {
		w.err = err
	}
	eachHash(keys, func(h uint64) {
		w.exec(`DELETE FROM settled_runs WHERE run IN (?1, ?2) AND hash = ?3 AND number = ?4`,
			number>>runBits, largeRun(number>>largeBits), int64(h), number)
	})
}

// forgetValues takes away the values of some cases that are over.
func (w *writer) forgetValues(horizon, quiet int64, most int) {
	var text string
	if err := w.scan(`SELECT json_group_array(number) FROM
		(SELECT number FROM settled WHERE keys IS NOT NULL AND last < ? AND changed <= ? ORDER BY last LIMIT ?)`,
		[]any{horizon, quiet, most}, &text); err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	var numbers []int64
	if err := json.Unmarshal([]byte(text), &numbers); err != nil && w.err == nil {
		w.err = err
	}
	for _, n := range numbers {
		w.unlink(n)
		w.exec(`UPDATE settled SET keys = NULL WHERE number = ?`, n)
	}
}

func hashes(list []uint64) []byte {
	b := make([]byte, 0, 8*len(list))
	for _, h := range list {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

func eachHash(b []byte, f func(uint64)) {
	for ; len(b) >= 8; b = b[8:] {
		f(binary.LittleEndian.Uint64(b))
	}
}

// Away gives add the hashes of all that has left decide's memory.
func (s *Store) Away(ctx context.Context, add func(hash uint64)) error {
	rows, err := s.read.QueryContext(ctx, `SELECT hashes FROM away ORDER BY number`)
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	var b []byte
	for rows.Next() {
		if err := rows.Scan(&b); err != nil {
			return classify(err)
		}
		eachHash(b, add)
	}
	return classify(rows.Err())
}

// Recalls are the recorded ones of the first inputs after one, at most so many.
func (s *Store) Recalls(ctx context.Context, after decide.Position, most int) ([]decide.Recall, error) {
	docs, err := queryDocs[recallDoc](ctx, s, `SELECT doc FROM recalls WHERE place > ? ORDER BY place LIMIT ?`, Place(after), most)
	all := make([]decide.Recall, len(docs))
	for i, d := range docs {
		all[i] = decide.Recall{Position: d.Position, Rounds: d.Rounds}
	}
	return all, err
}

// ForgetRecalls takes out the recalls of inputs before a message of INPUTS, which is the
// first that can be replayed.
func (s *Store) ForgetRecalls(ctx context.Context, seq uint64) error {
	return s.transact(ctx, func(w *writer) error {
		w.exec(`DELETE FROM recalls WHERE place < ?`, Place(decide.Position{Seq: seq}))
		return nil
	})
}

// Settled is how many cases have left decide's memory.
func (s *Store) Settled(ctx context.Context) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM settled`).Scan(&n)
	return n, classify(err)
}

// Recall finds settled cases and what lookups have said.
func (s *Store) Recall(ctx context.Context, want decide.Wanted) (decide.Recalled, error) {
	var found decide.Recalled
	numbers, err := s.settledOf(ctx, want)
	if err != nil {
		return found, err
	}
	if found.Cases, err = s.settledDocs(ctx, numbers); err != nil {
		return found, err
	}
	if len(want.Plans) > 0 {
		if numbers, err = s.settledOf(ctx, decide.Wanted{Names: want.Plans}); err != nil {
			return found, err
		}
		if found.Plans, err = s.settledDocs(ctx, numbers); err != nil {
			return found, err
		}
	}
	if len(want.Asks) > 0 {
		asked, err := queryDocs[model.Ask](ctx, s, `SELECT doc FROM asks WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id`, list(want.Asks))
		if err != nil {
			return found, err
		}
		for _, a := range asked {
			want.Lookups = append(want.Lookups, a.Observable)
		}
	}
	for _, o := range want.Lookups {
		said, err := s.said(ctx, o.Kind, o.Value, want.Enrichments)
		if err != nil {
			return found, err
		}
		found.Lookups = append(found.Lookups, said...)
	}
	return found, nil
}

func (s *Store) settledDocs(ctx context.Context, numbers []int64) ([]decide.Back, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	return queryRows(ctx, s, func(scan scanner) (b decide.Back, err error) {
		err = scan(&b.Number, &b.Doc)
		return b, err
	}, `SELECT number, doc FROM settled WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number`, list(numbers))
}

const (
	settledCases = `SELECT number FROM settled WHERE case_number IN (SELECT number FROM cases WHERE id IN (SELECT value FROM json_each(?1)))
		UNION ALL SELECT number FROM settled WHERE case_number IS NULL AND case_key IN (SELECT value FROM json_each(?2))`
	// settledHaving looks for the hashes in each run that there is.
	settledHaving = `WITH RECURSIVE runs (run) AS (
			SELECT (SELECT min(run) FROM settled_runs)
			UNION ALL SELECT (SELECT min(run) FROM settled_runs WHERE run > runs.run) FROM runs WHERE runs.run IS NOT NULL)
		SELECT s.number FROM runs CROSS JOIN json_each(?1) j
			CROSS JOIN settled_runs v ON v.run = runs.run AND v.hash = j.value
			CROSS JOIN settled s ON s.number = v.number
		WHERE s.last >= ?2 OR s.changed > ?3`
)

// settledOf are the numbers of the settled cases that are wanted.
func (s *Store) settledOf(ctx context.Context, want decide.Wanted) ([]int64, error) {
	text := func(scan scanner) (id string, err error) { err = scan(&id); return id, err }
	number := func(scan scanner) (n int64, err error) { err = scan(&n); return n, err }
	names := slices.Clone(want.Names)
	if len(want.Intents) > 0 {
		of, err := queryRows(ctx, s, text, `SELECT c.id FROM intents i JOIN cases c ON c.number = i.case_number WHERE i.id IN (SELECT value FROM json_each(?))`, list(want.Intents))
		if err != nil {
			return nil, err
		}
		names = append(names, of...)
	}
	if len(want.Questions) > 0 {
		of, err := queryRows(ctx, s, text, `SELECT c.id FROM questions q JOIN cases c ON c.number = q.case_number WHERE q.id IN (SELECT value FROM json_each(?))`, list(want.Questions))
		if err != nil {
			return nil, err
		}
		names = append(names, of...)
	}
	cases := slices.Clone(names)
	if len(names) > 0 {
		now, err := queryRows(ctx, s, text, `SELECT case_id FROM case_aliases WHERE alias IN (SELECT value FROM json_each(?))`, list(names))
		if err != nil {
			return nil, err
		}
		cases = append(cases, now...)
	}
	if len(want.Signals) > 0 {
		of, err := queryRows(ctx, s, text, `SELECT c.id FROM signals s JOIN members m ON m.signal = s.number
			JOIN cases c ON c.number = m.case_number WHERE s.id IN (SELECT value FROM json_each(?))`, list(want.Signals))
		if err != nil {
			return nil, err
		}
		cases = append(cases, of...)
	}
	var numbers []int64
	if len(cases) > 0 {
		keys := make([]int64, len(cases))
		for i, id := range cases {
			keys[i] = int64(decide.HashValue(id))
		}
		of, err := queryRows(ctx, s, number, settledCases, list(cases), list(keys))
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, of...)
	}
	if len(want.Values) > 0 {
		keys := make([]int64, len(want.Values))
		for i, h := range want.Values {
			keys[i] = int64(h)
		}
		of, err := queryRows(ctx, s, number, settledHaving, list(keys), want.Horizon, want.Quiet)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, of...)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

// list is a list as json_each reads it.
func list[T any](all []T) string {
	text, err := json.Marshal(all)
	if err != nil {
		return "[]" // of texts and numbers there is no error
	}
	return string(text)
}

// maxAsked bounds how many asks about a value are looked through for the latest of each
// enrichment.
const maxAsked = 1000

// said is what enrichments said last of a value.
func (s *Store) said(ctx context.Context, kind, value string, enrichments []string) ([]decide.BackLookup, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT enrichment, doc, answer FROM asks
		WHERE kind = ? AND value = ? ORDER BY asked DESC, id LIMIT ?`, kind, value, maxAsked)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var found []decide.BackLookup
	left := slices.Clone(enrichments)
	for len(left) > 0 && rows.Next() {
		var enrichment string
		var ask, reply []byte
		if err := rows.Scan(&enrichment, &ask, &reply); err != nil {
			return nil, classify(err)
		}
		i := slices.Index(left, enrichment)
		if i < 0 {
			continue
		}
		left = slices.Delete(left, i, i+1)
		var b decide.BackLookup
		if err := unmarshal(ask, &b.Ask); err != nil {
			return nil, err
		}
		if reply != nil {
			b.Reply = &model.Reply{}
			if err := unmarshal(reply, b.Reply); err != nil {
				return nil, err
			}
		}
		found = append(found, b)
	}
	slices.SortFunc(found, func(a, b decide.BackLookup) int {
		return slices.Index(enrichments, a.Ask.Enrichment) - slices.Index(enrichments, b.Ask.Enrichment)
	})
	return found, classify(rows.Err())
}
