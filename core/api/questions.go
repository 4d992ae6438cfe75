package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Question is what people are or were asked, as people see it.
type Question struct {
	model.Question
	// CaseNow is the id of its case now, and Title what that is about.
	CaseNow string `json:"case_now"`
	Title   string `json:"title"`
	// Told says what became of what asks each address, by the id of the intent.
	Told map[string]Told `json:"told,omitempty"`
	// At is when this was read.
	At time.Time `json:"at"`
}

// Told is what became of what asks somebody.
type Told struct {
	State   model.IntentState `json:"state"`
	Message string            `json:"message,omitempty"`
	DryRun  bool              `json:"dry_run,omitempty"`
}

// Choosing is the body of an order to choose.
type Choosing struct {
	// By is the name of a user or, of who is none, the address.
	By     string `json:"by"`
	Option string `json:"option"`
	// Because is the reason.
	Because string     `json:"because,omitempty"`
	Road    model.Road `json:"road,omitempty"` // empty: the API
	// Address is where the question was read, if that is known.
	Address string `json:"address,omitempty"`
}

func (s *Server) questions(r *http.Request) (any, error) {
	ctx := r.Context()
	state, err := oneOf(r, "state", model.QuestionOpen, model.QuestionAnswered, model.QuestionTimedOut,
		model.QuestionFailed, model.QuestionWithdrawn)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", store.MostQuestions, store.MostQuestions)
	if err != nil {
		return nil, err
	}
	q := store.QuestionQuery{State: state, Limit: limit, After: r.URL.Query().Get("after"), Address: r.URL.Query().Get("address")}
	var all []model.Question
	switch id := r.URL.Query().Get("case"); {
	case id != "":
		c, err := s.findCase(ctx, id)
		if err != nil {
			return nil, err
		}
		if all, err = s.caseQuestions(ctx, c); err != nil {
			return nil, err
		}
	default:
		all, err = s.Store.Questions(ctx, q)
		if errors.Is(err, store.ErrNotFound) {
			return nil, &Error{http.StatusNotFound, "there is no question " + q.After + "; \"kelpie question list\" lists them"}
		}
		if err != nil {
			return nil, err
		}
	}
	shown := []Question{}
	for _, one := range all {
		if state != "" && one.State != state {
			continue // of a case or an address
		}
		q, err := s.questionNow(ctx, one, false)
		if err != nil {
			return nil, err
		}
		shown = append(shown, q)
	}
	return shown, nil
}

func (s *Server) caseQuestions(ctx context.Context, c model.Case) ([]model.Question, error) {
	return s.Store.CaseQuestions(ctx, append([]string{c.ID, c.FirstID}, c.Aliases...))
}

// questionNow shows a question; with told, what became of what asks it.
func (s *Server) questionNow(ctx context.Context, q model.Question, told bool) (Question, error) {
	out := Question{Question: q, At: s.Now()}
	c, err := s.Store.Case(ctx, q.Case)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return out, err
	}
	out.CaseNow, out.Title = c.ID, c.Title
	if !told {
		return out, nil
	}
	out.Told = map[string]Told{}
	for _, a := range q.Asked {
		if a.Intent == "" {
			continue
		}
		in, err := s.Store.Intent(ctx, a.Intent)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.Told[a.Intent] = Told{State: in.State, Message: in.Message, DryRun: in.DryRun}
	}
	return out, nil
}

func (s *Server) question(r *http.Request) (any, error) {
	q, err := s.findQuestion(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.questionNow(r.Context(), q, true)
}

// findQuestion finds one by its id, or the beginning of it.
func (s *Server) findQuestion(ctx context.Context, id string) (model.Question, error) {
	if !strings.HasPrefix(id, "q-") {
		id = "q-" + id
	}
	found, err := s.Store.FindQuestions(ctx, id, 8)
	switch {
	case err != nil:
		return model.Question{}, err
	case len(found) == 0:
		return model.Question{}, &Error{http.StatusNotFound, "there is no question " + id + "; \"kelpie question list\" lists them"}
	case len(found) > 1 && found[0] != id:
		return model.Question{}, &Error{http.StatusConflict, "more than one question begins with " + id + ": " + strings.Join(found, ", ")}
	}
	return s.Store.Question(ctx, found[0])
}

func (s *Server) choose(r *http.Request) (any, error) {
	var c Choosing
	if err := readBody(r, &c); err != nil {
		return nil, err
	}
	switch c.Road {
	case "":
		c.Road = model.RoadAPI
	case model.RoadAPI, model.RoadCommand:
	default: // of those Kelpie itself says that a choice came by them
		return nil, bad(`a choice by the API has the road "api" or "command"`)
	}
	return s.Choose(r.Context(), r.PathValue("id"), c)
}

// Choose orders a choice, by whatever road, and answers with what became of the question.
// Where the choice does not count the error is an Error that says why: StatusForbidden if
// that is for who made it, and else StatusConflict.
func (s *Server) Choose(ctx context.Context, id string, c Choosing) (Question, error) {
	switch {
	case len(c.By) > maxName || len(c.Address) > maxName || len(c.Option) > maxName || len(c.Because) > maxReason:
		return Question{}, bad(fmt.Sprintf("a name, an address and an option have at most %d bytes, a reason %d", maxName, maxReason))
	case strings.TrimSpace(c.By) == "":
		return Question{}, bad("an order says by whom")
	case strings.TrimSpace(c.Option) == "":
		return Question{}, bad("an answer names an option")
	}
	q, err := s.findQuestion(ctx, id)
	if err != nil {
		return Question{}, err
	}
	order := model.Command{
		ID: rand.Text(), Kind: model.Choose, By: c.By, Because: c.Because, Question: q.ID, Option: c.Option, Address: c.Address, Road: c.Road,
	}
	if err := s.Engine.Order(ctx, order); err != nil {
		return Question{}, err
	}
	if q, err = s.Store.Question(ctx, q.ID); err != nil {
		return Question{}, err
	}
	switch ch := q.Chose(order.ID); {
	case ch == nil:
		return Question{}, &Error{http.StatusConflict, "it does not count, as too many before it did not"}
	case ch.Subject:
		return Question{}, &Error{http.StatusForbidden, "it does not count: " + ch.Why}
	case !ch.Counts:
		return Question{}, &Error{http.StatusConflict, "it does not count: " + ch.Why}
	}
	return s.questionNow(ctx, q, true)
}
