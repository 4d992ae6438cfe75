// Command fake is a plugin for tests: it does what its environment and its blocks say,
// good or bad.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func main() {
	switch os.Getenv("FAKE_START") {
	case "prints":
		fmt.Println("Welcome to fake, the fakest of plugins!")
	case "mute":
		fmt.Fprintln(os.Stderr, "thinking")
		time.Sleep(time.Hour)
	case "crashes":
		fmt.Fprintln(os.Stderr, "cannot find libfake.so")
		os.Exit(3)
	}
	sdk.Serve(sdk.Plugin{
		Name: "fake", Version: "0.1.0",
		Connectors: []sdk.Connector{
			{Kind: sdk.KindDetector, Summary: "Fakes events.", Finite: true, New: func() sdk.Instance { return &detector{} }},
			{
				Kind: sdk.KindEnrichment, Summary: "Fakes answers.", New: func() sdk.Instance { return &enricher{} },
				Takes: []string{sdk.IP}, BatchLimit: 8,
			},
			{
				Kind: sdk.KindAction, Summary: "Fakes actions.", New: func() sdk.Instance { return &actor{} },
				Verbs: []sdk.Verb{{
					Name: "ticket", Targets: []string{"address"}, Summary: "Open a ticket.",
					Parameters: func() any { return &struct{}{} },
				}},
			},
		},
		Permissions: sdk.Permissions{Write: []string{"{file}"}},
	})
}

type detector struct {
	config struct {
		Do string `kelpie:"do" default:"events" doc:"events, crash, panic or fail."`
	}
}

func (d *detector) Config() any { return &d.config }

func (d *detector) Interval() time.Duration { return 10 * time.Millisecond }

func (d *detector) Fetch(_ context.Context, cursor []byte) (sdk.Page, error) {
	switch d.config.Do {
	case "crash":
		fmt.Fprintln(os.Stderr, "panic: this always happens")
		os.Exit(2)
	case "panic":
		go panic("this always happens") // which no recover of ours stops
		select {}
	case "fail":
		return sdk.Page{}, &sdk.Error{Reason: sdk.Denied, Fault: sdk.FaultVendor, Err: errors.New("the vendor says: 401 Unauthorized")}
	}
	if len(cursor) > 0 {
		return sdk.Page{Cursor: cursor}, nil
	}
	return sdk.Page{Cursor: []byte("1"), Events: []sdk.Event{{
		ID: "1", Raw: []byte(`{"kind":"fake"}`), Title: "a fake event",
	}}}, nil
}

type enricher struct {
	config struct {
		Token string `kelpie:"token,secret" doc:"A secret that it tells everybody."`
	}
}

func (e *enricher) Config() any { return &e.config }

func (e *enricher) Enrich(_ context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	fmt.Fprintln(os.Stderr, "my token is "+e.config.Token)
	replies := make([]sdk.Reply, len(questions))
	for i := range replies {
		replies[i].Err = errors.New("the vendor refuses the token " + e.config.Token)
	}
	return replies, nil
}

type actor struct {
	config struct {
		File   sdk.Path `kelpie:"file,required" doc:"Where each call is written down."`
		Answer string   `kelpie:"answer" default:"done" doc:"done, unknown, refused or crash."`
		Token  string   `kelpie:"token,secret" doc:"A secret that it tells everybody."`
	}
}

func (a *actor) Config() any { return &a.config }

func (a *actor) Execute(_ context.Context, call sdk.Call) (sdk.Result, error) {
	f, err := os.OpenFile(string(a.config.File), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return sdk.Result{}, err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s %s dry_run=%v\n", call.Verb, call.Target.Value, call.DryRun); err != nil {
		return sdk.Result{}, err
	}
	message := strings.TrimSpace("noted " + a.config.Token)
	switch a.config.Answer {
	case "unknown":
		return sdk.Result{Outcome: sdk.OutcomeUnknown, Message: "the line went dead"}, nil
	case "refused":
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: message}, nil
	case "crash":
		os.Exit(2)
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: "T-1", Message: message}, nil
}
