// Command lookup is an enrichment that leaves everything to its far end, which the fault
// harness plays: what is known, how long it takes, whether it answers at all, and whether it lies.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
	"github.com/kelpie-sec/kelpie/sdk"
)

type config struct {
	Socket sdk.Path `kelpie:"socket,required" doc:"Where the far end listens."`
	// Source tells the far end who asks. Instances with equal configurations share what
	// they were answered.
	Source string `kelpie:"source,required" doc:"Which source of the far end is asked."`
}

type lookup struct {
	config config
	far    *far.Client
}

func (l *lookup) Config() any { return &l.config }

func (l *lookup) Open(context.Context, sdk.Env) error {
	l.far = far.Dial(string(l.config.Socket))
	return nil
}

func (l *lookup) Close() error {
	if l.far == nil {
		return nil
	}
	return l.far.Close()
}

// Enrich implements sdk.Enricher.
func (l *lookup) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	q := far.Question{Enrichment: l.config.Source, Kind: questions[0].Observable.Kind}
	for _, question := range questions {
		q.Values = append(q.Values, question.Observable.Value)
	}
	var got far.Replies
	if err := l.far.Ask(ctx, "enrich", q, &got); err != nil {
		return nil, err
	}
	if got.Crash {
		far.Crash()
	}
	replies := make([]sdk.Reply, len(got.Replies))
	for i, r := range got.Replies {
		replies[i] = reply(r)
	}
	if o, ok := ctx.Value(orderKey{}).(*order); ok {
		o.lie, o.tell = got.Lie, func(ctx context.Context) error {
			return l.far.Ask(ctx, "lied", far.Lied{Enrichment: q.Enrichment, Lie: got.Lie}, &struct{}{})
		}
	}
	return replies, nil
}

func reply(r far.Reply) sdk.Reply {
	switch {
	case r.Error != "":
		return sdk.Reply{Err: &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, Err: errors.New(r.Error)}}
	case r.None:
		return sdk.Reply{}
	}
	disposition := sdk.Suspicious
	switch {
	case r.Score >= 60:
		disposition = sdk.Malicious
	case r.Score < 20:
		disposition = sdk.Benign
	}
	return sdk.Reply{Answers: []sdk.Answer{{
		Verdict: &sdk.Verdict{Disposition: disposition, Score: r.Score, Confidence: 100}, At: time.Now(),
	}}}
}

func main() {
	err := serve(sdk.Plugin{
		Name: "lookup", Version: "0.1.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindEnrichment, Summary: "Whatever the harness makes of it.",
			New:   func() sdk.Instance { return &lookup{} },
			Takes: []string{sdk.IP}, BatchLimit: 4, DefaultTTL: time.Hour,
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
