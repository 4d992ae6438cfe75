package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Held is a hold as people see it: its owners' cases by their ids of now, without the
// token that undoes it.
type Held struct {
	model.Hold
	// Attempts at the undo under way, and what the last one came to.
	Attempts  int    `json:"attempts,omitempty"`
	LastError string `json:"last_error,omitempty"`
	// Waits says why a release does not go on; empty if it does.
	Waits string `json:"waits,omitempty"`
	// At is when this was read.
	At time.Time `json:"at"`
}

func (s *Server) holds(r *http.Request) (any, error) {
	all, err := s.Store.Holds(r.Context(), r.URL.Query().Has("all"))
	if err != nil {
		return nil, err
	}
	return s.held(r.Context(), all)
}

// held shows holds.
func (s *Server) held(ctx context.Context, all []model.Hold) ([]Held, error) {
	st, err := s.Engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	shown := make([]Held, len(all))
	for i, h := range all {
		h.UndoToken, h.Owners = nil, slices.Clone(h.Owners)
		for n := range h.Owners {
			o := &h.Owners[n]
			if c, err := s.Store.Case(ctx, o.Case); err == nil {
				o.Case = c.ID
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
		}
		shown[i] = Held{Hold: h, At: st.At}
		if h.State != model.HoldReleasing {
			continue
		}
		attempts, err := s.Store.Attempts(ctx, h.Undo)
		if err != nil {
			return nil, err
		}
		if shown[i].Attempts = len(attempts); len(attempts) > 0 {
			shown[i].LastError = attempts[len(attempts)-1].Message
		}
		switch {
		case st.Paused != nil:
			shown[i].Waits = `actions are paused; "kelpie resume actions" lets it go on`
		case !st.Running:
			shown[i].Waits = "kelpie is not running"
		}
	}
	return shown, nil
}

// release takes a hold by its id, the beginning of one, or what it is on.
func (s *Server) release(r *http.Request) (any, error) {
	ctx := r.Context()
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Because) == "" {
		return nil, bad("a release says why")
	}
	h, err := s.findHold(ctx, r.PathValue("hold"))
	if err != nil {
		return nil, err
	}
	order := model.Command{Kind: model.ReleaseHold, By: o.By, Because: o.Because, Hold: h.ID}
	if o.Case != "" {
		if order.Case, err = s.owning(ctx, h, o.Case); err != nil {
			return nil, err
		}
	}
	if err := s.Engine.Order(ctx, order); err != nil {
		return nil, err
	}
	before := h
	if h, err = s.Store.Hold(ctx, h.ID); err != nil {
		return nil, err
	}
	if refused(before, h) {
		return nil, &Error{http.StatusConflict, "it does not count: " + o.By + ` is a subject of a case that holds it; somebody else has to let go`}
	}
	shown, err := s.held(ctx, []model.Hold{h})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

// refused tells whether an order to let go changed nothing where there was something to
// let go: decide does not take it of a subject of a case.
func refused(before, after model.Hold) bool {
	if after.State == model.HoldReleasing || after.State == model.HoldReleased || !after.ChangedAt.Equal(before.ChangedAt) {
		return false
	}
	return before.State != model.HoldInForce || slices.ContainsFunc(before.Owners, model.Owner.Wants)
}

// extend makes a hold last longer, or until somebody lets go.
func (s *Server) extend(r *http.Request) (any, error) {
	ctx := r.Context()
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Because) == "" {
		return nil, bad("who holds something for longer says why")
	}
	long, err := o.long()
	if err != nil {
		return nil, err
	}
	h, err := s.findHold(ctx, r.PathValue("hold"))
	if err != nil {
		return nil, err
	}
	order := model.Command{Kind: model.ExtendHold, By: o.By, Because: o.Because, Hold: h.ID, For: long}
	if o.Case != "" {
		if order.Case, err = s.owning(ctx, h, o.Case); err != nil {
			return nil, err
		}
	}
	if h.State != model.HoldInForce {
		return nil, &Error{http.StatusConflict, "it is being let go already, or was: nothing is left to extend"}
	}
	if !slices.ContainsFunc(h.Owners, func(w model.Owner) bool { return w.Wants() && w.After > 0 }) {
		return nil, &Error{http.StatusConflict, "it has no end: it is held until somebody lets it go"}
	}
	if err := s.Engine.Order(ctx, order); err != nil {
		return nil, err
	}
	if h, err = s.Store.Hold(ctx, h.ID); err != nil {
		return nil, err
	}
	shown, err := s.held(ctx, []model.Hold{h})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

// releaseAll lets go of everything that is held.
func (s *Server) releaseAll(r *http.Request) (any, error) {
	ctx := r.Context()
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Because) == "" {
		return nil, bad("a release says why")
	}
	before, err := s.Store.Holds(ctx, false)
	if err != nil {
		return nil, err
	}
	if err := s.Engine.Order(ctx, model.Command{Kind: model.ReleaseAll, By: o.By, Because: o.Because}); err != nil {
		return nil, err
	}
	after := make([]model.Hold, len(before))
	for i, h := range before {
		if after[i], err = s.Store.Hold(ctx, h.ID); err != nil {
			return nil, err
		}
	}
	return s.held(ctx, after)
}

func (s *Server) findHold(ctx context.Context, name string) (model.Hold, error) {
	all, err := s.Store.Holds(ctx, false)
	if err != nil {
		return model.Hold{}, err
	}
	var found []model.Hold
	for _, h := range all {
		if h.ID == name {
			return h, nil
		}
		if h.Target.Value == name || h.Target.Kind+":"+h.Target.Value == name || strings.HasPrefix(h.ID, name) && strings.HasPrefix(name, "h-") {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return model.Hold{}, &Error{http.StatusNotFound, "nothing is held as or on " + name + `; "kelpie held" lists what is`}
	case 1:
		return found[0], nil
	}
	var texts []string
	for _, h := range found {
		texts = append(texts, h.ID+" ("+h.Verb+" by "+h.Action+")")
	}
	return model.Hold{}, &Error{http.StatusConflict, "more than one hold is meant by " + name + "; name one: " + strings.Join(texts, ", ")}
}

// owning is the first id of an owner of a hold that is part of a case now.
func (s *Server) owning(ctx context.Context, h model.Hold, id string) (string, error) {
	c, err := s.findCase(ctx, id)
	if err != nil {
		return "", err
	}
	for _, o := range h.Owners {
		now, err := s.Store.Case(ctx, o.Case)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
		if o.Wants() && (o.Case == c.ID || now.ID == c.ID) {
			return o.Case, nil
		}
	}
	return "", &Error{http.StatusConflict, "case " + c.ID + " does not hold " + h.Target.Value}
}

// endedByHand tells whether a person may say of an undo that came to nothing that it is
// done: the hold is stuck, and was ended without Kelpie.
func (s *Server) endedByHand(ctx context.Context, in model.Intent, state model.IntentState) bool {
	if in.Undoes == "" || state != model.IntentDone {
		return false
	}
	h, err := s.Store.Hold(ctx, in.Hold)
	return err == nil && h.State == model.HoldStuck && h.Undo == in.ID
}
