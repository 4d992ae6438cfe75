package main

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

func TestIsolation(t *testing.T) {
	f := newFar(t)
	i := &isolation{client: clientOf(t, f.API)}
	host := sdk.Target{Kind: sdk.Host, Value: "ws-17"}
	execute := func(key string, dry bool) sdk.Result {
		t.Helper()
		r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: key, DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := execute("k-1", true); r.Outcome != sdk.OutcomeDone || f.state() != "map[]" {
		t.Errorf("a dry run: %+v, %v", r, f.state())
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeDone || f.state() != "map[ws-17:1]" {
		t.Errorf("%+v, %v", r, f.state())
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeAlready || !r.SameKey || f.state() != "map[ws-17:1]" {
		t.Errorf("the same key again: %+v, %v", r, f.state())
	}
	if r, err := i.Undo(t.Context(), sdk.UndoCall{Verb: "isolate_host", Target: host, Key: "u-1"}); err != nil || r.Outcome != sdk.OutcomeDone || f.state() != "map[ws-17:0]" {
		t.Errorf("undone: %+v, %v, %v", r, err, f.state())
	}
}

// TestLostAnswer: what an order did is not known then, and is found out.
func TestLostAnswer(t *testing.T) {
	f := newFar(t)
	i := &isolation{client: clientOf(t, f.API)}
	host := sdk.Target{Kind: sdk.Host, Value: "ws-17"}
	check := func() sdk.Outcome {
		t.Helper()
		r, err := i.Check(t.Context(), sdk.CheckCall{Verb: "isolate_host", Target: host, Key: "k-1"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Outcome
	}
	f.Next(connectortest.Cut())
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-1"}); err == nil {
		t.Errorf("an order that nobody took: %+v", r)
	}
	if got := check(); got != sdk.OutcomeFailed {
		t.Errorf("never taken: %v", got)
	}
	f.Next(connectortest.Lost())
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-1"}); err == nil {
		t.Errorf("an order whose answer was lost: %+v", r)
	}
	if got := check(); got != sdk.OutcomeDone || f.state() != "map[ws-17:1]" {
		t.Errorf("taken: %v, %v", got, f.state())
	}
	f.Next(connectortest.RetryAfter(time.Minute))
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-2"}); err != nil || r.Outcome != sdk.OutcomeFailed {
		t.Errorf("above a limit nothing happened, and that is known: %+v, %v", r, err)
	}
}
