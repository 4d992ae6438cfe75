package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

// aCall of run.
func aCall() sdk.Call {
	parameters := runParameters()
	sdk.Decode([]byte(`{"name":"collect","data":{"hours":24}}`), parameters)
	return sdk.Call{
		Verb: "run", Target: sdk.Target{Kind: "host", Value: "ws-17", Known: []byte(`{"owner":"kim"}`)},
		Parameters: parameters, Key: "i-1", NotAfter: time.Now().Add(time.Minute).UTC(), Attempt: 2,
	}
}

func TestExecute(t *testing.T) {
	for name, test := range map[string]struct {
		text    string
		outcome sdk.Outcome
		message string // the beginning
	}{
		"says nothing":    {``, sdk.OutcomeDone, ""},
		"done":            {`echo '{"outcome":"done","message":"ticket 7","reference":"7"}'`, sdk.OutcomeDone, "ticket 7"},
		"no outcome":      {`echo '{"message":"ticket 7"}'`, sdk.OutcomeDone, "ticket 7"},
		"already":         {`echo '{"outcome":"already","same_key":true}'`, sdk.OutcomeAlready, ""},
		"refused":         {`echo '{"outcome":"refused","message":"a server"}'`, sdk.OutcomeRefused, "a server"},
		"failed":          {`echo '{"outcome":"failed"}'`, sdk.OutcomeFailed, ""},
		"unknown":         {`echo '{"outcome":"unknown"}'`, sdk.OutcomeUnknown, ""},
		"no such outcome": {`echo '{"outcome":"ok"}'`, sdk.OutcomeUnknown, `the program ended well, but it printed the outcome "ok"; there are done, already`},
		"misspelt":        {`echo '{"outcom":"refused"}'`, sdk.OutcomeUnknown, `the program ended well, but unknown field "outcom"`},
		"talks":           {`echo OK`, sdk.OutcomeUnknown, `the program ended well, but it printed what is no JSON object: "OK"`},
		"two results":     {`echo '{}'; echo '{}'`, sdk.OutcomeUnknown, "the program ended well, but it printed what is no JSON object"},
		"77":              {`echo "protected" >&2; exit 77`, sdk.OutcomeRefused, "the program says so by its exit status 77: protected"},
		"77 with words":   {`echo '{"message":"a server"}'; exit 77`, sdk.OutcomeRefused, "a server"},
		"75":              {`exit 75`, sdk.OutcomeFailed, "the program says so by its exit status 75"},
		"75 and garbage":  {`echo x; exit 75`, sdk.OutcomeFailed, "the program says so by its exit status 75"},
		"1":               {`echo '{"outcome":"done"}'; echo "Traceback" >&2; exit 1`, sdk.OutcomeUnknown, "the program ended with exit status 1: Traceback: it may have taken effect"},
		"a signal":        {`kill -SEGV $$`, sdk.OutcomeUnknown, "the program ended with signal: segmentation fault"},
		"too slow":        {`sleep 100`, sdk.OutcomeUnknown, "it took longer than 300ms and was ended: set time_limit, or make it faster: it may have taken effect"},
		"100 MB":          {`head -c 100000000 /dev/zero`, sdk.OutcomeUnknown, "it printed more than 1 MiB and was ended"},
		"does not start":  {"#!/no/such\n", sdk.OutcomeFailed, "it was not run: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := block{"program": script(t, test.text)}
			if name == "too slow" {
				b["time_limit"] = "300ms"
			}
			o, _ := opened(t, &order{}, b)
			r, err := o.Execute(t.Context(), aCall())
			if err != nil || r.Outcome != test.outcome || !strings.HasPrefix(r.Message, test.message) {
				t.Errorf("Execute = %+v, %v; want %s, %q", r, err, test.outcome, test.message)
			}
			if name == "done" && r.Reference != "7" || name == "already" && !r.SameKey {
				t.Errorf("Execute = %+v", r)
			}
		})
	}
}

func TestWhatAnActionIsGiven(t *testing.T) {
	o, _ := opened(t, &order{}, block{"program": script(t, `cat >given`), "dry_run": true})
	c := aCall()
	c.NotAfter, c.DryRun = time.Date(2126, 1, 31, 12, 0, 0, 0, time.UTC), true
	if r, err := o.Execute(t.Context(), c); err != nil || r.Outcome != sdk.OutcomeDone {
		t.Fatal(r, err)
	}
	given, _ := os.ReadFile(filepath.Join(o.program.dir, "given"))
	want := `{"operation":"execute","verb":"run","target":{"kind":"host","value":"ws-17","known":{"owner":"kim"}},` +
		`"parameters":{"name":"collect","data":{"hours":24}},"key":"i-1","not_after":"2126-01-31T12:00:00Z","dry_run":true,"attempt":2}` + "\n"
	if diff := cmp.Diff(want, string(given)); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
}

// TestDryRun: a program that does not say that it understands it is not run.
func TestDryRun(t *testing.T) {
	for name, o := range map[string]interface {
		sdk.Instance
		sdk.Validator
		sdk.Opener
		sdk.Actor
	}{"order": &order{}, "containment": &containment{}} {
		opened(t, o, block{"program": script(t, `touch ran`)})
		c := aCall()
		c.DryRun = true
		r, err := o.Execute(t.Context(), c)
		if err != nil || r.Outcome != sdk.OutcomeDone || !strings.HasPrefix(r.Message, "would run /") || !strings.HasSuffix(r.Message, "run host ws-17") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		var dir string
		switch o := o.(type) {
		case *order:
			dir = o.program.dir
		case *containment:
			dir = o.program.dir
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: it was run", name)
		}
	}
}

