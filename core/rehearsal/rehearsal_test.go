package rehearsal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

// base is a configuration whose rules' tests stand in the place of TESTS.
const base = `
kelpie {
  actions = "off"
}
case {
  window = "1h"
}
detector "file" "feed" {
}
detector "file" "other" {
}
pipeline "alerts" {
  from = [detector.feed, detector.other]
  map {
    time     = event.raw.time
    severity = event.raw.severity
    subjects = { host = event.raw.host }
  }
}
enrichment "table" "assets" {
  internal = true
  takes    = ["host", "user"]
}
action "email" "mail" {
}
response "tell" {
  when = case.score.total >= 30
  step "mail" {
    do = action.mail.notify
    to = ["soc@example.org"]
  }
  step "again" {
    when = step.mail.result == "done"
    do   = action.mail.notify
    to   = ["boss@example.org"]
  }
}
rule "bad" {
  on      = [pipeline.alerts]
  when    = event.raw.bad
  respond = [response.tell]
TESTS
}
rule "worse" {
  on       = [pipeline.alerts]
  when     = event.raw.bad || event.raw.worse
  severity = 100
  respond  = [response.tell]
}
`

// run parses a configuration and runs its tests; what came of them is a line each.
func run(t *testing.T, text string) []string {
	t.Helper()
	return runWith(t, text, map[string]model.Plugin{})
}

func runWith(t *testing.T, text string, schemas map[string]model.Plugin) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, diags := config.Load(path, config.Options{Schemas: schemas})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	r, diags := config.ParseTests(src)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	runner := rehearsal.New(r.Settings)
	var lines []string
	for i := range r.Settings.Tests {
		res := runner.Run(&r.Settings.Tests[i])
		line := res.Test.Name + ":"
		for _, f := range res.Failures {
			line += fmt.Sprintf(" %s %s not %s;", f.What, f.Got, f.Want)
		}
		lines = append(lines, strings.TrimSuffix(line, ";"))
	}
	return lines
}

// case of one test: what is given, answered and wanted.
func block(given, answer, want string) string {
	return fmt.Sprintf("  test \"t\" {\n    given \"detector.feed\" {\n      events = [%s]\n    }\n%s\n    want {\n      %s\n    }\n  }\n", given, answer, want)
}

