package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/model"
)

// outcomes keeps by which rules cases were reported, and what became of them.
func (w *writer) outcomes(c decide.Changes, n numbers) {
	rules := map[string]int64{}
	for i := range c.Cases {
		for _, rule := range c.Cases[i].Rules {
			if rules[rule] == 0 {
				rules[rule] = w.ruleNumber(rule)
			}
		}
	}
	moved := moves(&c)
	var added []any // rows of cases that are new and open, as nearly all are
	for i := range c.Cases {
		k := &c.Cases[i]
		number, isNew := n.cases[k.ID]
		if !isNew || k.State != model.CaseOpen {
			w.outcome(k, moved)
			continue
		}
		for _, rule := range k.Rules {
			added = append(added, number, rules[rule], k.OpenedAt.Unix(), "")
		}
	}
	w.many(`INSERT OR IGNORE INTO case_rules (case_number, rule, opened, outcome)`, 4, added)
}

// ruleNumber of a rule, which has one from now on.
func (w *writer) ruleNumber(rule string) (number int64) {
	err := w.scan(`SELECT number FROM rule_names WHERE rule = ?`, []any{rule}, &number)
	if errors.Is(err, ErrNotFound) {
		return w.number(`INSERT INTO rule_names (rule) VALUES (?)`, rule)
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	return number
}

// moves tells whether a signal that was there before is in another case now, so that
// that one may have lost a rule.
func moves(c *decide.Changes) bool {
	return slices.ContainsFunc(c.Members, func(m decide.Member) bool {
		return !slices.ContainsFunc(c.Signals, func(g model.Signal) bool { return g.ID == m.Signal })
	})
}

func (w *writer) outcome(k *model.Case, moved bool) {
	var number int64
	if err := w.scan(`SELECT number FROM cases WHERE id = ?`, []any{k.ID}, &number); err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	if k.State == model.CaseMerged {
		w.exec(`DELETE FROM case_rules WHERE case_number = ?`, number)
		w.exec(`DELETE FROM ended_cases WHERE case_number = ?`, number)
		return
	}
	outcome := ""
	if e, ok := measure.EndedOf(k); ok {
		outcome = string(e.Kind)
		w.exec(`INSERT INTO ended_cases (case_number, doc) VALUES (?, ?) ON CONFLICT (case_number) DO UPDATE SET doc = excluded.doc`,
			number, w.json(e))
	} else if k.Reopened != nil {
		w.exec(`DELETE FROM ended_cases WHERE case_number = ?`, number)
	}
	if moved {
		rules, err := json.Marshal(k.Rules)
		if err != nil && w.err == nil {
			w.err = err
		}
		w.exec(`DELETE FROM case_rules WHERE case_number = ? AND rule NOT IN
			(SELECT number FROM rule_names WHERE rule IN (SELECT value FROM json_each(?)))`, number, string(rules))
	}
	for _, rule := range k.Rules {
		w.exec(`INSERT INTO case_rules (case_number, rule, opened, outcome) SELECT ?, number, ?, ? FROM rule_names WHERE rule = ?
			ON CONFLICT (case_number, rule) DO UPDATE SET opened = excluded.opened, outcome = excluded.outcome
			WHERE opened != excluded.opened OR outcome != excluded.outcome`,
			number, k.OpenedAt.Unix(), outcome, rule)
	}
}

// MostEnded is how many ended cases of some rules are looked at: the newest.
const MostEnded = 10_000

const (
	countOutcomes = `SELECT outcome, sum(n) FROM rule_days WHERE rule IN
		(SELECT number FROM rule_names WHERE rule IN (SELECT value FROM json_each(?1))) AND day >= ?2 GROUP BY outcome`
	endedCases = `SELECT e.doc FROM (SELECT case_number FROM case_rules INDEXED BY case_rules_ended
		WHERE outcome != '' AND rule = (SELECT number FROM rule_names WHERE rule = ?1) AND opened >= ?2
		ORDER BY opened DESC, case_number DESC LIMIT ?3) n JOIN ended_cases e ON e.case_number = n.case_number`
	// endedOfSeveral has a case of several of these rules once.
	endedOfSeveral = `SELECT e.doc FROM (SELECT DISTINCT case_number, opened FROM case_rules INDEXED BY case_rules_ended
		WHERE outcome != '' AND rule IN (SELECT number FROM rule_names WHERE rule IN (SELECT value FROM json_each(?1))) AND opened >= ?2
		ORDER BY opened DESC, case_number DESC LIMIT ?3) n JOIN ended_cases e ON e.case_number = n.case_number`
)

// Day is the beginning of a day in UTC: outcomes are counted by day.
func Day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// Outcomes adds up what became of the cases that some rules have reported, of those that
// were opened since the beginning of a day. A case counts for each of these rules, and is
// looked at once. What it costs goes with the days and with MostEnded.
func (s *Store) Outcomes(ctx context.Context, rules []string, since time.Time) (measure.Outcomes, error) {
	list, err := json.Marshal(rules)
	if err != nil {
		return measure.Outcomes{}, err
	}
	first := int64(0)
	if !since.IsZero() {
		first = Day(since).Unix()
	}
	counts := map[model.FindingKind]int{}
	_, err = queryRows(ctx, s, func(scan scanner) (n int, err error) {
		var kind string
		err = scan(&kind, &n)
		counts[model.FindingKind(kind)] += n
		return n, err
	}, countOutcomes, string(list), first/86400)
	if err != nil {
		return measure.Outcomes{}, err
	}
	query, of := endedOfSeveral, string(list)
	if len(rules) == 1 {
		query, of = endedCases, rules[0]
	}
	ended, err := queryDocs[measure.Ended](ctx, s, query, of, first, MostEnded)
	if err != nil {
		return measure.Outcomes{}, err
	}
	return measure.OutcomesOf(counts, ended), nil
}

// Begun is the first hour in which anything was decided; zero: nothing was.
func (s *Store) Begun(ctx context.Context) (time.Time, error) {
	var first *int64
	if err := s.read.QueryRowContext(ctx, `SELECT min(hour) FROM ledger`).Scan(&first); err != nil || first == nil {
		return time.Time{}, classify(err)
	}
	return time.Unix(*first, 0).UTC(), nil
}

// ReportedBy lists the rules that have ever reported a case, sorted.
func (s *Store) ReportedBy(ctx context.Context) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (rule string, err error) { return rule, scan(&rule) }, `SELECT rule FROM rule_names ORDER BY rule`)
}