// TestDeadline: a program that is too slow for its call ends before the call does, so
// that it can be said, and takes no effect after it.
func TestDeadline(t *testing.T) {
	o, _ := opened(t, &order{}, block{"program": script(t, `trap '' TERM; echo $$ >leader; while :; do sleep 1; done`)})
	end := time.Now().Add(3 * time.Second)
	ctx, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	r, _ := o.Execute(ctx, aCall())
	if r.Outcome != sdk.OutcomeUnknown || !strings.HasPrefix(r.Message, "it took longer than the block's timeout and was ended: set timeout") {
		t.Errorf("Execute = %+v", r)
	}
	if alive(pidIn(t, filepath.Join(o.program.dir, "leader"))) {
		t.Error("the program goes on")
	}
	for left, want := range map[time.Duration]time.Duration{20 * time.Second: 19 * time.Second, 2 * time.Second: 1500 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		soon, stop := early(ctx)
		at, _ := soon.Deadline()
		if got := time.Until(at); got > want || got < want/2 {
			t.Errorf("of %s a program has %s, want %s", left, got, want)
		}
		stop()
		cancel()
	}
	past, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if r, _ := o.Execute(past, aCall()); r.Outcome != sdk.OutcomeFailed || !strings.HasPrefix(r.Message, "it was not run") {
		t.Errorf("after its time: %+v", r)
	}
}

// patient is a context that says when it ends, and does not.
type patient struct {
	context.Context
	end time.Time
}

func (p patient) Deadline() (time.Time, bool) { return p.end, true }

// TestEarly: a program is ended before its call is, so that who called hears of it.
func TestEarly(t *testing.T) {
	b := block{"program": script(t, `sleep 1000`), "time_limit": "5s"}
	c, _ := opened(t, &containment{}, b)
	e, _ := opened(t, &enrichment{}, b)
	for name, do := range map[string]func(context.Context) string{
		"execute": func(ctx context.Context) string { r, _ := c.Execute(ctx, aCall()); return r.Message },
		"undo":    func(ctx context.Context) string { r, _ := c.Undo(ctx, sdk.UndoCall{}); return r.Message },
		"check":   func(ctx context.Context) string { _, err := c.Check(ctx, sdk.CheckCall{}); return fmt.Sprint(err) },
		"enrich": func(ctx context.Context) string {
			_, err := e.Enrich(ctx, questions("192.0.2.1"))
			return fmt.Sprint(err)
		},
	} {
		if said := do(patient{t.Context(), time.Now().Add(200 * time.Millisecond)}); !strings.Contains(said, "longer than the block's timeout") {
			t.Errorf("%s: %s", name, said)
		}
	}
}

// TestLeftAlone: a program that asks to be run later is not run until then.
func TestLeftAlone(t *testing.T) {
	o, _ := opened(t, &order{}, block{"program": script(t, `echo x >>runs; echo '{"retry_after":"1h"}'; exit 75`)})
	for range 2 {
		if r, _ := o.Execute(t.Context(), aCall()); r.Outcome != sdk.OutcomeFailed {
			t.Errorf("Execute = %+v", r)
		}
	}
	if runs, _ := os.ReadFile(filepath.Join(o.program.dir, "runs")); string(runs) != "x\n" {
		t.Errorf("it ran: %q", runs)
	}
	r, _ := o.Execute(t.Context(), aCall())
	if !strings.HasPrefix(r.Message, "the program wants to be left alone until 2") {
		t.Errorf("Execute = %+v", r)
	}
}

func TestContainment(t *testing.T) {
	c, _ := opened(t, &containment{}, block{"program": script(t, `
		in=$(cat); echo "$in" >>given
		case $in in
		*'"operation":"execute"'*) echo '{"outcome":"done","token":{"rule":7}}';;
		*'"operation":"undo"'*'"token":{"rule":7}'*) echo '{"outcome":"done","message":"rule 7 removed"}';;
		*'"operation":"check"'*'"undo":true'*) echo '{"outcome":"failed"}';;
		*'"key":"i-lost"'*) exit 75;;
		*'"key":"i-mute"'*) ;;
		*'"key":"i-wrong"'*) echo OK;;
		*) echo '{"outcome":"done","token":{"rule":8}}';;
		esac`)})
	call := aCall()
	call.Verb = "block_indicator"
	r, err := c.Execute(t.Context(), call)
	if err != nil || r.Outcome != sdk.OutcomeDone || string(r.UndoToken) != `{"rule":7}` {
		t.Fatalf("Execute = %+v, %v", r, err)
	}
	undone, err := c.Undo(t.Context(), sdk.UndoCall{Verb: call.Verb, Target: call.Target, Token: r.UndoToken, Key: "u-1", NotAfter: call.NotAfter})
	if err != nil || undone.Outcome != sdk.OutcomeDone || undone.Message != "rule 7 removed" {
		t.Errorf("Undo = %+v, %v", undone, err)
	}
	check := sdk.CheckCall{Verb: call.Verb, Target: call.Target, Key: "i-1"}
	if r, err := c.Check(t.Context(), check); err != nil || r.Outcome != sdk.OutcomeDone || string(r.UndoToken) != `{"rule":8}` {
		t.Errorf("Check = %+v, %v", r, err)
	}
	check.Undo = true
	if r, err := c.Check(t.Context(), check); err != nil || r.Outcome != sdk.OutcomeFailed {
		t.Errorf("Check of an undo = %+v, %v", r, err)
	}
	check.Undo = false
	for key, wrong := range map[string]string{
		"i-lost": "exit status 75", "i-mute": "was asked what became of a call, and did not say", "i-wrong": "no JSON object",
	} {
		check.Key = key
		if r, err := c.Check(t.Context(), check); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("Check of %s = %+v, %v; want %q", key, r, err, wrong)
		}
	}
}
