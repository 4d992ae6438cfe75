// Command vendor is an action that leaves everything to its far end, which the fault
// harness plays: whether a call takes effect, when, and whether anybody hears of it.
package main

import (
	"context"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
	"github.com/kelpie-sec/kelpie/sdk"
)

type config struct {
	Socket sdk.Path `kelpie:"socket,required" doc:"Where the far end listens."`
}

type parameters struct {
	Text string `kelpie:"text" doc:"Shown to the reader."`
}

type vendor struct {
	config config
	name   string
	far    *far.Client
}

func (v *vendor) Config() any { return &v.config }

func (v *vendor) Open(_ context.Context, env sdk.Env) error {
	v.name, v.far = env.Instance, far.Dial(string(v.config.Socket))
	return nil
}

func (v *vendor) Close() error {
	if v.far == nil {
		return nil
	}
	return v.far.Close()
}

// Execute implements sdk.Actor.
func (v *vendor) Execute(ctx context.Context, c sdk.Call) (sdk.Result, error) {
	call := v.call(c.Verb, c.Target, c.Key)
	call.Attempt, call.DryRun = c.Attempt, c.DryRun
	if deadline, ok := ctx.Deadline(); ok {
		call.Left = time.Until(deadline).Milliseconds()
	}
	return v.ask(ctx, "execute", call)
}

// Check implements sdk.Checker.
func (v *vendor) Check(ctx context.Context, c sdk.CheckCall) (sdk.Result, error) {
	return v.ask(ctx, "check", v.call(c.Verb, c.Target, c.Key))
}

func (v *vendor) call(verb string, t sdk.Target, key string) far.Call {
	return far.Call{Action: v.name, Verb: verb, Kind: t.Kind, Target: t.Value, Key: key}
}

func (v *vendor) ask(ctx context.Context, path string, call far.Call) (sdk.Result, error) {
	var r far.Result
	if err := v.far.Ask(ctx, path, call, &r); err != nil {
		return sdk.Result{}, err
	}
	if r.Crash {
		far.Crash()
	}
	return sdk.Result{Outcome: sdk.Outcome(r.Outcome), Message: r.Message, Reference: call.Key}, nil
}

// settle is how long after a call's deadline its effect may still come.
const settle = 500 * time.Millisecond

func main() {
	hosts := []string{sdk.Host}
	sdk.Serve(sdk.Plugin{
		Name: "vendor", Version: "0.1.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindAction, Summary: "Whatever the harness makes of it.",
			New: func() sdk.Instance { return &vendor{} },
			Verbs: []sdk.Verb{
				{
					Name: "notify", Targets: []string{"address"}, Summary: "Tell somebody.",
					Parameters: func() any { return &parameters{} },
				},
				{Name: "ticket", Targets: hosts, Summary: "Open a ticket; one key, one ticket.", Idempotent: true},
				{Name: "scan_host", Targets: hosts, Summary: "Scan; it can be asked about.", Check: true, Settle: settle},
				{Name: "collect", Targets: hosts, Summary: "Collect; nobody can say whether it did.", Settle: settle},
			},
		}},
	})
}
