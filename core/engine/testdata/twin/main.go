// Command twin is a detector, an enrichment and an action that are built under several
// names, so that one can take the place of the other. Each writes down what it did, by
// its name. Tests count by it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// What a build is; the linker sets them.
var (
	name    = "twin"
	version = "1.0.0"
	cursors = "1"
)

type config struct {
	Notes  sdk.Path `kelpie:"notes,required" doc:"Where it is written down what was done."`
	Rate   int      `kelpie:"rate" doc:"How many events come in a second." default:"1000"`
	Events int      `kelpie:"events" doc:"How many there are." default:"0"`
	Every  int      `kelpie:"every" doc:"One in so many is an alert." default:"1000"`
	Hosts  int      `kelpie:"hosts" doc:"How many addresses alerts are about." default:"50"`
	Again  bool     `kelpie:"again" doc:"All events come once more, grown." default:"false"`
	Until  sdk.Path `kelpie:"until" doc:"No event comes any more when this file is there."`
	Mark   string   `kelpie:"mark" doc:"Makes a block another one."`
	Token  string   `kelpie:"token,secret" doc:"Some secret."`
	After  sdk.Path `kelpie:"after" doc:"What is done is answered when this file is there."`
}

type twin struct {
	config config
	env    sdk.Env
}

func (t *twin) Config() any { return &t.config }

// Open also notes whom its folder was used by.
func (t *twin) Open(_ context.Context, env sdk.Env) error {
	t.env = env
	file := filepath.Join(env.StateDir, "owner")
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := t.note("open", version, string(before)); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(name), 0o600)
}

func (t *twin) note(words ...string) error {
	f, err := os.OpenFile(string(t.config.Notes), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", name, strings.Join(words, " "))
	return errors.Join(err, f.Close())
}

type detector struct{ twin }

// batch is how many events are reported at once, at most.
const batch = 256

// Detect counts from the cursor on, which has the name of who made it.
func (d *detector) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	if err := d.note("detect", string(start.Cursor)); err != nil {
		return err
	}
	first := 0
	if len(start.Cursor) > 0 {
		maker, at, _ := strings.Cut(string(start.Cursor), ":")
		n, err := strconv.Atoi(at)
		if err != nil || maker != name {
			return fmt.Errorf("%q is no cursor of %s", start.Cursor, name)
		}
		first = n
	}
	if d.config.Again {
		first = 0
	}
	began := time.Now()
	for at := first; ; {
		due := first + int(time.Since(began).Seconds()*float64(d.config.Rate))
		n := min(batch, max(1, d.config.Rate/100, due-at))
		if d.config.Events > 0 {
			n = min(n, d.config.Events-at)
		}
		if n <= 0 || d.over() {
			if err := d.note("over", strconv.Itoa(at)); err != nil {
				return err
			}
			break
		}
		events := make([]sdk.Event, n)
		for i := range events {
			events[i] = d.event(at + i)
		}
		at += n
		if _, err := out.Send(ctx, events, fmt.Appendf(nil, "%s:%d", name, at)); err != nil {
			return err
		}
		if !pause(ctx, time.Until(began.Add(time.Duration(at-first)*time.Second/time.Duration(d.config.Rate)))) {
			return ctx.Err()
		}
	}
	if !start.Once {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (d *detector) over() bool { return d.config.Until != "" && there(d.config.Until) }

func there(file sdk.Path) bool {
	_, err := os.Stat(string(file))
	return err == nil
}

func (d *detector) event(n int) sdk.Event {
	kind := "noise"
	if n%d.config.Every == 0 {
		kind = "alert"
	}
	host := n / d.config.Every % d.config.Hosts
	raw := fmt.Sprintf(`{"n":%d,"kind":%q,"from":"198.51.%d.%d","time":"2026-11-01T10:00:00Z"}`, n, kind, 100+host/250, host%250+1)
	if d.config.Again {
		raw = strings.Replace(raw, "{", `{"grown":true,`, 1)
	}
	return sdk.Event{ID: strconv.Itoa(n), Raw: []byte(raw)}
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

type enrichment struct{ twin }

func (e *enrichment) Enrich(_ context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	replies := make([]sdk.Reply, len(questions))
	for i, q := range questions {
		if err := e.note("enrich", q.Observable.Value); err != nil {
			return nil, err
		}
		replies[i].Answers = []sdk.Answer{{Verdict: &sdk.Verdict{
			Disposition: sdk.Malicious, Score: 80, Confidence: 90, Labels: []string{name},
		}}}
	}
	return replies, nil
}

type action struct{ twin }

func (a *action) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	if err := a.note("act", call.Key, call.Target.Value); err != nil {
		return sdk.Result{}, err
	}
	for a.config.After != "" && !there(a.config.After) {
		if !pause(ctx, 5*time.Millisecond) {
			return sdk.Result{}, ctx.Err()
		}
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, UndoToken: []byte(name + ":" + call.Key)}, nil
}

// Undo takes its own tokens alone.
func (a *action) Undo(_ context.Context, undo sdk.UndoCall) (sdk.Result, error) {
	maker, key, _ := strings.Cut(string(undo.Token), ":")
	if err := a.note("undo", key, maker); err != nil {
		return sdk.Result{}, err
	}
	if maker != name {
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: "this is not of its making"}, nil
	}
	return sdk.Result{Outcome: sdk.OutcomeDone}, nil
}

func main() {
	format, _ := strconv.Atoi(cursors)
	sdk.Serve(sdk.Plugin{
		Name: name, Version: version,
		Connectors: []sdk.Connector{
			{Kind: sdk.KindDetector, Summary: "Counts.", New: func() sdk.Instance { return &detector{} }, CursorVersion: format, Finite: true},
			{Kind: sdk.KindEnrichment, Summary: "Knows them all.", Takes: []string{sdk.IP}, BatchLimit: 64, New: func() sdk.Instance { return &enrichment{} }},
			{Kind: sdk.KindAction, Summary: "Notes.", New: func() sdk.Instance { return &action{} }, Verbs: []sdk.Verb{
				{Name: "notify", Targets: []string{"address"}, Summary: "Note."},
				{Name: "block_indicator", Targets: []string{sdk.IP}, Summary: "Note.", Undo: true},
			}},
		},
		Permissions: sdk.Permissions{Read: []string{"{until}", "{after}"}, Write: []string{"{notes}"}},
	})
}
