package main

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

var (
	sendBy = flag.String("send", "", "send the samples by this server, as smtp://127.0.0.1:25")
	sendTo = flag.String("to", "", "whom to send them to")
)

// TestSamples sends the samples to somebody who wants to look at them in a mail program of
// their own, each as the first and the second mail of its case.
func TestSamples(t *testing.T) {
	if *sendBy == "" {
		t.Skip("needs -send and -to")
	}
	m := open(t, config{Server: *sendBy, From: "Kelpie <kelpie@example.org>", Prefix: "[Kelpie]"})
	paths, _ := filepath.Glob("testdata/*.json")
	for _, path := range paths {
		_, s := load(t, path)
		for _, turn := range []string{"first", "second"} {
			result, err := m.Execute(t.Context(), sdk.Call{
				Verb: "notify", Target: sdk.Target{Kind: "address", Value: *sendTo}, Key: "i-" + filepath.Base(path) + turn, Attempt: 1, NotAfter: time.Now().Add(time.Minute),
				Parameters: &parameters{Notice: s.Notice, Subject: s.Subject, Text: s.Text},
			})
			if err != nil || result.Outcome != sdk.OutcomeDone {
				t.Errorf("%s: %+v, %v", path, result, err)
			}
		}
	}
}
