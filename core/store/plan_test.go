package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestEveryQueryHasAnIndex: none reads a table from end to end, or sorts what an index
// has in order, unless it says here why that is well.
func TestEveryQueryHasAnIndex(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for name, q := range map[string]struct {
		query string
		// may are steps that are no fault here.
		may string
	}{
		"cases":              {query: casesOfAll, may: `^(CO-ROUTINE|SCAN) \(subquery`}, // of two that are in order
		"cases of a state":   {query: casesOfState},
		"case by alias":      {query: `SELECT case_id FROM case_aliases WHERE alias = ?`},
		"member":             {query: putMember},
		"case":               {query: `SELECT doc FROM cases WHERE id = ?`},
		"find cases":         {query: findCases},
		"signals of a case":  {query: caseSignals, may: `USE TEMP B-TREE FOR ORDER BY`}, // of one case's
		"lookups":            {query: lookupsAbout},
		"intents":            {query: intentsOfAll},
		"intents of state":   {query: intentsOfState},
		"intents done":       {query: intentsDone},
		"intent":             {query: intentOf},
		"intents of cases":   {query: intentsOfCases, may: `LIST SUBQUERY|SCAN json_each|USE TEMP B-TREE FOR ORDER BY`}, // of one case's
		"questions":          {query: questionsOfAll},
		"questions of state": {query: questionsOfState},
		"questions answered": {query: questionsAnswered},
		"questions to":       {query: questionsTo, may: `USE TEMP B-TREE FOR ORDER BY`},                                   // of one person's
		"questions of cases": {query: questionsOfCases, may: `LIST SUBQUERY|SCAN json_each|USE TEMP B-TREE FOR ORDER BY`}, // of one case's
		"find questions":     {query: findQuestions},
		"ledger":             {query: ledger, may: `SCAN ledger`}, // all are wanted, in the key's order
		"sources":            {query: sources},
		"counts": {query: counts, may: `SCALAR SUBQUERY|LEFT-MOST SUBQUERY|SCAN CONSTANT ROW|SEARCH signals$|UNION ALL|SCAN case_count|` +
			`SCAN cases USING COVERING INDEX cases_waiting`}, // only rows that count
		"account": {query: account, may: `SCALAR SUBQUERY|LEFT-MOST SUBQUERY|SCAN CONSTANT ROW|SEARCH signals$|UNION ALL|SCAN case_count|SCAN checkpoints|` +
			`SCAN cases USING COVERING INDEX cases_waiting`}, // of the two tables there is one row
		"pending actions":     {query: pendingActions, may: `SCAN found|SETUP|RECURSIVE STEP|CO-ROUTINE|MATERIALIZE|SCALAR SUBQUERY|SCAN CONSTANT ROW`},
		"pending by address":  {query: pendingByAddress, may: `UNION ALL|LEFT-MOST SUBQUERY|SCAN (intents|asks) USING COVERING INDEX (intents|asks)_pending`}, // only rows that count
		"pending intents":     {query: pendingIntents},
		"oldest intents":      {query: oldestIntents},
		"attempts":            {query: attemptsOf, may: `SCALAR SUBQUERY`},
		"attempts in doubt":   {query: attemptsInDoubt, may: `SCAN i USING COVERING INDEX intents_pending|USE TEMP B-TREE FOR ORDER BY`}, // all are wanted
		"attempts called":     {query: attemptsCalled, may: `USE TEMP B-TREE FOR ORDER BY`},
		"pending asks":        {query: pendingAsks},
		"urgent asks":         {query: urgentAsks},
		"pending enrichments": {query: pendingEnrichments, may: `SCAN found|SETUP|RECURSIVE STEP|CO-ROUTINE|MATERIALIZE|SCALAR SUBQUERY|SCAN CONSTANT ROW`},
		"cached reply":        {query: cachedReply},
		"forget replies":      {query: forgetReplies, may: `LIST SUBQUERY`},
		"shadow's hour":       {query: shadowHour},
		"shadow's hours":      {query: shadowHours},
		"pairs":               {query: pairs},
		"forget pairs":        {query: forgetPairs, may: `LIST SUBQUERY`},
		"forget hours":        {query: forgetHours},
		"thin pairs":          {query: thinPairs, may: `LIST SUBQUERY|SCAN shadow_answers USING COVERING INDEX shadow_answers_at`}, // once a minute
		"settled cases":       {query: settledCases, may: `LIST SUBQUERY|SCAN json_each|UNION ALL|LEFT-MOST SUBQUERY`},
		"settled having":      {query: settledHaving, may: `SCAN (runs|j) |SCAN runs|SETUP|RECURSIVE STEP|CO-ROUTINE|MATERIALIZE|SCALAR SUBQUERY|SCAN CONSTANT ROW`},
		"open questions to":   {query: questionsOpenTo, may: `CORRELATED SCALAR SUBQUERY`},
		"newest cases":        {query: newestCases, may: `SCAN cases`},                                                  // of the latest
		"outcomes":            {query: countOutcomes, may: `LIST SUBQUERY|SCAN json_each|USE TEMP B-TREE FOR GROUP BY`}, // of days
		"ended cases":         {query: endedCases, may: `SCALAR SUBQUERY|CO-ROUTINE|SCAN n$`},
		"ended of several":    {query: endedOfSeveral, may: `LIST SUBQUERY|SCAN json_each|CO-ROUTINE|SCAN n$|USE TEMP B-TREE`}, // only what has ended
	} {
		t.Run(name, func(t *testing.T) {
			args := make([]any, 5)
			for i := range args {
				args[i] = "1"
			}
			n := strings.Count(q.query, "?")
			for i := 1; i <= 4; i++ {
				if c := strings.Count(q.query, fmt.Sprintf("?%d", i)); c > 0 {
					n -= c - 1
				}
			}
			plan, err := queryRows(t.Context(), s, func(scan scanner) (string, error) {
				var id, parent, unused int
				var step string
				return step, scan(&id, &parent, &unused, &step)
			}, "EXPLAIN QUERY PLAN "+q.query, args[:n]...)
			if err != nil || len(plan) == 0 {
				t.Fatalf("plan %q, %v", plan, err)
			}
			good := regexp.MustCompile(`^(SEARCH .* USING .*INDEX .*|SEARCH .* USING .*PRIMARY KEY.*|COMPOUND QUERY|MERGE \(UNION\)|LEFT|RIGHT|MERGE \(UNION ALL\))$`)
			for _, step := range plan {
				if !good.MatchString(step) && (q.may == "" || !regexp.MustCompile(q.may).MatchString(step)) {
					t.Errorf("%s\nin the plan of %s", step, q.query)
				}
			}
		})
	}
}
