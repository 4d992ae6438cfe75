package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hashicorp/hcl/v2"
)

func TestWriteJSON(t *testing.T) {
	src, _, diags := parseText(t, "kelpie {\n  actoins = \"on\"\n  listen = 5\n}\n", Options{})
	var out bytes.Buffer
	if err := WriteJSON(&out, diags, src.Listing()); err != nil {
		t.Fatal(err)
	}
	var got []Message
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []Message{
		{
			Severity: "error", Summary: "Unknown attribute", Detail: `Kelpie has no "actoins". Did you mean "actions"?`,
			File: "config.hcl", Line: 2, Column: 3, EndLine: 2, EndColumn: 10, In: "kelpie", Snippet: "  actoins = …", Mark: [2]int{2, 9},
		},
		{
			Severity: "error", Summary: "Wrong type", Detail: `"listen" takes a text, and this is a number. Write it in quotes.`,
			File: "config.hcl", Line: 3, Column: 12, EndLine: 3, EndColumn: 13, In: "kelpie", Snippet: "  listen = 5", Mark: [2]int{11, 12},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := WriteJSON(&out, nil, nil); err != nil || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("nothing is %s, %v", out.String(), err)
	}
}

func TestColour(t *testing.T) {
	d := complaint(hcl.Range{Filename: "a\x1b[2J.hcl", Start: hcl.InitialPos, End: hcl.InitialPos}, "S\x07", "D\x1b]0;x\u202e")
	var plain, coloured bytes.Buffer
	if err := WriteText(&plain, Diagnostics{d}, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := WriteText(&coloured, Diagnostics{d}, map[string]string{d.Subject.Filename: "x\x1b[31m"}, true); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(plain.String(), "\x1b\x07\u202e") {
		t.Errorf("%q", plain.String())
	}
	if got := strings.Count(coloured.String(), "\x1b"); got != 2 {
		t.Errorf("%d escapes in %q", got, coloured.String())
	}
}

// TestExpiring: an ignore is warned about when it has ended and when it soon will.
func TestExpiring(t *testing.T) {
	_, c := whole(t) // its last day is 2027-03-01
	for _, test := range []struct {
		now  string
		want string
	}{
		{"2027-02-01T00:00:00Z", ""},
		{"2027-02-16T00:00:01Z", "Ignore expires soon"},
		{"2027-03-01T23:59:59Z", "Ignore expires soon"},
		{"2027-03-02T00:00:00Z", "Expired ignore"},
	} {
		at, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range c.Expiring(at) {
			got += d.Summary
		}
		if got != test.want {
			t.Errorf("at %s: %q, want %q", test.now, got, test.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"kelpie{\ndata_dir=\"x\"\n  actions   = \"on\" # yes\n}", "kelpie {\n  data_dir = \"x\"\n  actions  = \"on\" # yes\n}\n"},
		{"", ""},
		{"a = <<EOT\n  b\nEOT\n", "a = <<EOT\n  b\nEOT\n"},
		{"\xff", "\xff"},
	} {
		if got := string(Format([]byte(test.in))); got != test.want {
			t.Errorf("%q gives %q, want %q", test.in, got, test.want)
		}
	}
}

// TestValues: the table says of every value where it can be read, and holds what the
// design's sample reads.
func TestValues(t *testing.T) {
	places := map[string][]string{}
	for _, v := range Values() {
		everywhere := strings.HasPrefix(v.Path, "var") || strings.HasPrefix(v.Path, "local")
		if (len(v.Places) == 0) != everywhere || v.Path == "" || v.Doc == "" && v.Path != "case.score" {
			t.Errorf("%+v", v)
		}
		places[v.Path] = v.Places
	}
	for _, path := range []string{
		"event.raw", "event.severity", "case.score.total", "case.hosts", "case.assets.owner", "case.verdicts.disposition",
		"target.asset.roles", "each.value", "step.NAME.result", "case.stopped",
	} {
		if places[path] == nil {
			t.Errorf("there is no %s", path)
		}
	}
	if diff := cmp.Diff([]string{"ignores", "pipelines and templates", "rules"}, places["event.raw"]); diff != "" {
		t.Error(diff)
	}
}
