package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// CaseOrder is the body of an order about which signals are one case.
type CaseOrder struct {
	By      string `json:"by"`
	Because string `json:"because"`
	// Cases that are merged.
	Cases []string `json:"cases,omitempty"`
	// Signals that are split off, by their ids or the beginnings of them.
	Signals []string `json:"signals,omitempty"`
	// Value that joins nothing, "kind:value".
	Value string `json:"value,omitempty"`
}

// CaseDecision is a decision about cases, and the cases that it made.
type CaseDecision struct {
	model.Decision
	Now []CaseLine `json:"now,omitempty"`
}

// mostMerged bounds the cases of one merge.
const mostMerged = 50

func (s *Server) readCaseOrder(r *http.Request) (CaseOrder, error) {
	var o CaseOrder
	if err := readBody(r, &o); err != nil {
		return o, err
	}
	switch {
	case len(o.By) > maxName || len(o.Because) > maxReason:
		return o, bad(fmt.Sprintf("a name has at most %d bytes, a reason %d", maxName, maxReason))
	case strings.TrimSpace(o.By) == "":
		return o, bad("an order says by whom")
	case strings.TrimSpace(o.Because) == "":
		return o, bad("a decision about cases says why")
	}
	return o, nil
}

func (s *Server) decisions(r *http.Request) (any, error) {
	f, err := s.Store.Flags(r.Context())
	return list(f.Decisions), err
}

func (s *Server) merge(r *http.Request) (any, error) {
	o, err := s.readCaseOrder(r)
	if err != nil {
		return nil, err
	}
	if len(o.Cases) < 2 || len(o.Cases) > mostMerged {
		return nil, bad(fmt.Sprintf("a merge names 2 to %d cases", mostMerged))
	}
	c := model.Command{Kind: model.MergeCases, By: o.By, Because: o.Because}
	var found []string
	for _, id := range o.Cases {
		k, err := s.findCase(r.Context(), id)
		if err != nil {
			return nil, err
		}
		if slices.Contains(found, k.ID) {
			return nil, &Error{http.StatusConflict, id + " is part of case " + k.ID + " already"}
		}
		found = append(found, k.ID)
		signal, err := s.Store.EarliestSignal(r.Context(), k.ID)
		if err != nil {
			return nil, err
		}
		c.Signals = append(c.Signals, signal)
	}
	return s.decide(r.Context(), c)
}

