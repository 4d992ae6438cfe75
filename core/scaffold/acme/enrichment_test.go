package main

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// TestHosts: each question is answered by itself.
func TestHosts(t *testing.T) {
	f := newFar(t)
	h := &hosts{client: clientOf(t, f.API)}
	f.Next(connectortest.RetryAfter(9 * time.Second))
	var questions []sdk.Question
	for _, name := range []string{"ws-17", "ws-17", "nobody"} {
		questions = append(questions, sdk.Question{Observable: sdk.Observable{Kind: sdk.Host, Value: name}})
	}
	replies, err := h.Enrich(t.Context(), questions)
	if err != nil || len(replies) != len(questions) {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
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
