package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// maxAnswers is the most that an enrichment's program prints, in bytes.
const maxAnswers = 16 << 20

// enrichment answers what a program knows.
type enrichment struct {
	config  enrichmentConfig
	guard   *guard
	program *program
}

// Config is filled from the block.
func (e *enrichment) Config() any { return &e.config }

// Open runs nothing.
func (e *enrichment) Open(_ context.Context, env sdk.Env) error {
	e.program = newProgram(&e.config.programConfig, env, e.guard, e.config.AtOnce)
	return nil
}

// Close is called when nothing of the instance runs any more.
func (e *enrichment) Close() error {
	e.program.close()
	return nil
}

// Health tells whether the program could be run.
func (e *enrichment) Health(context.Context) error { return checkProgram(string(e.config.Program)) }

// question as the program gets it.
type question struct {
	Kind  string    `json:"kind"`
	Value string    `json:"value"`
	At    time.Time `json:"at"`
}

// told is what the program prints.
type told struct {
	Answers    []json.RawMessage `json:"answers"`
	QuotaLeft  *int64            `json:"quota_left"`
	RetryAfter span              `json:"retry_after"`
}

// Enrich asks the program all questions in one run.
func (e *enrichment) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	ctx, cancel := early(ctx)
	defer cancel()
	var in struct {
		Questions []question `json:"questions"`
	}
	for _, q := range questions {
		in.Questions = append(in.Questions, question{q.Observable.Kind, q.Observable.Value, q.At})
	}
	output, end, err := e.program.ask(ctx, in, maxAnswers)
	switch {
	case errors.Is(err, errNotRun) && ctx.Err() == nil:
		return nil, &sdk.Error{Reason: sdk.Denied, Fault: sdk.FaultInput, Err: err}
	case err != nil:
		return nil, err
	}
	var out told
	wrong := decode(output, &out)
	switch {
	case end.code == exitLater:
		return nil, &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, RetryAfter: min(time.Duration(out.RetryAfter), maxLater), Err: fmt.Errorf("the program wants to be asked later (%s)", end)}
	case end.code == exitRefused:
		return nil, &sdk.Error{Reason: sdk.Denied, Fault: sdk.FaultVendor, Err: fmt.Errorf("the program is not let in (%s)", end)}
	case end.code != 0:
		return nil, fmt.Errorf("the program ended with %s", end)
	case wrong != nil:
		return nil, wrong
	case len(out.Answers) != len(questions):
		return nil, fmt.Errorf("it was asked %d questions and printed %d answers: let it print {\"answers\": […]} with one for each, in order; {\"not_found\": true} where it knows nothing", len(questions), len(out.Answers))
	}
	replies := make([]sdk.Reply, len(questions))
	for i := range replies {
		replies[i] = readReply(out.Answers[i])
		replies[i].QuotaLeft = out.QuotaLeft
	}
	return replies, nil
}