func (s *Server) split(r *http.Request) (any, error) {
	o, err := s.readCaseOrder(r)
	if err != nil {
		return nil, err
	}
	if len(o.Signals) == 0 || len(o.Signals) > model.MostSplit {
		return nil, bad(fmt.Sprintf("a split names 1 to %d signals", model.MostSplit))
	}
	k, err := s.findCase(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	members, err := s.Store.CaseSignals(r.Context(), k.ID, false)
	if err != nil {
		return nil, err
	}
	c := model.Command{Kind: model.SplitCase, By: o.By, Because: o.Because}
	for _, id := range o.Signals {
		signal, err := oneSignal(members, id, k.ID)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(c.Signals, signal) {
			c.Signals = append(c.Signals, signal)
		}
	}
	if len(c.Signals) == k.Size {
		return nil, &Error{http.StatusConflict, "these are all signals of case " + k.ID + ": there is nothing to split them from"}
	}
	return s.decide(r.Context(), c)
}

// oneSignal finds a signal of a case by the beginning of its id.
func oneSignal(members []model.Signal, id, of string) (string, error) {
	var found []string
	for _, g := range members {
		if g.ID == id {
			return id, nil
		}
		if strings.HasPrefix(g.ID, id) || strings.HasPrefix(g.ID, "s-"+id) {
			found = append(found, g.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", &Error{http.StatusNotFound, "case " + of + " has no signal " + id + `; "kelpie case signals ` + of + `" lists them`}
	case 1:
		return found[0], nil
	}
	return "", &Error{http.StatusConflict, "more than one signal begins with " + id + ": " + strings.Join(found[:min(len(found), 8)], ", ")}
}

func (s *Server) neverJoin(r *http.Request) (any, error) {
	o, err := s.readCaseOrder(r)
	if err != nil {
		return nil, err
	}
	value, err := sdk.ParseKey(o.Value)
	if err != nil {
		return nil, bad(err.Error())
	}
	if g, err := s.Engine.Grouping(r.Context()); err == nil && g.Never(value) {
		return nil, &Error{http.StatusConflict, value.Key() + " never joins by the configuration: case.never_join"}
	}
	f, err := s.Store.Flags(r.Context())
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decisions {
		if d.Kind == model.NeverJoin && d.Value == value {
			return nil, &Error{http.StatusConflict, value.Key() + " never joins already, by " + d.By + ": " + d.ID}
		}
	}
	return s.decide(r.Context(), model.Command{Kind: model.NeverJoin, By: o.By, Because: o.Because, Value: value.Key()})
}

// decide gives an order about cases, and answers with what it came to.
func (s *Server) decide(ctx context.Context, c model.Command) (any, error) {
	f, err := s.Store.Flags(ctx)
	if err != nil {
		return nil, err
	}
	if len(f.Decisions) >= model.MostDecisions {
		return nil, &Error{http.StatusConflict, fmt.Sprintf("%d decisions stand, which is the most; undo one, or write values into case.never_join", len(f.Decisions))}
	}
	c.ID = rand.Text()
	if err := s.Engine.Order(ctx, c); err != nil {
		return nil, err
	}
	if f, err = s.Store.Flags(ctx); err != nil {
		return nil, err
	}
	id := decide.DecisionID(c.ID)
	at := slices.IndexFunc(f.Decisions, func(d model.Decision) bool { return d.ID == id })
	if at < 0 {
		return nil, &Error{http.StatusConflict, "nothing was decided, since the cases have changed meanwhile; look at them again"}
	}
	return s.decided(ctx, f.Decisions[at])
}

// decided is a decision with the cases that its signals are in now.
func (s *Server) decided(ctx context.Context, d model.Decision) (CaseDecision, error) {
	out := CaseDecision{Decision: d}
	for _, id := range d.Cases {
		c, err := s.Store.Case(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.add(c)
	}
	for _, signal := range d.Signals[:min(len(d.Signals), mostMerged)] {
		c, err := s.Store.CaseOf(ctx, signal)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.add(c)
	}
	return out, nil
}

func (d *CaseDecision) add(c model.Case) {
	if !slices.ContainsFunc(d.Now, func(l CaseLine) bool { return l.ID == c.ID }) {
		d.Now = append(d.Now, Line(c))
	}
}

func (s *Server) undoDecision(r *http.Request) (any, error) {
	o, err := s.readCaseOrder(r)
	if err != nil {
		return nil, err
	}
	f, err := s.Store.Flags(r.Context())
	if err != nil {
		return nil, err
	}
	name := r.PathValue("id")
	var found []model.Decision
	for _, d := range f.Decisions {
		if strings.HasPrefix(d.ID, name) || strings.HasPrefix(d.ID, "d-"+name) || d.Kind == model.NeverJoin && d.Value.Key() == name {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return nil, &Error{http.StatusNotFound, "no decision " + name + ` stands; "kelpie case decisions" lists them`}
	case len(found) > 1:
		return nil, &Error{http.StatusConflict, "more than one decision is meant by " + name}
	}
	err = s.Engine.Order(r.Context(), model.Command{Kind: model.UndoDecision, By: o.By, Because: o.Because, Decision: found[0].ID})
	if err != nil {
		return nil, err
	}
	return s.decided(r.Context(), found[0])
}

// CommonValues are the values that join most signals, and what is said of each.
type CommonValues struct {
	store.Common
	// Limit is case.common: what joins more signals is proposed.
	Limit int `json:"limit"`
	// Never are those of Values that join nothing already.
	Never []sdk.Observable `json:"never,omitempty"`
}

func (s *Server) common(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 20, 1000)
	if err != nil {
		return nil, err
	}
	g, err := s.Engine.Grouping(r.Context())
	if err != nil {
		return nil, err
	}
	f, err := s.Store.Flags(r.Context())
	if err != nil {
		return nil, err
	}
	out := CommonValues{Limit: g.Common}
	if out.Common, err = s.Store.CommonValues(r.Context(), g.Window, limit); err != nil {
		return nil, err
	}
	for _, v := range out.Values {
		if never(g, f.Decisions, v.Value) {
			out.Never = append(out.Never, v.Value)
		}
	}
	out.Values = list(out.Values)
	return out, nil
}

func never(g correlate.Settings, decisions []model.Decision, o sdk.Observable) bool {
	return g.Never(o) || slices.ContainsFunc(decisions, func(d model.Decision) bool { return d.Kind == model.NeverJoin && d.Value == o })
}

// NeverJoin is what never joins, by the configuration and by decisions.
type NeverJoin struct {
	Configured []string         `json:"configured"`
	Decided    []model.Decision `json:"decided"`
}

func (s *Server) neverJoins(r *http.Request) (any, error) {
	f, err := s.Store.Flags(r.Context())
	if err != nil {
		return nil, err
	}
	out := NeverJoin{Configured: []string{}, Decided: []model.Decision{}}
	if g, err := s.Engine.Grouping(r.Context()); err == nil {
		for _, o := range g.NeverJoin {
			out.Configured = append(out.Configured, o.Key())
		}
		for _, p := range g.NeverLike {
			out.Configured = append(out.Configured, p.String())
		}
	}
	for _, d := range f.Decisions {
		if d.Kind == model.NeverJoin {
			out.Decided = append(out.Decided, d)
		}
	}
	return out, nil
}
