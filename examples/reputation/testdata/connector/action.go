package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func action() sdk.Connector {
	return sdk.Connector{
		Kind:    sdk.KindAction,
		Summary: "Blocks addresses by Reputation.",
		New:     func() sdk.Instance { return &blocking{} },
		Verbs: []sdk.Verb{{
			Name:       "block_indicator",
			Targets:    []string{sdk.IP},
			Summary:    "Blocks an address.",
			Undo:       true,
			Check:      true,
			Idempotent: true, // Reputation takes an Idempotency-Key once
			Settle:     time.Minute,
		}},
	}
}

// blocking is the action. It can undo what it did, and say afterwards whether it did.
type blocking struct{ client }

func (b *blocking) Config() any { return nil } // its block has no attributes of its own

// block is an address that Reputation blocks.
type block struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// Execute blocks an address. The key is the same for every attempt of one decision, and
// Reputation makes one block of it.
func (b *blocking) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	if call.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Message: "would block " + call.Target.Value}, nil
	}
	var made block
	err := b.call(ctx, http.MethodPost, "/v1/blocks", call.Key, map[string]any{"ip": call.Target.Value}, &made)
	return outcome(sdk.Result{Outcome: sdk.OutcomeDone, Reference: made.ID, UndoToken: []byte(made.ID)}, err)
}

// Undo takes the block away. The token is what Execute gave.
func (b *blocking) Undo(ctx context.Context, call sdk.UndoCall) (sdk.Result, error) {
	err := b.call(ctx, http.MethodDelete, "/v1/blocks/"+url.PathEscape(string(call.Token)), call.Key, nil, nil)
	if errors.Is(err, errNotThere) {
		return sdk.Result{Outcome: sdk.OutcomeAlready, Message: "the block is gone"}, nil
	}
	return outcome(sdk.Result{Outcome: sdk.OutcomeDone}, err)
}

// Check says what became of a call whose answer was lost.
func (b *blocking) Check(ctx context.Context, call sdk.CheckCall) (sdk.Result, error) {
	var answer struct {
		Blocks []block `json:"blocks"`
	}
	if err := b.call(ctx, http.MethodGet, "/v1/blocks", "", nil, &answer); err != nil {
		return sdk.Result{}, err
	}
	for _, made := range answer.Blocks {
		switch {
		case call.Undo && made.ID == string(call.Token):
			return sdk.Result{Outcome: sdk.OutcomeFailed, Message: "it is still blocked"}, nil
		case !call.Undo && made.Key == call.Key:
			return sdk.Result{Outcome: sdk.OutcomeDone, Reference: made.ID, UndoToken: []byte(made.ID)}, nil
		}
	}
	if call.Undo {
		return sdk.Result{Outcome: sdk.OutcomeDone}, nil
	}
	return sdk.Result{Outcome: sdk.OutcomeFailed, Message: "it was never taken"}, nil
}

// outcome claims nothing that did not happen: after an error that leaves it open the core
// asks Check.
func outcome(result sdk.Result, err error) (sdk.Result, error) {
	if told := (*sdk.Error)(nil); errors.As(err, &told) && told.Reason == sdk.Retry && told.RetryAfter > 0 {
		// A limit: it was not taken.
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: err.Error()}, nil
	}
	if err != nil {
		return sdk.Result{}, err
	}
	return result, nil
}
