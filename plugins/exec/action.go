package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// maxResult is the most that an action's program prints, in bytes.
const maxResult = 1 << 20

// order does what is not taken back.
type order struct {
	config  actionConfig
	guard   *guard
	program *program

	mu sync.Mutex
	// until is when the program wants to be run again.
	until time.Time
}

// Config is filled from the block.
func (o *order) Config() any { return &o.config }

// Open runs nothing.
func (o *order) Open(_ context.Context, env sdk.Env) error {
	o.program = newProgram(&o.config.programConfig, env, o.guard, o.config.AtOnce)
	return nil
}

// Close is called when nothing of the instance runs any more.
func (o *order) Close() error {
	o.program.close()
	return nil
}

// Health tells whether the program could be run.
func (o *order) Health(context.Context) error { return checkProgram(string(o.config.Program)) }

// call is what the program is given.
type call struct {
	Operation  string          `json:"operation"` // execute, undo, check
	Verb       string          `json:"verb"`
	Target     target          `json:"target"`
	Parameters any             `json:"parameters,omitempty"`
	Key        string          `json:"key"`
	NotAfter   time.Time       `json:"not_after,omitzero"`
	DryRun     bool            `json:"dry_run,omitempty"`
	Attempt    int             `json:"attempt,omitempty"`
	Undo       bool            `json:"undo,omitempty"` // of a check: the key is an undo's
	Token      json.RawMessage `json:"token,omitempty"`
}

type target struct {
	Kind  string          `json:"kind"`
	Value string          `json:"value"`
	Known json.RawMessage `json:"known,omitempty"`
}

func targetOf(t sdk.Target) target {
	out := target{Kind: t.Kind, Value: t.Value}
	if json.Valid(t.Known) {
		out.Known = t.Known
	}
	return out
}

// result is what the program prints.
type result struct {
	Outcome    sdk.Outcome     `json:"outcome"`
	Message    string          `json:"message"`
	Reference  string          `json:"reference"`
	SameKey    bool            `json:"same_key"`
	Token      json.RawMessage `json:"token"`
	RetryAfter span            `json:"retry_after"`
}

// Execute runs the program for one call.
func (o *order) Execute(ctx context.Context, c sdk.Call) (sdk.Result, error) {
	if c.DryRun && !o.config.DryRun {
		return sdk.Result{
			Outcome: sdk.OutcomeDone,
			Message: fmt.Sprintf("would run %s to %s %s %s", o.config.Program, c.Verb, c.Target.Kind, c.Target.Value),
		}, nil
	}
	return o.act(ctx, call{
		Operation: "execute", Verb: c.Verb, Target: targetOf(c.Target), Parameters: c.Parameters,
		Key: c.Key, NotAfter: c.NotAfter, DryRun: c.DryRun, Attempt: c.Attempt,
	}), nil
}

// act runs the program and says what came of it.
func (o *order) act(ctx context.Context, c call) sdk.Result {
	ctx, cancel := early(ctx)
	defer cancel()
	if until := o.rests(); !until.IsZero() {
		return failed("the program wants to be left alone until %s; it was not run", until.UTC().Format(time.RFC3339))
	}
	output, end, err := o.program.ask(ctx, c, maxResult)
	switch {
	case errors.Is(err, errNotRun):
		return failed("%s", err)
	case err != nil:
		return unknown("%s: it may have taken effect", err)
	}
	var r result
	wrong := decode(output, &r)
	if wrong == nil {
		wrong = r.check()
	}
	if end.code == exitLater && wrong == nil {
		o.rest(time.Duration(r.RetryAfter))
	}
	return r.outcome(end, wrong)
}

// check says what of a result is not to be believed.
func (r *result) check() error {
	known := []sdk.Outcome{"", sdk.OutcomeDone, sdk.OutcomeAlready, sdk.OutcomeRefused, sdk.OutcomeFailed, sdk.OutcomeUnknown}
	if !slices.Contains(known, r.Outcome) {
		return fmt.Errorf("it printed the outcome %s; there are done, already, refused, failed and unknown", excerpt([]byte(r.Outcome)))
	}
	return nil
}

// outcome puts together how a program ended and what it printed, of which something may
// be wrong. Where the two differ nothing is claimed.
func (r *result) outcome(end ending, wrong error) sdk.Result {
	out := sdk.Result{Reference: r.Reference, Message: r.Message, SameKey: r.SameKey, UndoToken: r.Token}
	says := map[int]sdk.Outcome{exitLater: sdk.OutcomeFailed, exitRefused: sdk.OutcomeRefused}[end.code]
	switch {
	case says != "" && wrong == nil && r.Outcome != "" && r.Outcome != says:
		return unknown("the program says %s, and ended with %s: it may have taken effect", r.Outcome, end)
	case end.code == exitLater || end.code == exitRefused:
		if wrong != nil || out.Message == "" {
			out.Message = "the program says so by its " + end.String()
		}
		out.Outcome = sdk.OutcomeRefused
		if end.code == exitLater {
			out.Outcome = sdk.OutcomeFailed
		}
	case end.code != 0:
		return unknown("the program ended with %s: it may have taken effect", end)
	case wrong != nil:
		return unknown("the program ended well, but %s", wrong)
	case r.Outcome == "":
		out.Outcome = sdk.OutcomeDone
	default:
		out.Outcome = r.Outcome
	}
	return out
}

func failed(format string, args ...any) sdk.Result {
	return sdk.Result{Outcome: sdk.OutcomeFailed, Message: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) sdk.Result {
	return sdk.Result{Outcome: sdk.OutcomeUnknown, Message: fmt.Sprintf(format, args...)}
}

// rest leaves the program alone for a time.
func (o *order) rest(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = time.Now().Add(min(d, maxLater))
}

// rests tells until when the program is left alone; zero: it is not.
func (o *order) rests() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.until) {
		return o.until
	}
	return time.Time{}
}
