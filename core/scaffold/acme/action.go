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
		Summary: "Isolates hosts by Acme.",
		New:     func() sdk.Instance { return &isolation{} },
		Verbs: []sdk.Verb{{
			Name:       "isolate_host",
			Targets:    []string{sdk.Host},
			Summary:    "Cuts a host off the network.",
			Undo:       true,
			Check:      true,
			Idempotent: true, // Acme takes an Idempotency-Key once
			Settle:     time.Minute,
		}},
	}
}

// isolation is the action. It can undo what it did, and say afterwards whether it did.
type isolation struct{ client }

func (i *isolation) Config() any { return nil } // its block has no attributes of its own

// Execute isolates a host. The key is the same for every attempt of one decision.
func (i *isolation) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	if call.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Message: "would isolate " + call.Target.Value}, nil
	}
	return i.order(ctx, call.Key, call.Target.Value, true)
}

// Undo releases it again.
func (i *isolation) Undo(ctx context.Context, call sdk.UndoCall) (sdk.Result, error) {
	return i.order(ctx, call.Key, call.Target.Value, false)
}

func (i *isolation) order(ctx context.Context, key, host string, isolated bool) (sdk.Result, error) {
	return i.outcome(ctx, http.MethodPost, "/v1/isolations", key, map[string]any{"host": host, "isolated": isolated})
}

// Check says what became of an order whose answer was lost.
func (i *isolation) Check(ctx context.Context, call sdk.CheckCall) (sdk.Result, error) {
	return i.outcome(ctx, http.MethodGet, "/v1/isolations?key="+url.QueryEscape(call.Key), "", nil)
}

// outcome claims nothing that did not happen: after an error that leaves it open the core
// asks Check.
func (i *isolation) outcome(ctx context.Context, method, path, key string, send any) (sdk.Result, error) {
	var answer struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Same  bool   `json:"same_key"`
	}
	err := i.call(ctx, method, path, key, send, &answer)
	if told := (*sdk.Error)(nil); errors.As(err, &told) && told.Reason == sdk.Retry && told.RetryAfter > 0 {
		// A limit: it was not taken.
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: err.Error()}, nil
	}
	if err != nil {
		return sdk.Result{}, err
	}
	result := sdk.Result{Outcome: sdk.OutcomeUnknown, Reference: answer.ID, SameKey: answer.Same}
	switch answer.State {
	case "done":
		result.Outcome = sdk.OutcomeDone
	case "already":
		result.Outcome = sdk.OutcomeAlready
	case "none": // it was never taken
		result.Outcome = sdk.OutcomeFailed
	}
	return result, nil
}
