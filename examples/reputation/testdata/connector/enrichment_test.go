package main

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// TestAddresses: each question is answered by itself.
func TestAddresses(t *testing.T) {
	f := newFar(t)
	a := &addresses{client: clientOf(t, f.API)}
	f.Next(connectortest.RetryAfter(9 * time.Second))
	var questions []sdk.Question
	for _, ip := range []string{"192.0.2.5", "192.0.2.5", "192.0.2.200"} {
		questions = append(questions, sdk.Question{Observable: sdk.Observable{Kind: sdk.IP, Value: ip}})
	}
	replies, err := a.Enrich(t.Context(), questions)
	if err != nil || len(replies) != len(questions) {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
	if told, ok := replies[0].Err.(*sdk.Error); !ok || told.RetryAfter != 9*time.Second {
		t.Errorf("above the limit: %+v", replies[0])
	}
	if known := replies[1].Answers; len(known) != 1 || known[0].Verdict.Disposition != sdk.Malicious || known[0].Verdict.Score != 95 {
		t.Errorf("known: %+v", replies[1])
	}
	if replies[2].Err != nil || len(replies[2].Answers) != 0 {
		t.Errorf("not known: %+v", replies[2])
	}
}