func TestRun(t *testing.T) {
	const (
		bad     = `{ bad = true, severity = 50, host = "a" }`
		asset   = `answer "enrichment.assets" "host" "a" { asset = { owner = "kim", criticality = 100 } }`
		pending = `answer "enrichment.assets" "host" "a" { state = "pending" }`
	)
	for _, tt := range []struct{ name, given, answer, want, got string }{
		{"passes", bad, "", "signals = 1\n cases = 1\n score = 40", ""},
		{"another rule is not heard, nor its severity", `{ worse = true, host = "a" }`, "", "quiet = true", ""},
		{
			"each is said to fail", bad, "", "signals = 2\n cases = 3\n score = \"50..60.5\"\n steps = []",
			" signals 1 not 2; cases 1 not 3; score 40.00 not 50.00 to 60.50; steps response.tell.again, response.tell.mail not none",
		},
		{"no case", `{ host = "a" }`, "", "score = 1", " score no case not 1.00"},
		{"steps follow what is done, though actions are off", bad, "", `steps = ["response.tell.mail", "response.tell.again"]`, ""},
		{"an answer counts", bad, asset, "score = 55", ""},
		{"one about another value does not", bad, strings.Replace(asset, `"a"`, `"b"`, 1), "score = 40", ""},
		{"a pending answer holds the steps back", bad, pending, "signals = 1\n steps = []", ""},
		{
			"what is said of a name that an answer gives", bad,
			`answer "enrichment.assets" "host" "a" { found = { user = "kim" } }` + "\n" + `answer "enrichment.assets" "user" "kim" { asset = { name = "laptop", criticality = 100 } }`, "score = 55", "",
		},
		{"far apart are two cases", `{ bad = true, host = "a", time = "2026-01-02T00:00:00Z" }, { bad = true, host = "a", time = "2026-01-02T02:00:00Z" }`, "", "signals = 2\n cases = 2", ""},
		{"near are one, in any order", `{ bad = true, host = "a", time = "2026-01-02T00:30:00Z" }, { bad = true, host = "a", time = "2026-01-02T00:00:00Z" }`, "", "signals = 2\n cases = 1", ""},
		{"alike are two events", bad + ", " + bad, "", "signals = 2", ""},
		{"the same event twice is one", `{ id = "x", raw = { bad = true } }, { id = "x", raw = { bad = true } }`, "", "signals = 1", ""},
		{"what a connector reads", `{ raw = { bad = true, host = "a" }, subjects = { user = "kim" }, severity = 75, time = "2026-03-01T00:00:00Z" }`, asset, "score = 75", ""},
		{"raw of a source", `{ raw = { bad = true }, other = 1 }`, "", "signals = 0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, strings.Replace(base, "TESTS", block(tt.given, tt.answer, tt.want), 1))
			if diff := cmp.Diff([]string{"t:" + tt.got}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Tests leave nothing behind: they give the same in any company, and again.
func TestAlone(t *testing.T) {
	one := block(`{ bad = true, host = "a", severity = 50 }`, "", "signals = 1\n cases = 1\n score = 40")
	other := strings.Replace(block(`{ bad = true, host = "a", severity = 90 }`, "", "signals = 1\n cases = 1\n score = 72"), `"t"`, `"u"`, 1)
	want := []string{"t:", "u:"}
	if diff := cmp.Diff(want, run(t, strings.Replace(base, "TESTS", one+other, 1))); diff != "" {
		t.Error(diff)
	}
}

// Events of several detectors come in the order of their times.
func TestOrder(t *testing.T) {
	test := `
  test "t" {
    given "detector.feed" {
      events = <<EOT
{"bad": true, "host": "a", "time": "2026-01-02T00:50:00Z"}
{"bad": true, "host": "a"}
EOT
    }
    given "detector.other" {
      events = [{ bad = true, host = "a", time = "2026-01-02T00:00:00Z" }]
    }
    want {
      signals = 3
      cases   = 1
    }
  }
`
	if diff := cmp.Diff([]string{"t:"}, run(t, strings.Replace(base, "TESTS", test, 1))); diff != "" {
		t.Error(diff)
	}
}

// An event that was set aside is a failure, even of a test that wants nothing to come.
func TestAside(t *testing.T) {
	text := strings.Replace(base, "when    = event.raw.bad\n", "when    = length([for a in range(3000) : [for b in range(3000) : a + b + length(event.raw.host)]]) > 0\n", 1)
	if text == base {
		t.Fatal("nothing was replaced")
	}
	text = strings.Replace(text, "range(3000)", "event.raw.list", 2)
	list := strings.TrimSuffix(strings.Repeat("1,", 3000), ",")
	got := run(t, strings.Replace(text, "TESTS", block(`{ host = "a", list = [`+list+`] }`, "", "quiet = true"), 1))
	want := []string{"t: event detector.feed, event 1: too much work: an expression was given up not it to be read"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A rule that was renamed is known by its first name, and spoken of by its last.
func TestRenamed(t *testing.T) {
	text := strings.Replace(base, "TESTS", block(`{ bad = true, severity = 50, host = "a" }`, "", "signals = 1\n steps = []"), 1) + `
moved {
  from = rule.first
  to   = rule.bad
}
moved {
  from = response.first
  to   = response.tell
}
`
	want := []string{"t: steps response.tell.again, response.tell.mail not none"}
	if diff := cmp.Diff(want, run(t, text)); diff != "" {
		t.Error(diff)
	}
}

// A pipeline without a map has the one that the connector brings in its schema.
func TestDefaultMapping(t *testing.T) {
	schemas := map[string]model.Plugin{"edr": {Name: "edr", Version: "1.0.0", Connectors: []model.Connector{
		{Kind: model.Detector, DefaultMapping: "severity = event.raw.level\ntime = event.raw.at\nsubjects = { host = event.raw.device }\n"},
	}}}
	text := strings.NewReplacer("TESTS", "").Replace(base) + `
detector "edr" "edr" {
}
pipeline "edr" {
  from    = [detector.edr]
  alerts  = true
  respond = [response.tell]

  test "its own map" {
    given "detector.edr" {
      events = [
        { level = 50, at = "2026-03-01T10:00:00Z", device = "ws-1" }, { level = 90, at = "2026-03-01T10:01:00Z", device = "ws-1" },
        { level = 10, at = "2026-03-01T10:01:00Z", device = "ws-2" },
      ]
    }
    want {
      signals = 3
      cases   = 2
      score   = 72
    }
  }
}
`
	if diff := cmp.Diff([]string{"its own map:"}, runWith(t, text, schemas)); diff != "" {
		t.Error(diff)
	}
}

// What coverage counts: a part is true if it was for one event of one test, also in the
// middle of a condition that was not.
func TestCoverage(t *testing.T) {
	text := strings.Replace(base, "event.raw.bad\n", "event.raw.bad && (event.raw.a == 1 || event.raw.b == 2) && !event.raw.c\n", 1)
	text = strings.Replace(text, "TESTS", block(`{ bad = true, a = 1, c = true }, { bad = true, a = 2 }`, "", "signals = 0"), 1)
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, _ := config.Load(path, config.Options{Schemas: map[string]model.Plugin{}})
	r, diags := config.ParseTests(src)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	runner := rehearsal.New(r.Settings)
	runner.Cover()
	for i := range r.Settings.Tests {
		if res := runner.Run(&r.Settings.Tests[i]); len(res.Failures) > 0 {
			t.Fatal(res.Failures)
		}
	}
	c := runner.Coverage()
	var never, untested []string
	for _, b := range c.NeverTrue {
		never = append(never, b.Of+" "+text[b.Part.Range.Start.Byte:b.Part.Range.End.Byte])
	}
	for _, s := range c.Untested {
		untested = append(untested, s.Name)
	}
	if diff := cmp.Diff([]string{"rule.bad event.raw.b == 2"}, never); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"rule.worse"}, untested); diff != "" || c.Rules != 2 || c.Tested != 1 || c.Parts != 4 {
		t.Errorf("%s; %+v", diff, c)
	}
	if got := r.Config.Tested["rule.bad"]; got != (config.Tested{Tests: 1, Quiet: true}) {
		t.Errorf("tested: %+v", got)
	}
}

// FuzzEvents: no lines of a file, which come from outside, make a run fail or give one
// thing and then another.
func FuzzEvents(f *testing.F) {
	f.Add(`{"bad": true, "host": "a", "severity": 50, "time": "2026-03-01T10:00:00Z"}`)
	f.Add("{\"bad\": true, \"time\": 1e300}\n\n{\"raw\": {\"bad\": true}, \"time\": \"9998-12-31T00:00:00Z\", \"id\": \"a\"}")
	f.Add(`{"raw": {}, "techniques": [null, "T1"], "subjects": {"ip": ["10.0.0.1", 3]}, "severity": 1e40}`)
	f.Add(`{"raw": {"bad": true, "time": -1}, "observables": {"url": "http://[::1"}, "stopped": null}`)
	dir := f.TempDir()
	path := filepath.Join(dir, "config.hcl")
	test := strings.Replace(block("", "", "signals = 1"), "[]", `file("events.ndjson")`, 1)
	if err := os.WriteFile(path, []byte(strings.Replace(base, "TESTS", test, 1)), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		src, diags := config.Load(path, config.Options{Schemas: map[string]model.Plugin{}})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		src.Texts = map[string]config.Text{"events.ndjson": {Text: text}}
		r, diags := config.ParseTests(src)
		if diags.HasErrors() {
			return
		}
		runner := rehearsal.New(r.Settings)
		runner.Cover()
		once := runner.Run(&r.Settings.Tests[0])
		again := rehearsal.New(r.Settings).Run(&r.Settings.Tests[0])
		if diff := cmp.Diff(once.Failures, again.Failures); diff != "" {
			t.Error(diff)
		}
		for _, failure := range once.Failures {
			if failure.What == "the test" {
				t.Error(failure.Got)
			}
		}
	})
}
