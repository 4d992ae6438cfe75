package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// isolations is Acme as far as this connector needs it.
func isolations(t *testing.T) (*connectortest.API, *connectortest.Effects) {
	api, effects := connectortest.NewAPI(t), &connectortest.Effects{}
	api.Handle("POST /v1/isolations", func(w http.ResponseWriter, r *http.Request) {
		var order struct {
			Host     string `json:"host"`
			Isolated bool   `json:"isolated"`
		}
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		state := "done"
		if !effects.Do(r.Header.Get("Idempotency-Key"), fmt.Sprintf("%s %t", order.Host, order.Isolated)) {
			state = "already"
		}
		connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": state, "same_key": state == "already"})
	})
	api.Handle("GET /v1/isolations", func(w http.ResponseWriter, r *http.Request) {
		state := "none"
		if effects.Had(r.URL.Query().Get("key")) {
			state = "done"
		}
		connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": state})
	})
	return api, effects
}

func TestIsolation(t *testing.T) {
	api, effects := isolations(t)
	i := &isolation{client: clientOf(t, api)}
	host := sdk.Target{Kind: sdk.Host, Value: "ws-17"}
	execute := func(key string, dry bool) sdk.Result {
		t.Helper()
		r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: key, DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := execute("k-1", true); r.Outcome != sdk.OutcomeDone || len(effects.Done()) != 0 {
		t.Errorf("a dry run: %+v, %v", r, effects.Done())
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeDone {
		t.Errorf("%+v", r)
	}
	if r := execute("k-1", false); r.Outcome != sdk.OutcomeAlready || !r.SameKey {
		t.Errorf("the same key again: %+v", r)
	}
	if r, err := i.Undo(t.Context(), sdk.UndoCall{Verb: "isolate_host", Target: host, Key: "u-1"}); err != nil || r.Outcome != sdk.OutcomeDone {
		t.Errorf("undone: %+v, %v", r, err)
	}
	if got := fmt.Sprint(effects.Done()); got != "[ws-17 true ws-17 false]" {
		t.Errorf("effects %s", got)
	}
}

// TestLostAnswer: what an order did is not known then, and is found out.
func TestLostAnswer(t *testing.T) {
	api, effects := isolations(t)
	i := &isolation{client: clientOf(t, api)}
	host := sdk.Target{Kind: sdk.Host, Value: "ws-17"}
	check := func() sdk.Outcome {
		t.Helper()
		r, err := i.Check(t.Context(), sdk.CheckCall{Verb: "isolate_host", Target: host, Key: "k-1"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Outcome
	}
	api.Next(connectortest.Cut())
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-1"}); err == nil {
		t.Errorf("an order that nobody took: %+v", r)
	}
	if got := check(); got != sdk.OutcomeFailed {
		t.Errorf("never taken: %v", got)
	}
	api.Next(connectortest.Lost())
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-1"}); err == nil {
		t.Errorf("an order whose answer was lost: %+v", r)
	}
	if got := check(); got != sdk.OutcomeDone || len(effects.Done()) != 1 {
		t.Errorf("taken: %v, %v", got, effects.Done())
	}
	api.Next(connectortest.RetryAfter(time.Minute))
	if r, err := i.Execute(t.Context(), sdk.Call{Verb: "isolate_host", Target: host, Key: "k-2"}); err != nil || r.Outcome != sdk.OutcomeFailed {
		t.Errorf("above a limit nothing happened, and that is known: %+v, %v", r, err)
	}
}
