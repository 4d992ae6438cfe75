package main

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/sdk"
)

// The quickstart's recording; its README states the counts.
func recording(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../examples/quickstart/recording", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// line is the quickstart's one expression for every line of sshd and su.
const line = `^(?P<time>\S+) (?P<host>\S+) (?P<program>[^\s\[:]+)(?:\[(?P<pid>\d+)\])?: (?:(?:(?P<outcome>Accepted|Failed) (?P<method>\S+) for(?P<unknown_user> invalid user)?|Invalid user) (?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+)(?: ssh2)?(?:: (?P<key_type>\S+) (?P<key>\S+))?|(?P<message>.*))$`

// accepted counts the events that the core takes.
func accepted(events []sdk.Event) (n int) {
	for _, e := range events {
		if e.Problem == "" && e.Oversize == nil && expr.CheckJSON(e.Raw) == nil {
			n++
		}
	}
	return n
}

func TestRecordingOfTheFirewall(t *testing.T) {
	b := block{
		"path": recording(t, "modsec_audit.json"), "id_field": "transaction.unique_id",
		"time_field": "transaction.time_stamp", "time_format": "asctime",
	}
	out := onceOver(t, b, nil)
	events := out.events()
	if len(events) != 1468 || accepted(events) != 1465 {
		t.Errorf("%d events, of which the core takes %d; want 1468 and, for two lines are no UTF-8 and one has a name twice, 1465", len(events), accepted(events))
	}
	ids := map[string]bool{}
	for _, e := range events {
		ids[e.ID] = true
		if e.Time.Before(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) || e.Time.After(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)) {
			t.Errorf("time of %s is %v", e.ID, e.Time)
		}
	}
	if len(ids) != 1468 {
		t.Errorf("%d ids, want 1468", len(ids))
	}
	b["invalid_utf8"], b["repeated_keys"] = "replace", "join"
	if n := accepted(onceOver(t, b, nil).events()); n != 1468 {
		t.Errorf("the core takes %d, want 1468 when bytes are replaced and names joined", n)
	}
	if again := onceOver(t, b, out.cursor()).events(); len(again) != 0 {
		t.Errorf("%d events from the last cursor on, want none", len(again))
	}
	delete(b, "invalid_utf8")
	delete(b, "repeated_keys")
	if !reflect.DeepEqual(events, onceOver(t, b, nil).events()) {
		t.Error("read again without a cursor the events are others")
	}
}

func TestRecordingOfTheBastion(t *testing.T) {
	out := onceOver(t, block{
		"path": recording(t, "auth.log"), "format": "text", "patterns": []string{line}, "time_field": "time",
	}, nil)
	events := out.events()
	if len(events) != 315 || accepted(events) != 315 {
		t.Errorf("%d events, of which the core takes %d; want 315", len(events), accepted(events))
	}
	counts := map[string]int{}
	for _, e := range events {
		var fields map[string]string
		if err := json.Unmarshal(e.Raw, &fields); err != nil {
			t.Fatal(err)
		}
		kind := fields["outcome"]
		if kind == "" && fields["user"] != "" {
			kind = "Invalid"
		}
		counts[kind]++
		if at, err := time.Parse(time.RFC3339Nano, fields["time"]); err != nil || !at.Equal(e.Time) {
			t.Errorf("time %q was read as %v", fields["time"], e.Time)
		}
	}
	if counts["Accepted"] != 7 || counts["Failed"] != 92 || counts["Invalid"] != 28 {
		t.Errorf("counts %v; want 7 accepted, 92 failed, 28 invalid", counts)
	}
}
