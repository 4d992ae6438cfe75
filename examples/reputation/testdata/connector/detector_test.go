package main

import (
	"cmp"
	"encoding/json"
	"os"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// TestAlerts reads recorded answers: to add one is to add a file to testdata/api.
func TestAlerts(t *testing.T) {
	d := &alerts{client: clientOf(t, connectortest.Recorded(t, "testdata/api"))}
	d.connection.Token = cmp.Or(os.Getenv("REPUTATION_TOKEN"), token) // to record the real API
	var events []sdk.Event
	page := sdk.Page{More: true}
	for page.More {
		var err error
		if page, err = d.Fetch(t.Context(), page.Cursor); err != nil {
			t.Fatal(err)
		}
		events = append(events, page.Events...)
	}
	if len(events) != 5 {
		t.Fatalf("%d events, want 5: %+v", len(events), events)
	}
	first := events[0]
	if first.ID != "a-1" || *first.Severity != 20 || first.Observables[0].Value != "10.0.0.11" || first.Observables[1].Value != "203.0.113.10" {
		t.Errorf("first: %+v", first)
	}
	if odd := event(json.RawMessage(`{"id": "a-6", "seen": 7}`)); odd.ID != "a-6" || odd.Problem == "" || len(odd.Raw) == 0 {
		t.Errorf("what can't be read is to be sent with its problem: %+v", odd)
	}
}

// TestAlertsAgain: a cursor gives the same events, however often it is asked.
func TestAlertsAgain(t *testing.T) {
	f := newFar(t)
	if err := f.fill([][]byte{[]byte(`{"id": "a-1"}`), []byte(`{"id": "a-2"}`), []byte(`{"id": "a-3"}`)}); err != nil {
		t.Fatal(err)
	}
	d := &alerts{client: clientOf(t, f.API)}
	for range 2 {
		page, err := d.Fetch(t.Context(), []byte("a-1"))
		if err != nil || len(page.Events) != 2 || page.Events[0].ID != "a-2" || page.More {
			t.Errorf("%+v, %v", page, err)
		}
	}
}

// FuzzEvent: an alert is outside data, and is never lost for being odd.
func FuzzEvent(f *testing.F) {
	f.Add(`{"id": "a-1", "version": 1, "severity": 70, "host": "ws-17"}`)
	f.Add(`{"id": 7}`)
	f.Fuzz(func(t *testing.T, text string) {
		if e := event(json.RawMessage(text)); string(e.Raw) != text {
			t.Errorf("%q became %q", text, e.Raw)
		}
	})
}
