// Command flood is what a core is loaded with: a detector that reports as many events
// as it is let, with as many new observables as it is told, an enrichment and an action
// that answer at once or never.
package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// batch is how many events are reported at once.
const batch = 512

type config struct {
	Events int `kelpie:"events" doc:"How many in all; 0: no end." default:"0"`
	Rate   int `kelpie:"rate" doc:"How many a second; 0: as many as are taken." default:"0"`
	Sprint int `kelpie:"sprint" doc:"How many come first, at no rate." default:"0"`
	Every  int `kelpie:"every" doc:"One in so many has severity 1, the others 3." default:"1"`
	Hosts  int `kelpie:"hosts" doc:"How many hosts they are about; 0: each about its own." default:"0"`
	Fresh  int `kelpie:"fresh" doc:"How many addresses each has that no other has." default:"0"`
	Size   int `kelpie:"size" doc:"About how many bytes each has." default:"1300"`
}

type flood struct{ config config }

func (f *flood) Config() any { return &f.config }

// Detect reports from the cursor on, which is the number of an event.
func (f *flood) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	first, _ := strconv.Atoi(string(start.Cursor)) // without a cursor: 0
	began, paced := time.Now(), first
	for at, n := first, 0; f.config.Events == 0 || at < f.config.Events; at += n {
		if n = batch; at < f.config.Sprint {
			began, paced = time.Now(), at+n
		} else if f.config.Rate > 0 {
			n = max(1, min(batch, f.config.Rate/100))
			if !pause(ctx, time.Until(began.Add(time.Duration(at-paced)*time.Second/time.Duration(f.config.Rate)))) {
				return ctx.Err()
			}
		}
		if f.config.Events > 0 {
			n = min(n, f.config.Events-at)
		}
		if _, err := out.Send(ctx, f.events(at, n), []byte(strconv.Itoa(at+n))); err != nil {
			return err
		}
	}
	if !start.Once {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (f *flood) events(first, n int) []sdk.Event {
	events := make([]sdk.Event, n)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for i := range events {
		events[i] = sdk.Event{ID: strconv.Itoa(first + i), Raw: f.raw(first+i, now)}
	}
	return events
}

func (f *flood) raw(n int, now string) []byte {
	severity, host := 3, n
	if n%f.config.Every == 0 {
		severity = 1
	}
	if f.config.Hosts > 0 {
		host = n % f.config.Hosts
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"time":%q,"severity":%d,"host":"host-%d","fresh":[`, now, severity, host)
	for i := range f.config.Fresh {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"2001:db8::%x:%x:%x"`, n>>16&0xffff, n&0xffff, i)
	}
	fmt.Fprintf(&b, `],"text":%q}`, bytes.Repeat([]byte("x"), max(0, f.config.Size-b.Len())))
	return b.Bytes()
}

// mood is how a far end answers.
type mood struct {
	config struct {
		Hang bool `kelpie:"hang" doc:"It never answers." default:"false"`
	}
}

func (m *mood) Config() any { return &m.config }

// Enrich implements sdk.Enricher.
func (m *mood) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	if m.config.Hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	replies := make([]sdk.Reply, len(questions))
	for i := range replies {
		replies[i].Answers = []sdk.Answer{{
			Verdict: &sdk.Verdict{Disposition: sdk.Suspicious, Score: 40, Confidence: 80, Labels: []string{"scanner"}}, At: time.Now(),
		}}
	}
	return replies, nil
}

// Execute implements sdk.Actor.
func (m *mood) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	if m.config.Hang {
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: call.Key}, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "flood", Version: "0.1.0",
		Connectors: []sdk.Connector{
			{
				Kind: sdk.KindDetector, Summary: "Events without end.",
				New: func() sdk.Instance { return &flood{} }, CursorVersion: 1, Finite: true,
			},
			{
				Kind: sdk.KindEnrichment, Summary: "Answers at once, or never.",
				New: func() sdk.Instance { return &mood{} }, Takes: []string{sdk.IP}, BatchLimit: 256, DefaultTTL: time.Hour,
			},
			{
				Kind: sdk.KindAction, Summary: "Done at once, or never.",
				New:   func() sdk.Instance { return &mood{} },
				Verbs: []sdk.Verb{{Name: "notify", Targets: []string{"address"}, Summary: "Nothing."}},
			},
		},
	})
}
