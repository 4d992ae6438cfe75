package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// session is the core's side of a session over gRPC.
type session struct {
	t      *testing.T
	stream pluginv1.DetectorService_DetectClient
	cancel context.CancelFunc
	cursor []byte
	number int64
}

func begin(t *testing.T, client *sdktest.Client, instance string, cursor []byte, once bool) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	stream, err := client.Detect.Detect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, stream: stream, cancel: cancel}
	s.send(&pluginv1.DetectRequest{Instance: instance, Message: &pluginv1.DetectRequest_Start{
		Start: &pluginv1.DetectStart{Cursor: cursor, Once: once},
	}})
	s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: 2}}})
	return s
}

func (s *session) send(m *pluginv1.DetectRequest) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// read takes batches, and acknowledges them, until there are so many events or the
// source has ended.
func (s *session) read(n int) (events []*pluginv1.Event, ended bool) {
	s.t.Helper()
	for len(events) < n {
		m, err := s.stream.Recv()
		if err != nil {
			s.t.Fatalf("after %d events: %v", len(events), err)
		}
		if m.GetStatus().GetState() == pluginv1.DetectorState_DETECTOR_STATE_ENDED {
			return events, true
		}
		if b := m.GetBatch(); b != nil {
			events = append(events, b.GetEvents()...)
			s.cursor, s.number = b.GetCursor(), b.GetNumber()
			s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: s.number}}})
			s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: 1}}})
		}
	}
	return events, false
}

func TestOnceOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	path := temp(t, "a.log")
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "{\"n\":%d}\n", i)
	}
	write(t, path, text.String())
	if wrong := client.Configure(t, "detector.a", sdk.KindDetector, map[string]any{"path": path}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	s := begin(t, client, "detector.a", nil, true)
	events, ended := s.read(1 << 20)
	if len(events) != 3000 || !ended || string(events[2999].GetRaw()) != `{"n":2999}` {
		t.Fatalf("%d events, ended %v", len(events), ended)
	}
	s.cancel()
	s = begin(t, client, "detector.a", s.cursor, true)
	if events, ended := s.read(1); len(events) != 0 || !ended {
		t.Fatalf("%d events again", len(events))
	}
	s.cancel()
}

// TestFollowOverGRPC cuts the session again and again, without a warning.
func TestFollowOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	path := temp(t, "a.log")
	if wrong := client.Configure(t, "detector.a", sdk.KindDetector, map[string]any{"path": path, "interval": "10ms"}); len(wrong) != 1 || wrong[0].GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
		t.Fatal(wrong)
	}
	var cursor []byte
	want := 0
	for range 5 {
		s := begin(t, client, "detector.a", cursor, false)
		for range 3 {
			appendTo(t, path, fmt.Sprintf("{\"n\":%d}\n{\"n\":%d}\n", want, want+1))
			events, _ := s.read(2)
			for _, e := range events {
				if got := string(e.GetRaw()); got != fmt.Sprintf(`{"n":%d}`, want) {
					t.Fatalf("event %s, want %d", got, want)
				}
				want++
			}
		}
		cursor = s.cursor
		s.cancel()
	}
}
