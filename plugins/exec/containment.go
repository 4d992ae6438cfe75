package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kelpie-sec/kelpie/sdk"
)

// containment is an order whose program understands undo and check too.
type containment struct{ order }

// Undo runs the program to take back what it did.
func (c *containment) Undo(ctx context.Context, u sdk.UndoCall) (sdk.Result, error) {
	return c.act(ctx, call{
		Operation: "undo", Verb: u.Verb, Target: targetOf(u.Target), Key: u.Key, NotAfter: u.NotAfter, Token: u.Token,
	}), nil
}

// Check asks the program what became of a call. Only what it says in so many words
// counts: a program that does not know this operation must not be taken for one that
// knows the outcome.
func (c *containment) Check(ctx context.Context, q sdk.CheckCall) (sdk.Result, error) {
	ctx, cancel := early(ctx)
	defer cancel()
	output, end, err := c.program.ask(ctx, call{
		Operation: "check", Verb: q.Verb, Target: targetOf(q.Target), Key: q.Key, Undo: q.Undo, Token: q.Token,
	}, maxResult)
	if err != nil {
		return sdk.Result{}, err
	}
	if end.code != 0 {
		return sdk.Result{}, fmt.Errorf("the program ended with %s", end)
	}
	var r result
	if err := errors.Join(decode(output, &r), r.check()); err != nil {
		return sdk.Result{}, err
	}
	if r.Outcome == "" {
		return sdk.Result{}, errors.New(`the program was asked what became of a call, and did not say: let it print {"outcome": …} for the operation "check"`)
	}
	return r.outcome(end, nil), nil
}
