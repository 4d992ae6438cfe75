package main

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

func TestBlocking(t *testing.T) {
	f := newFar(t)
	b := &blocking{client: clientOf(t, f.API)}
	ip := sdk.Target{Kind: sdk.IP, Value: "192.0.2.5"}
	var token []byte
	execute := func(key string, dry bool) sdk.Result {
		t.Helper()
		r, err := b.Execute(t.Context(), sdk.Call{Verb: "block_indicator", Target: ip, Key: key, DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		token = r.UndoToken
		return r
	}
	if r := execute("k-1", true); r.Outcome != sdk.OutcomeDone || f.state() != "0" {
		t.Errorf("a dry run: %+v, %v", r, f.state())
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeDone || f.state() != "1" {
		t.Errorf("%+v, %v", r, f.state())
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeDone || f.state() != "1" {
		t.Errorf("the same key again: %+v, %v", r, f.state())
	}
	if r, err := b.Undo(t.Context(), sdk.UndoCall{Verb: "block_indicator", Target: ip, Token: token, Key: "u-1"}); err != nil || r.Outcome != sdk.OutcomeDone || f.state() != "0" {
		t.Errorf("undone: %+v, %v, %v", r, err, f.state())
	}
}

// TestLostAnswer: what an order did is not known then, and is found out.
func TestLostAnswer(t *testing.T) {
	f := newFar(t)
	b := &blocking{client: clientOf(t, f.API)}
	ip := sdk.Target{Kind: sdk.IP, Value: "192.0.2.5"}
	check := func() sdk.Outcome {
		t.Helper()
		r, err := b.Check(t.Context(), sdk.CheckCall{Verb: "block_indicator", Target: ip, Key: "k-1"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Outcome
	}
	f.Next(connectortest.Cut())
	if r, err := b.Execute(t.Context(), sdk.Call{Verb: "block_indicator", Target: ip, Key: "k-1"}); err == nil {
		t.Errorf("an order that nobody took: %+v", r)
	}
	if got := check(); got != sdk.OutcomeFailed {
		t.Errorf("never taken: %v", got)
	}
	f.Next(connectortest.Lost())
	if r, err := b.Execute(t.Context(), sdk.Call{Verb: "block_indicator", Target: ip, Key: "k-1"}); err == nil {
		t.Errorf("an order whose answer was lost: %+v", r)
	}
	if got := check(); got != sdk.OutcomeDone || f.state() != "1" {
		t.Errorf("taken: %v, %v", got, f.state())
	}
	f.Next(connectortest.RetryAfter(time.Minute))
	if r, err := b.Execute(t.Context(), sdk.Call{Verb: "block_indicator", Target: ip, Key: "k-2"}); err != nil || r.Outcome != sdk.OutcomeFailed {
		t.Errorf("above a limit nothing happened, and that is known: %+v, %v", r, err)
	}
}
