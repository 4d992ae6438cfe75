package store

import (
	"context"
	"math"
	"strings"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (w *writer) questions(c decide.Changes) {
	for i := range c.Questions {
		q := &c.Questions[i]
		w.exec(`INSERT INTO questions (id, case_number, state, opened, doc)
			VALUES (?, (SELECT number FROM cases WHERE id = ?), ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc`,
			q.ID, q.Case, string(q.State), q.OpenedAt.UnixNano(), w.json(q))
		for _, a := range q.Asked {
			w.exec(`INSERT OR IGNORE INTO question_addresses (address, question) VALUES (?, ?)`, strings.ToLower(a.Address), q.ID)
		}
	}
}

// MostQuestions is how many a page of questions has at most.
const MostQuestions = 1000

// QuestionQuery selects a page of questions, in the order in which they were opened.
type QuestionQuery struct {
	State model.QuestionState // empty: any
	// Address of who is or was asked; empty: any. No State or After goes with it.
	Address string
	After   string // the last question of the page before; empty: from the beginning
	Limit   int    // 0 and more than MostQuestions: that many
}

const (
	questionsOfAll   = `SELECT doc FROM questions WHERE (opened, id) > (?1, ?2) ORDER BY opened, id LIMIT ?3`
	questionsOfState = `SELECT doc FROM questions WHERE state = ?4 AND state != 'answered' AND (opened, id) > (?1, ?2) ORDER BY opened, id LIMIT ?3`
	// questionsAnswered are most of all.
	questionsAnswered = `SELECT doc FROM questions INDEXED BY questions_opened WHERE state = 'answered' AND (opened, id) > (?1, ?2) ORDER BY opened, id LIMIT ?3`
	questionsTo       = `SELECT q.doc FROM question_addresses a JOIN questions q ON q.id = a.question WHERE a.address = ? ORDER BY q.opened DESC, q.id LIMIT ?`
	questionsOpenTo   = `SELECT q.doc FROM questions q INDEXED BY questions_state WHERE q.state = 'open' AND q.state != 'answered' AND EXISTS
		(SELECT 1 FROM question_addresses a WHERE a.address = ? AND a.question = q.id) ORDER BY q.opened, q.id LIMIT ?`
	questionsOfCases = `SELECT doc FROM questions WHERE case_number IN
		(SELECT number FROM cases WHERE id IN (SELECT value FROM json_each(?))) ORDER BY opened, id`
	findQuestions = `SELECT id FROM questions WHERE id >= ? AND id < ? ORDER BY id LIMIT ?`
)

// Questions lists a page of questions; of those to an address the latest first. It is
// ErrNotFound if there is none of the id After.
func (s *Store) Questions(ctx context.Context, q QuestionQuery) ([]model.Question, error) {
	limit, opened := q.Limit, int64(math.MinInt64)
	if limit <= 0 || limit > MostQuestions {
		limit = MostQuestions
	}
	if q.Address != "" {
		return queryDocs[model.Question](ctx, s, questionsTo, strings.ToLower(q.Address), limit)
	}
	if q.After != "" {
		if err := s.read.QueryRowContext(ctx, `SELECT opened FROM questions WHERE id = ?`, q.After).Scan(&opened); err != nil {
			return nil, classify(err)
		}
	}
	switch q.State {
	case "":
		return queryDocs[model.Question](ctx, s, questionsOfAll, opened, q.After, limit)
	case model.QuestionAnswered:
		return queryDocs[model.Question](ctx, s, questionsAnswered, opened, q.After, limit)
	}
	return queryDocs[model.Question](ctx, s, questionsOfState, opened, q.After, limit, string(q.State))
}

// QuestionsOpenTo lists what an address is asked and nobody has answered, the oldest first.
func (s *Store) QuestionsOpenTo(ctx context.Context, address string, limit int) ([]model.Question, error) {
	return queryDocs[model.Question](ctx, s, questionsOpenTo, strings.ToLower(address), limit)
}

// Question returns one.
func (s *Store) Question(ctx context.Context, id string) (model.Question, error) {
	return getDoc[model.Question](ctx, s, `SELECT doc FROM questions WHERE id = ?`, id)
}

// CaseQuestions lists the questions of a case under all its ids, in the order in which they
// were opened.
func (s *Store) CaseQuestions(ctx context.Context, ids []string) ([]model.Question, error) {
	return queryDocs[model.Question](ctx, s, questionsOfCases, list(ids))
}

// FindQuestions lists the ids of questions that begin with prefix.
func (s *Store) FindQuestions(ctx context.Context, prefix string, limit int) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (id string, err error) {
		return id, scan(&id)
	}, findQuestions, prefix, prefix+"~", limit)
}
