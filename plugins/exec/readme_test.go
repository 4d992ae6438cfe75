package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

// example is a program in the manual, by its language; needs are what it cannot do
// without.
func example(t *testing.T, language string, needs ...string) sdk.Path {
	t.Helper()
	for _, name := range needs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s here to run the manual's example in %s", name, language)
		}
	}
	manual, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(manual), "```"+language+"\n#!")
	text, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatalf("the manual has no example in %s", language)
	}
	return script(t, "#!"+text)
}

// beside is a PATH in which a program of another name comes first.
func beside(t *testing.T, name, text string) map[string]string {
	t.Helper()
	return map[string]string{"PATH": filepath.Dir(string(scriptNamed(t, name, text))) + ":" + os.Getenv("PATH"), "HOME": os.Getenv("HOME")}
}

func TestShellInTheManual(t *testing.T) {
	d, _ := opened(t, &detector{}, block{"program": example(t, "sh", "bash", "jq"), "environment": beside(t, "journalctl", `
		case "$*" in *--after-cursor=s=1*) exit 0;; *--after*) echo "bad cursor: $*" >&2; exit 1;; esac
		echo '{"__CURSOR":"s=0","__REALTIME_TIMESTAMP":"1795349992123456","_HOSTNAME":"bastion","MESSAGE":"Failed password for mara from 203.0.113.10 port 22"}'
		echo '{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795349993123456","_HOSTNAME":"bastion","MESSAGE":"Accepted password"}'`)})
	out, err := onceOver(t, d, "")
	if err != nil || len(out.events) != 1 {
		t.Fatalf("Detect: %v, %q", err, out.raws())
	}
	severity := 30
	want := sdk.Event{
		ID: "s=0", Title: "Failed password for mara from 203.0.113.10 port 22", Severity: &severity, Time: time.Unix(1795349992, 0).UTC(),
		Observables: []sdk.Observable{{Kind: "host", Value: "bastion", Role: "subject"}, {Kind: "ip", Value: "203.0.113.10", Role: "indicator"}},
		Raw:         out.events[0].Raw,
	}
	if diff := cmp.Diff(want, out.events[0]); diff != "" || !strings.Contains(string(want.Raw), `"__CURSOR":"s=0"`) {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`"s=0"`, `"s=1"`}, out.cursors); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	if out, err := onceOver(t, d, `"s=1"`); err != nil || len(out.events) != 0 {
		t.Errorf("from the end: %v, %q", err, out.raws())
	}
	if _, err := onceOver(t, d, `"s=7"`); err == nil || !strings.Contains(err.Error(), "bad cursor") {
		t.Errorf("what goes wrong in its pipe: %v", err)
	}
}

func TestAwkInTheManual(t *testing.T) {
	log := filepath.Join(t.TempDir(), "firewall.log")
	text := "a DROP \"x\\\t1\nb PASS 2\nc DROP 3\nc DROP 3\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ := opened(t, &detector{}, block{"program": example(t, "awk", "/usr/bin/awk"), "arguments": []string{log}, "format": "raw"})
	out, err := onceOver(t, d, "")
	if diff := cmp.Diff([]string{`{"line": "a DROP  x  1"}`, `{"line": "c DROP 3"}`, `{"line": "c DROP 3"}`}, out.raws()); diff != "" || err != nil {
		t.Fatalf("events (-want +got):\n%s%v", diff, err)
	}
	if err := os.WriteFile(log, []byte("d DROP 4\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := onceOver(t, d, "")
	if diff := cmp.Diff(out.ids(), again.ids()[1:]); diff != "" {
		t.Errorf("what was printed before is another event:\n%s", diff)
	}
}

func TestPythonInTheManual(t *testing.T) {
	// A set of one element, in a file; nothing can be asked of a broken set.
	c, _ := opened(t, &containment{}, block{"program": example(t, "python", "python3"), "environment": beside(t, "nft", `
		[ -e broken ] && { echo "no such set" >&2; exit 1; }
		case "$*" in
		"--json list set inet filter blocked")
			echo "{\"nftables\":[{\"metainfo\":{}},{\"set\":{\"name\":\"blocked\"$(cat set 2>/dev/null)}}]}";;
		"--json add element inet filter blocked { 203.0.113.10 }") echo ',"elem":["203.0.113.10"]' >set;;
		"--json delete element inet filter blocked { 203.0.113.10 }") rm set;;
		*) exit 9;;
		esac`)})
	call := aCall()
	call.Verb, call.Target = "block_indicator", sdk.Target{Kind: "ip", Value: "203.0.113.10"}
	execute := func(want sdk.Outcome) {
		t.Helper()
		if r, err := c.Execute(t.Context(), call); err != nil || r.Outcome != want {
			t.Errorf("Execute = %+v, %v; want %s", r, err, want)
		}
	}
	check := func(undo bool, want sdk.Outcome) {
		t.Helper()
		r, err := c.Check(t.Context(), sdk.CheckCall{Verb: call.Verb, Target: call.Target, Key: call.Key, Undo: undo})
		if err != nil || r.Outcome != want {
			t.Errorf("Check (undo %v) = %+v, %v; want %s", undo, r, err, want)
		}
	}
	check(false, sdk.OutcomeFailed)
	execute(sdk.OutcomeDone)
	execute(sdk.OutcomeAlready)
	check(false, sdk.OutcomeDone)
	check(true, sdk.OutcomeFailed)
	r, err := c.Undo(t.Context(), sdk.UndoCall{Verb: call.Verb, Target: call.Target, Key: "u-1", NotAfter: call.NotAfter})
	if err != nil || r.Outcome != sdk.OutcomeDone || r.Message != "203.0.113.10 is not blocked" {
		t.Errorf("Undo = %+v, %v", r, err)
	}
	check(true, sdk.OutcomeDone)
	if err := os.WriteFile(filepath.Join(c.program.dir, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	execute(sdk.OutcomeUnknown)
	if r, err := c.Check(t.Context(), sdk.CheckCall{Verb: call.Verb, Target: call.Target, Key: call.Key}); err == nil {
		t.Errorf("Check where nothing can be told = %+v", r)
	}
	call.Target = sdk.Target{Kind: "domain", Value: "example.org"}
	execute(sdk.OutcomeRefused)
}
