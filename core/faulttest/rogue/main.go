// Command rogue is a plugin that misbehaves: each instance in the way that its
// configuration names, the process in the way that its environment does. Before that,
// and without a way, it does what it should.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// The ways of an instance: at its After-th call, or after so many of a detector's batches.
const (
	crash   = "crash"          // end
	refuses = "crash at first" // end while it is configured
	hang    = "hang"           // never answer, whatever the caller says
	leak    = "leak"           // take memory until the limit ends it
	flood   = "flood"          // of a detector: as much as is taken
	unasked = "unasked"        // of a detector: more than is taken
	huge    = "huge"           // answer with 100 MB
	other   = "other"          // answer for another instance
	noise   = "noise"          // print without end
	bomb    = "bomb"           // start as many processes as may be, which work for nothing
	bombs   = "sessions"       // the same, each in a session of its own
	trickle = "trickle"        // from now on say a byte a second
)

// wayEnv is how the process misbehaves before it has instances: by a crash or noise.
const wayEnv = "ROGUE"

type config struct {
	Way   string `kelpie:"way" doc:"How it misbehaves." default:""`
	After int    `kelpie:"after" doc:"From which call on; 0: the first." default:"0"`
}

type rogue struct {
	config config
	calls  atomic.Int64
}

func (r *rogue) Config() any { return &r.config }

func (r *rogue) Open(_ context.Context, env sdk.Env) error {
	if r.config.Way == refuses {
		crashed("the configuration is too much for me")
	}
	ways.Store(env.Instance, r)
	return nil
}

// due tells whether this call is one to misbehave in.
func (r *rogue) due() bool { return r.calls.Add(1) > int64(r.config.After) }

// Detect reports a small event every 10 ms; serve makes something else of it.
func (r *rogue) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	at, _ := strconv.Atoi(string(start.Cursor)) // without a cursor: 0
	for ; ; at++ {
		now := time.Now().UTC().Format(time.RFC3339Nano)
		e := sdk.Event{ID: strconv.Itoa(at), Raw: fmt.Appendf(nil, `{"time":%q}`, now)}
		if _, err := out.Send(ctx, []sdk.Event{e}, []byte(strconv.Itoa(at+1))); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Enrich implements sdk.Enricher.
func (r *rogue) Enrich(_ context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	return make([]sdk.Reply, len(questions)), nil
}

// Execute implements sdk.Actor.
func (r *rogue) Execute(_ context.Context, call sdk.Call) (sdk.Result, error) {
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: call.Key}, nil
}

func crashed(why string) {
	fmt.Fprintln(stderr, why)
	os.Exit(3)
}

func main() {
	switch os.Getenv(wayEnv) {
	case crash:
		crashed("no license was found")
	case noise:
		fmt.Println("hello, this is the best plugin of all")
	}
	err := serve(sdk.Plugin{
		Name: "rogue", Version: "0.1.0",
		Connectors: []sdk.Connector{
			{
				Kind: sdk.KindDetector, Summary: "Misbehaves.",
				New: func() sdk.Instance { return &rogue{} }, CursorVersion: 1,
			},
			{
				Kind: sdk.KindEnrichment, Summary: "Misbehaves.",
				New: func() sdk.Instance { return &rogue{} }, Takes: []string{sdk.Domain}, BatchLimit: 4, DefaultTTL: time.Hour,
			},
			{
				Kind: sdk.KindAction, Summary: "Misbehaves.",
				New:   func() sdk.Instance { return &rogue{} },
				Verbs: []sdk.Verb{{Name: "notify", Targets: []string{"address"}, Summary: "Nothing."}},
			},
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
