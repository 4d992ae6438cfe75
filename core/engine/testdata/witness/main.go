// Command witness is a detector, an enrichment and an action that write down what
// happens to their instances: one line each time that one is opened, begins a session,
// acts, or is closed. Tests count by it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// build makes executables differ.
var build string

type config struct {
	Notes sdk.Path      `kelpie:"notes,required" doc:"Where it is written down."`
	Do    string        `kelpie:"do" doc:"What Open does." default:"open" oneof:"open,refuse,hang,exit"`
	Token string        `kelpie:"token,secret" doc:"Some secret."`
	Mark  string        `kelpie:"mark" doc:"Makes a block another one."`
	Slow  time.Duration `kelpie:"slow" doc:"How long a call takes."`
	Ask   string        `kelpie:"ask" doc:"What Enrich does." default:"answer" oneof:"answer,hang,exit"`
}

type witness struct {
	config config
	name   string
}

func (w *witness) Config() any { return &w.config }

func (w *witness) note(what string) error {
	f, err := os.OpenFile(string(w.config.Notes), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s %d\n", what, w.name, os.Getpid())
	return errors.Join(err, f.Close())
}

func (w *witness) Open(ctx context.Context, env sdk.Env) error {
	w.name = env.Instance
	switch w.config.Do {
	case "refuse":
		return sdk.Diagnostic{Path: []string{"mark"}, Summary: "this is not to its liking", Detail: "Write another."}
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "exit":
		os.Exit(7)
	}
	return w.note("open" + build)
}

func (w *witness) Close() error {
	if w.name == "" {
		return nil
	}
	return w.note("close")
}

type detector struct{ witness }

func (d *detector) Detect(ctx context.Context, _ sdk.Start, _ sdk.Sender) error {
	if err := d.note("detect"); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

type enrichment struct{ witness }

func (e *enrichment) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	switch e.config.Ask {
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "exit":
		os.Exit(8)
	}
	time.Sleep(e.config.Slow)
	return make([]sdk.Reply, len(questions)), nil
}

type action struct{ witness }

func (a *action) Execute(_ context.Context, call sdk.Call) (sdk.Result, error) {
	time.Sleep(a.config.Slow)
	if err := a.note("act:" + call.Verb + ":" + call.Key); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, UndoToken: []byte(a.name)}, nil
}

// Undo notes whose token it got.
func (a *action) Undo(_ context.Context, undo sdk.UndoCall) (sdk.Result, error) {
	if err := a.note("undo:" + string(undo.Token)); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Outcome: sdk.OutcomeDone}, nil
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "witness", Version: "1.0.0",
		Connectors: []sdk.Connector{
			{Kind: sdk.KindDetector, Summary: "Reports nothing.", New: func() sdk.Instance { return &detector{} }},
			{Kind: sdk.KindEnrichment, Summary: "Knows nothing.", Takes: []string{"ip"}, BatchLimit: 16, New: func() sdk.Instance { return &enrichment{} }},
			{Kind: sdk.KindAction, Summary: "Does nothing.", New: func() sdk.Instance { return &action{} }, Verbs: []sdk.Verb{
				{Name: "notify", Targets: []string{"address"}, Summary: "Note."},
				{Name: "block_indicator", Targets: []string{"ip"}, Summary: "Note.", Undo: true},
			}},
		},
		Permissions: sdk.Permissions{Write: []string{"{notes}"}},
	})
}
