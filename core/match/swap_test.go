package match

import (
	"context"
	"fmt"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
)

// turn hands out messages, and does something before each.
type turn struct {
	messages []Message
	before   func(n int)
	given    int
}

func (f *turn) Next(context.Context) (Message, Answer, error) {
	if f.given == len(f.messages) {
		return Message{}, nil, context.Canceled
	}
	f.before(f.given)
	f.given++
	return f.messages[f.given-1], &sink{}, nil
}

// TestSwapIsBetweenMessages: each message is matched whole by the settings in force when
// it is taken, and names them; a source that stays behind keeps its own.
func TestSwapIsBetweenMessages(t *testing.T) {
	first := suricata(t)
	first.Version = "first"
	left := first.Sources[0]
	left.Version = "first"
	second := &Settings{Version: "second"}
	third := &Settings{Version: "third", Sources: []Source{left}}

	m, out := matcher(t, first)
	b := batch(`{"event_type": "alert", "alert": {"signature": "x", "severity": 1}}`)
	events := &turn{messages: []Message{message(b, 1), message(b, 2), message(b, 3), message(b, 4)}, before: func(n int) {
		switch n {
		case 2:
			m.Swap(second)
		case 3:
			m.Swap(third)
		}
	}}
	m.Events = events
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		config  string
		matched int
	}{{"first", 1}, {"first", 1}, {"second", 0}, {"first", 1}} {
		in, err := model.DecodeInput(out.parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := in.Match; got.Config != want.config || got.Counts.Matched != want.matched {
			t.Errorf("message %d: %d matched under %q, want %d under %q", i, got.Counts.Matched, got.Config, want.matched, want.config)
		}
	}
}

// TestWhatAnotherConnectorReported is matched by the rules for that one, also when another
// has taken its place.
func TestWhatAnotherConnectorReported(t *testing.T) {
	settings := suricata(t)
	left := settings.Sources[0]
	left.Version, left.Maker = "first", "north"
	settings.Version = "second"
	settings.Sources = []Source{{Detector: left.Detector}, left}
	m, out := matcher(t, settings)
	b := batch(`{"event_type": "alert", "alert": {"signature": "x", "severity": 1}}`)
	events := &turn{before: func(int) {}}
	for i, maker := range []string{"north", "south", ""} {
		msg := message(b, uint64(i+1))
		msg.Maker = maker
		events.messages = append(events.messages, msg)
	}
	m.Events = events
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		config  string
		matched int
	}{{"first", 1}, {"second", 0}, {"second", 0}} {
		in, err := model.DecodeInput(out.parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := in.Match; got.Config != want.config || got.Counts.Matched != want.matched {
			t.Errorf("message %d: %d matched under %q, want %d under %q", i, got.Counts.Matched, got.Config, want.matched, want.config)
		}
	}
}

// TestWhatWasReportedInAnotherRole is matched by that, up to where it ended.
func TestWhatWasReportedInAnotherRole(t *testing.T) {
	now := suricata(t).Sources[0]
	counted, shadow := now, Source{Detector: now.Detector, Shadow: "detector.b", Version: "second", Until: 4}
	counted.Version, counted.Until = "first", 2
	w := NewWorker(&Settings{Version: "third", Sources: []Source{now, counted, shadow}})
	b := batch(`{"event_type": "alert", "alert": {"signature": "x", "severity": 1}}`)
	for seq, want := range []string{"", "first 1 0", "first 1 0", "second 0 1", "second 0 1", "third 1 0"} {
		if seq == 0 {
			continue
		}
		res, _ := w.Match(b, uint64(seq))
		if got := fmt.Sprint(res.Config, " ", res.Counts.Matched, " ", res.Counts.Shadow["detector.b"]); got != want {
			t.Errorf("message %d: %s, want %s", seq, got, want)
		}
	}
}
