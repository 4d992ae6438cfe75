package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// EndOrder is the body of an order that ends a case, or has it go on.
type EndOrder struct {
	By string `json:"by"`
	// Because is why it goes on.
	Because string `json:"because,omitempty"`
	// Outcome is what it turned out to be, with notes for the review, the minutes of
	// people's time that it took, and what was lost, in dollars.
	Outcome model.FindingKind `json:"outcome,omitempty"`
	Notes   string            `json:"notes,omitempty"`
	Minutes int               `json:"minutes,omitempty"`
	Loss    int               `json:"loss,omitempty"`
}

func readEndOrder(r *http.Request) (EndOrder, error) {
	var o EndOrder
	if err := readBody(r, &o); err != nil {
		return o, err
	}
	switch {
	case len(o.By) > maxName || len(o.Because) > maxReason || len(o.Notes) > model.MostFindingNotes:
		return o, bad(fmt.Sprintf("a name has at most %d bytes, a reason %d, notes %d", maxName, maxReason, model.MostFindingNotes))
	case strings.TrimSpace(o.By) == "":
		return o, bad("an order says by whom")
	}
	return o, nil
}

// end ends a case as a person has found it.
func (s *Server) end(r *http.Request) (any, error) {
	o, err := readEndOrder(r)
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(model.FindingKinds(), o.Outcome):
		return nil, bad(`a case ends as "true_positive" (what the rule is for, and unwanted), "benign" (what the rule is for, and wanted) or "false_positive" (not what the rule is for)`)
	case o.Minutes < 0 || o.Minutes > model.MostMinutes:
		return nil, bad(fmt.Sprintf("minutes are 0 to %d", model.MostMinutes))
	case o.Loss < 0 || o.Loss > model.MostLoss:
		return nil, bad(fmt.Sprintf("a loss is 0 to %d dollars", model.MostLoss))
	case o.Because != "":
		return nil, bad("a case that ends has notes, and no because")
	}
	return s.conclude(r, model.Command{
		Kind: model.EndCase, By: o.By,
		Finding: &model.Finding{Kind: o.Outcome, By: o.By, Notes: o.Notes, Minutes: o.Minutes, Loss: o.Loss},
	})
}

// reopen has a case that has ended go on.
func (s *Server) reopen(r *http.Request) (any, error) {
	o, err := readEndOrder(r)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(o.Because) == "":
		return nil, bad("a case that goes on says why")
	case o.Outcome != "" || o.Notes != "" || o.Minutes != 0 || o.Loss != 0:
		return nil, bad("a case that goes on has no outcome")
	}
	return s.conclude(r, model.Command{Kind: model.ReopenCase, By: o.By, Because: o.Because})
}

// conclude gives an order about a case's end, and answers with the case after it.
func (s *Server) conclude(r *http.Request, c model.Command) (any, error) {
	ctx := r.Context()
	k, err := s.findCase(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if c.Kind == model.ReopenCase && k.Finding == nil {
		return nil, &Error{http.StatusConflict, "case " + k.ID + " is open: nobody has ended it"}
	}
	c.Case = k.FirstID
	if err := s.Engine.Order(ctx, c); err != nil {
		return nil, err
	}
	if k, err = s.Store.Case(ctx, k.ID); err != nil {
		return nil, err
	}
	if (k.Finding != nil) != (c.Kind == model.EndCase) || c.Finding != nil && (k.Finding.Kind != c.Finding.Kind || k.Finding.By != c.By) {
		return nil, &Error{http.StatusConflict, "nothing came of it: the case has changed meanwhile, or " + c.By + ` is a subject of it, whose word does not count; "kelpie audit list" says which`}
	}
	return k, nil
}
