package store

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
)

// dumped are the tables that decide writes, but for what depends on how its inputs
// were grouped into transactions. The columns are texts, numbers and blobs.
var dumped = [...]struct{ table, query string }{
	{"meta", `SELECT key, value FROM meta WHERE key IN ('inputs_position', 'decide_time', 'flags', 'sums') OR key >= 'source:' AND key < 'source;' OR key >= 'answers:' AND key < 'answers;' ORDER BY key`},
	{"config_versions", `SELECT hash, seq, doc FROM config_versions ORDER BY hash`},
	{"signals", `SELECT id, rule, source, time, doc, raw FROM signals ORDER BY id`},
	{"experimental", `SELECT id, rule, place, doc, raw FROM experimental ORDER BY id`},
	{"cases", `SELECT id, state, score, first, last, updated, doc FROM cases ORDER BY id`},
	{"members", `SELECT s.id AS signal, c.id AS case_id FROM members m JOIN signals s ON s.number = m.signal JOIN cases c ON c.number = m.case_number ORDER BY s.id`},
	{"case_rules", `SELECT c.id AS case_id, n.rule, k.opened, k.outcome FROM case_rules k JOIN cases c ON c.number = k.case_number JOIN rule_names n ON n.number = k.rule ORDER BY c.id, n.rule`},
	{"ended_cases", `SELECT c.id AS case_id, e.doc FROM ended_cases e JOIN cases c ON c.number = e.case_number ORDER BY c.id`},
	{"case_aliases", `SELECT alias, case_id FROM case_aliases ORDER BY alias`},
	{"asks", `SELECT id, enrichment, kind, value, state, asked, doc, answer FROM asks ORDER BY id`},
	{"intents", `SELECT i.id, c.id AS case_id, i.action, i.state, i.planned, i.doc, i.parameters, i.known FROM intents i JOIN cases c ON c.number = i.case_number ORDER BY i.id`},
	{"holds", `SELECT id, action, target, state, since, doc FROM holds ORDER BY id`},
	{"questions", `SELECT q.id, c.id AS case_id, q.state, q.opened, q.doc FROM questions q JOIN cases c ON c.number = q.case_number ORDER BY q.id`},
	{"question_addresses", `SELECT address, question FROM question_addresses ORDER BY address, question`},
	{"proposals", `SELECT p.id, c.id AS case_id, p.state, p.made, p.doc FROM proposals p JOIN cases c ON c.number = p.case_number ORDER BY p.id`},
	{"ledger", `SELECT source, hour, doc FROM ledger ORDER BY source, hour`},
	{"audit", `SELECT seq, hash, record FROM audit ORDER BY seq`},
}

// Dump writes all rows that decide has written, one a line, in an order that depends
// on them alone: equal inputs give equal bytes. It sees one moment.
func (s *Store) Dump(ctx context.Context, to io.Writer) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	w := bufio.NewWriter(to)
	for _, d := range dumped {
		if err := dump(ctx, tx, w, d.table, d.query); err != nil {
			return fmt.Errorf("dump of %s: %w", d.table, err)
		}
	}
	return w.Flush()
}

func dump(ctx context.Context, tx *sql.Tx, w io.Writer, table, query string) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, to := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range to {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s", table); err != nil {
			return err
		}
		for i, v := range values {
			if _, err := fmt.Fprintf(w, " %s=%q", columns[i], v); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return rows.Err()
}
