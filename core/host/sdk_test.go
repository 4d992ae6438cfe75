//go:build linux

package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// sdkPlugin is one written with the SDK, as an author would.
func sdkPlugin() sdk.Plugin {
	return sdk.Plugin{
		Name: "fake", Version: "2.0.0",
		Connectors: []sdk.Connector{
			{Kind: sdk.KindDetector, Finite: true, New: func() sdk.Instance { return &counter{} }},
			{Kind: sdk.KindEnrichment, Takes: []string{sdk.IP}, BatchLimit: 100, New: func() sdk.Instance { return &geo{} }},
			{Kind: sdk.KindAction, New: func() sdk.Instance { return &teller{} }, Verbs: []sdk.Verb{{Name: "notify"}}},
		},
	}
}

type counterConfig struct {
	Count int    `kelpie:"count,required" doc:"Events to send."`
	Size  int    `kelpie:"size" default:"2" doc:"Bytes of each."`
	Token string `kelpie:"token,secret" doc:"Logged by mistake."`
}

// counter is a detector whose cursor is how many it has sent.
type counter struct {
	config counterConfig
	env    sdk.Env
}

func (c *counter) Config() any { return &c.config }

func (c *counter) Open(_ context.Context, env sdk.Env) error {
	c.env = env
	env.Log.Info("opened", "token", c.config.Token)
	if c.config.Count < 0 {
		return sdk.Diagnostic{Path: []string{"count"}, Summary: "must not be negative"}
	}
	return nil
}

func (c *counter) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	n := 0
	fmt.Sscan(string(start.Cursor), &n)
	raw := []byte(`{"x":"` + strings.Repeat("y", max(0, c.config.Size-8)) + `"}`)
	for n < c.config.Count {
		var events []sdk.Event
		for range min(256, c.config.Count-n) {
			n++
			events = append(events, sdk.Event{ID: fmt.Sprint(n), Raw: raw, Time: time.Unix(int64(n), 0)})
		}
		if _, err := out.Send(ctx, events, fmt.Append(nil, n)); err != nil {
			return err
		}
	}
	if start.Once {
		return nil
	}
	<-ctx.Done()
	return nil
}

type geo struct{}

func (*geo) Config() any { return &struct{}{} }

func (*geo) Enrich(_ context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	var out []sdk.Reply
	for range questions {
		out = append(out, sdk.Reply{Answers: []sdk.Answer{{Network: &sdk.Network{Country: "NZ"}}}})
	}
	return out, nil
}

type teller struct{}

func (*teller) Config() any { return &struct{}{} }

func (*teller) Execute(context.Context, sdk.Call) (sdk.Result, error) {
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: "1"}, nil
}
