package respond

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
)

// echo says back what it was given, as a careless connector does.
type echo struct {
	Caller
	fails bool
}

func (e *echo) Execute(_ context.Context, c Call) (Result, error) {
	if e.fails {
		return Result{}, errors.New("lost: " + string(c.Parameters))
	}
	return Result{State: model.IntentDone, Message: "sent " + string(c.Parameters), Reference: string(c.Parameters)}, nil
}

func (e *echo) Undo(_ context.Context, c Call) (Result, error) {
	return Result{State: model.IntentDone, Message: string(c.Parameters)}, nil
}

// TestLinks: a call has the links, and what is learnt of it has not.
func TestLinks(t *testing.T) {
	caller, asked := &echo{}, 0
	r := &Responder{Caller: caller, Links: func(in model.Intent) ([]byte, func(string) string) {
		asked++
		return []byte(string(in.Parameters) + " token"), func(s string) string { return strings.ReplaceAll(s, "token", "…") }
	}}
	in := model.Intent{ID: "i-1", Verb: Notify, Parameters: []byte("told")}
	res, err := r.perform(t.Context(), in, Attempt{}, 0)
	if err != nil || res.Message != "sent told …" || res.Reference != "told …" || string(in.Parameters) != "told" {
		t.Errorf("%+v %v", res, err)
	}
	caller.fails = true
	if _, err = r.perform(t.Context(), in, Attempt{}, 0); err == nil || err.Error() != "lost: told …" {
		t.Errorf("an error: %v", err)
	}
	in.Undoes = "i-0"
	if res, err = r.perform(t.Context(), in, Attempt{}, 0); err != nil || res.Message != "told" || asked != 2 {
		t.Errorf("an undo: %+v %v, %d times asked for links", res, err, asked)
	}
}
