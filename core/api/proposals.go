package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Proposal is one as people see it.
type Proposal struct {
	model.Proposal
	// CaseNow is the id of its case now, and Title what that is about.
	CaseNow string `json:"case_now"`
	Title   string `json:"title"`
	// Draft is what it would write, of one that is open.
	Draft *Draft    `json:"draft,omitempty"`
	Now   time.Time `json:"now"` // when this was read
}

// Draft is what a proposal would write, and what of the past it would have changed.
type Draft struct {
	Name string `json:"name,omitempty"`
	// File that it is written to, Text the block and Diff the change as a unified diff.
	File    string    `json:"file,omitempty"`
	Text    string    `json:"text,omitempty"`
	Diff    string    `json:"diff,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// Written: the configuration in force has it already.
	Written bool `json:"written,omitempty"`
	// Left are rules of the case that it does not touch.
	Left []string `json:"left,omitempty"`
	// Own is how many signals of its case it would have kept away, Recent how many events
	// of the last 30 days, of Looked signals in all. Unknown parts of true positives could
	// not be looked at any more.
	Own     int `json:"own"`
	Recent  int `json:"recent"`
	Looked  int `json:"looked"`
	Unknown int `json:"unknown,omitempty"`
	// Hides are true positives of which it would have hidden something.
	Hides []Hidden `json:"hides,omitempty"`
	// Problem is why it can't be accepted; empty: it can.
	Problem string `json:"problem,omitempty"`
}

// Hidden is a case of which a signal would not have been reported.
type Hidden struct {
	Case   string `json:"case"`
	Title  string `json:"title"`
	Signal string `json:"signal"`
}

// Accepting is the body of an order to accept a proposal.
type Accepting struct {
	By      string `json:"by"`
	Because string `json:"because,omitempty"`
	// Expires is the last day, "2027-03-01"; empty: in 30 days.
	Expires string `json:"expires,omitempty"`
}

// Bounds of how long a proposed ignore lasts.
const (
	proposedDays = 30
	mostDays     = 366
)

func (s *Server) proposals(r *http.Request) (any, error) {
	state, err := oneOf(r, "state", model.ProposalOpen, model.ProposalAccepted, model.ProposalRefused)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", store.MostProposals, store.MostProposals)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Proposals(r.Context(), state, limit)
	if err != nil {
		return nil, err
	}
	shown := []Proposal{}
	for _, p := range all {
		shown = append(shown, s.proposalNow(r.Context(), p))
	}
	return shown, nil
}

func (s *Server) proposalNow(ctx context.Context, p model.Proposal) Proposal {
	out := Proposal{Proposal: p, CaseNow: p.Case, Now: s.Now()}
	if c, err := s.Store.Case(ctx, p.Case); err == nil { // else it is told without
		out.CaseNow, out.Title = c.ID, c.Title
	}
	return out
}

func (s *Server) proposal(r *http.Request) (any, error) {
	p, err := s.findProposal(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	expires, err := s.lastDay(r.URL.Query().Get("expires"))
	if err != nil {
		return nil, err
	}
	out := s.proposalNow(r.Context(), p)
	if p.State == model.ProposalOpen {
		d, err := s.Engine.Draft(r.Context(), p, expires)
		if err != nil {
			return nil, err
		}
		out.Draft = &d
	}
	return out, nil
}

// lastDay reads the last day of an ignore.
func (s *Server) lastDay(text string) (time.Time, error) {
	now := s.Now().UTC()
	if text == "" {
		return now.AddDate(0, 0, proposedDays), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	switch {
	case err != nil:
		return day, bad(`a last day is written as "2027-03-01"`)
	case day.AddDate(0, 0, 1).Before(now):
		return day, bad("an ignore can't end before today")
	case day.After(now.AddDate(0, 0, mostDays)):
		return day, bad(fmt.Sprintf("a proposed ignore lasts at most %d days", mostDays))
	}
	return day, nil
}

// findProposal finds one by its id, or the beginning of it.
func (s *Server) findProposal(ctx context.Context, id string) (model.Proposal, error) {
	if !strings.HasPrefix(id, "p-") {
		id = "p-" + id
	}
	found, err := s.Store.FindProposals(ctx, id, 8)
	switch {
	case err != nil:
		return model.Proposal{}, err
	case len(found) == 0:
		return model.Proposal{}, &Error{http.StatusNotFound, "there is no proposal " + id + "; \"kelpie proposal list\" lists them"}
	case len(found) > 1 && found[0] != id:
		return model.Proposal{}, &Error{http.StatusConflict, "more than one proposal begins with " + id + ": " + strings.Join(found, ", ")}
	}
	return s.Store.Proposal(ctx, found[0])
}

// openProposal finds one that somebody wants to end.
func (s *Server) openProposal(r *http.Request, by, because string) (model.Proposal, error) {
	if len(by) > maxName || len(because) > maxReason {
		return model.Proposal{}, bad(fmt.Sprintf("a name has at most %d bytes, a reason %d", maxName, maxReason))
	}
	if strings.TrimSpace(by) == "" {
		return model.Proposal{}, bad("an order says by whom")
	}
	p, err := s.findProposal(r.Context(), r.PathValue("id"))
	if err == nil && p.State != model.ProposalOpen {
		err = &Error{http.StatusConflict, fmt.Sprintf("the proposal was %s already, by %s", p.State, p.EndedBy)}
	}
	if err != nil {
		return p, err
	}
	why, err := s.Engine.MayConfigure(r.Context(), by)
	if err == nil && why != "" {
		err = &Error{http.StatusForbidden, why}
	}
	return p, err
}

func (s *Server) accept(r *http.Request) (any, error) {
	var a Accepting
	if err := readBody(r, &a); err != nil {
		return nil, err
	}
	p, err := s.openProposal(r, a.By, a.Because)
	if err != nil {
		return nil, err
	}
	expires, err := s.lastDay(a.Expires)
	if err != nil {
		return nil, err
	}
	d, err := s.Engine.AcceptProposal(r.Context(), p, a.By, a.Because, expires)
	if err != nil {
		return nil, err
	}
	return s.ended(r.Context(), p.ID, &d)
}

func (s *Server) refuseProposal(r *http.Request) (any, error) {
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	p, err := s.openProposal(r, o.By, o.Because)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Because) == "" {
		return nil, bad("say why it is refused: --because")
	}
	err = s.Engine.Order(r.Context(), model.Command{Kind: model.RefuseProposal, By: o.By, Because: o.Because, Proposal: p.ID})
	if err != nil {
		return nil, err
	}
	return s.ended(r.Context(), p.ID, nil)
}

// ended is a proposal after an order about it.
func (s *Server) ended(ctx context.Context, id string, d *Draft) (any, error) {
	p, err := s.Store.Proposal(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.State == model.ProposalOpen {
		return nil, &Error{http.StatusConflict, "the order was not taken: the configuration says otherwise now"}
	}
	out := s.proposalNow(ctx, p)
	out.Draft = d
	return out, nil
}

// RuleDraft is a rule that was written from a case.
type RuleDraft struct {
	Name string `json:"name"`
	Text string `json:"text"`
	// Left are rules of the case whose events are not in it.
	Left []string `json:"left,omitempty"`
}

var ruleName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,63}$`)

func (s *Server) draftRule(r *http.Request) (any, error) {
	c, err := s.findCase(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	name := r.URL.Query().Get("name")
	if name == "" {
		name = "draft_" + strings.TrimPrefix(c.ID, "c-")[:min(len(c.ID)-2, 8)]
	}
	if !ruleName.MatchString(name) {
		return nil, bad("a rule's name is small letters, digits and _, such as beacon_then_drop")
	}
	return s.Engine.DraftRule(r.Context(), c.ID, name)
}
