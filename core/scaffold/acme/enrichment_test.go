package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// TestHosts: each question is answered by itself.
func TestHosts(t *testing.T) {
	api := connectortest.NewAPI(t)
	api.Handle("GET /v1/hosts", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("name") != "ws-17" {
			connectortest.WriteJSON(w, map[string]any{})
			return
		}
		connectortest.WriteJSON(w, map[string]any{"name": "ws-17", "owner": "kim@example.org", "roles": []string{"workstation"}})
	})
	h := &hosts{client: clientOf(t, api)}
	ask := func(names ...string) []sdk.Reply {
		t.Helper()
		var questions []sdk.Question
		for _, name := range names {
			questions = append(questions, sdk.Question{Observable: sdk.Observable{Kind: sdk.Host, Value: name}})
		}
		replies, err := h.Enrich(t.Context(), questions)
		if err != nil || len(replies) != len(names) {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		return replies
	}
	api.Next(connectortest.RetryAfter(9 * time.Second))
	replies := ask("ws-17", "ws-17", "nobody")
	if told, ok := replies[0].Err.(*sdk.Error); !ok || told.RetryAfter != 9*time.Second {
		t.Errorf("above the limit: %+v", replies[0])
	}
	if a := replies[1].Answers; len(a) != 1 || a[0].Asset.Owner != "kim@example.org" || a[0].Asset.Roles[0] != "workstation" {
		t.Errorf("known: %+v", replies[1])
	}
	if replies[2].Err != nil || len(replies[2].Answers) != 0 {
		t.Errorf("not known: %+v", replies[2])
	}
}
