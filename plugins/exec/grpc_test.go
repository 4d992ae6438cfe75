package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// read runs one session of a detector, acknowledges what comes, and returns the events
// and the last cursor when the source has ended or there are so many.
func read(t *testing.T, client *sdktest.Client, instance string, cursor []byte, once bool, n int) ([]*pluginv1.Event, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := client.Detect.Detect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *pluginv1.DetectRequest) {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&pluginv1.DetectRequest{Instance: instance, Message: &pluginv1.DetectRequest_Start{Start: &pluginv1.DetectStart{Cursor: cursor, Once: once}}})
	send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: 4}}})
	var events []*pluginv1.Event
	for len(events) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		if m.GetStatus().GetState() == pluginv1.DetectorState_DETECTOR_STATE_ENDED {
			break
		}
		if b := m.GetBatch(); b != nil {
			events, cursor = append(events, b.GetEvents()...), b.GetCursor()
			send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: b.GetNumber()}}})
			send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: 1}}})
		}
	}
	return events, cursor
}

func configure(t *testing.T, client *sdktest.Client, instance string, kind sdk.Kind, b block) {
	t.Helper()
	if wrong := client.Configure(t, instance, kind, b); len(wrong) > 0 {
		t.Fatal(wrong)
	}
}

// TestDetectOverGRPC pages through a source of 3,000 events, and then finds nothing new.
func TestDetectOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	path := script(t, `
		n=$(sed 's/.*"cursor":\([0-9n]*\).*/\1/'); [ "$n" = n ] && n=0
		end=$((n+1000)); [ $end -gt 3000 ] && end=3000
		[ $n = 3000 ] && exit 0
		while [ $n -lt $end ]; do echo "{\"n\":$n}"; n=$((n+1)); done
		echo "{\"cursor\":$n,\"more\":true}"`)
	configure(t, client, "detector.a", sdk.KindDetector, block{"program": path})
	events, cursor := read(t, client, "detector.a", nil, true, 1<<20)
	if len(events) != 3000 || string(cursor) != "3000" {
		t.Fatalf("%d events, cursor %s", len(events), cursor)
	}
	for n, e := range events {
		if want := fmt.Sprintf(`{"n":%d}`, n); string(e.GetRaw()) != want {
			t.Fatalf("event %s, want %s", e.GetRaw(), want)
		}
	}
	if again, _ := read(t, client, "detector.a", cursor, true, 1<<20); len(again) > 0 {
		t.Errorf("%d events again", len(again))
	}
	// An old cursor gives the same ids.
	again, _ := read(t, client, "detector.a", []byte("1000"), true, 1<<20)
	same := slices.EqualFunc(events[1000:], again, func(a, b *pluginv1.Event) bool { return a.GetId() == b.GetId() })
	if !same {
		t.Error("an old cursor gives other ids")
	}
}

// TestStreamOverGRPC cuts sessions of a stream without a warning: no line is missed.
func TestStreamOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	path := script(t, `
		read in; n=$(echo "$in" | sed 's/.*"cursor":\([0-9n]*\).*/\1/'); [ "$n" = n ] && n=0
		while :; do echo "{\"id\":$n}"; n=$((n+1)); echo "{\"cursor\":$n}"; done`)
	configure(t, client, "detector.a", sdk.KindDetector, block{"program": path, "mode": "stream"})
	var cursor []byte
	seen := map[string]bool{}
	for range 5 {
		var events []*pluginv1.Event
		events, cursor = read(t, client, "detector.a", cursor, false, 500)
		for _, e := range events {
			seen[e.GetId()] = true
		}
	}
	for n := range len(seen) {
		if !seen[fmt.Sprint(n)] {
			t.Fatalf("event %d of %d is missed", n, len(seen))
		}
	}
}

func TestOthersOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	configure(t, client, "enrichment.a", sdk.KindEnrichment, block{
		"program": script(t, `echo "key is $KEY" >&2; echo "{\"answers\":[{\"error\":\"$KEY is refused\"}]}"`), "secrets": map[string]string{"KEY": "s3cret-value"},
	})
	answer, err := client.Enrich.Enrich(t.Context(), &pluginv1.EnrichRequest{Instance: "enrichment.a", Questions: []*pluginv1.Question{{Observable: &pluginv1.Observable{Kind: "ip", Value: "192.0.2.1"}}}})
	if err != nil || answer.GetAnswers()[0].GetFailure().GetMessage() != "(secret) is refused" {
		t.Errorf("Enrich = %v, %v", answer, err)
	}
	configure(t, client, "action.a", sdk.KindAction, block{"program": script(t, `cat >/dev/null; echo '{"message":"told"}'`)})
	if wrong := client.Configure(t, "action.b", sdk.KindAction, block{"command": []string{"x"}}); len(wrong) != 2 {
		t.Errorf("Configure complains %v", wrong)
	}
	done, err := client.Act.Execute(t.Context(), &pluginv1.ExecuteRequest{
		Instance: "action.a", Verb: "notify", Target: &pluginv1.Target{Kind: "address", Value: "soc@example.org"},
		Parameters: []byte(`{"notice":{"case":"c1"}}`), IdempotencyKey: "i-1", NotAfter: timestamppb.New(time.Now().Add(20 * time.Second)), Attempt: 1,
	})
	if err != nil || done.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE || done.GetMessage() != "told" {
		t.Errorf("Execute = %v, %v", done, err)
	}
}

// TestCancelledCall: a call that the core gives up ends its program.
func TestCancelledCall(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	dir := t.TempDir()
	configure(t, client, "action.a", sdk.KindAction, block{"program": script(t, `echo $$ >`+dir+`/leader; sleep 1000`)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := client.Act.Execute(ctx, &pluginv1.ExecuteRequest{
			Instance: "action.a", Verb: "run", Target: &pluginv1.Target{Kind: "host", Value: "a"}, IdempotencyKey: "i-1", NotAfter: timestamppb.New(time.Now().Add(time.Hour)),
		})
		done <- err
	}()
	pid := pidIn(t, dir+"/leader")
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "cancel") {
		t.Errorf("Execute: %v", err)
	}
	eventually(t, "its end", func() bool { return !alive(pid) })
}
