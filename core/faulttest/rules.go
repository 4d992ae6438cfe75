//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
)

// Rules over several events and over signals of them are in a pack, which reads the door
// feeds and a table that is replaced; one over signals of alerts is beside it. Each is
// written here twice: as an operator writes it, and as the reference reads it.

// ruled is a rule in both ways.
type ruled struct {
	name string
	// text is what its block says of what it looks for.
	text     string
	severity int
	watch    correlate.Watch
	// by are the kinds that it groups by; terms the kinds of door events that each term
	// has, of one that begins with "rule." that rule's signals.
	by    []string
	terms []string
	// fires are events of a test that has it fire, each as "kind user from minute".
	fires []string
}

const (
	doorPrefix = "rule.door_"
	alertRule  = "rule.thrice"
	// markedRule reports each signal of guessedRule.
	markedRule  = "rule.door_marked"
	guessedRule = "rule.door_guessed"
)

var guessing = []string{
	"failed lee-1 203.0.113.1 0", "failed lee-1 203.0.113.1 1", "failed lee-2 203.0.113.1 2", "failed lee-1 203.0.113.1 3",
	"failed lee-1 203.0.113.1 4",
}

// ruledBy are the rules of the pack, each behind those that it reads.
var ruledBy = []ruled{
	{
		name: "guessing", severity: 40, by: []string{"ip"}, terms: []string{failed}, fires: guessing,
		text:  `on = [pipeline.failed], count = 5, by = ["ip"], within = "10m"`,
		watch: correlate.Watch{Kind: correlate.Count, Least: 5, Within: 10 * time.Minute},
	},
	{
		name: "guessed", severity: 60, by: []string{"ip"}, terms: []string{"rule.door_guessing", ok}, fires: append(guessing[:5:5], "ok lee-1 203.0.113.1 9"),
		text:  `sequence = [rule.guessing, pipeline.ok], by = ["ip"], within = "30m"`,
		watch: correlate.Watch{Kind: correlate.Sequence, Terms: 2, Within: 30 * time.Minute},
	},
	{
		name: "unbadged", severity: 20, by: []string{"user"}, terms: []string{ok, badge}, fires: []string{"ok lee-1 203.0.113.1 0"},
		text:  `on = [pipeline.ok], absent = [pipeline.badge], by = ["user"], within = "20m"`,
		watch: correlate.Watch{Kind: correlate.Absence, Terms: 2, Within: 20 * time.Minute},
	},
	{
		name: "new", severity: 10, by: []string{"user", "ip"}, terms: []string{ok}, fires: []string{"ok lee-1 203.0.113.1 0"},
		text:  `on = [pipeline.ok], first = true, by = ["user", "ip"], within = "2h"`,
		watch: correlate.Watch{Kind: correlate.First, Within: 2 * time.Hour},
	},
	{
		name: "burst", severity: 30, by: []string{"ip"}, terms: []string{failed}, fires: guessing,
		text:  "on = [pipeline.failed], by = [\"ip\"], within = \"10m\", spike {\n factor = 3, past = \"1h\", least = 4\n}",
		watch: correlate.Watch{Kind: correlate.Spike, Least: 4, Within: 10 * time.Minute, Past: time.Hour, Factor: 3000},
	},
	{
		name: "watched", severity: 50, by: []string{"ip"}, terms: []string{tried}, fires: []string{"tried lee-1 203.0.113.1 0", "tried lee-1 203.0.113.1 5"},
		text:  `on = [pipeline.tried], count = 2, by = ["ip"], within = "1h"`,
		watch: correlate.Watch{Kind: correlate.Count, Least: 2, Within: time.Hour},
	},
}

// thriceWatch is that of the rule over alerts.
var thriceWatch = correlate.Watch{Rule: alertRule, Kind: correlate.Count, Terms: 1, Least: 3, Within: 5 * time.Second}

const (
	thriceSeverity = 20 // as low as an alert's, so that no case is worse for it
	markedSeverity = 70
	ringThreshold  = 60 // the severity of a case of the doors from which somebody is told
)

// ruleBlocks are the rules' part of the configuration.
func ruleBlocks() string {
	alert := `{ n = %d, kind = "alert", time = "2026-11-01T10:00:0%dZ", severity = 30, title = "t", hosts = ["ws-1"], users = ["kim-1"], from = ["198.51.100.2"] }`
	var alerts []string
	for n := range 3 {
		alerts = append(alerts, fmt.Sprintf(alert, n, n))
	}
	return fmt.Sprintf(`
pack "door" {
  source    = "packs/door"
  detectors = { front = detector.front, back = detector.back }
  responses = { ring = response.ring }
}

response "ring" {
  when = case.severity >= %d

  step "ring" {
    do      = action.desk.notify
    to      = "soc@example.org"
    because = "nobody but a person can go to the door"
  }
}
`, ringThreshold) + block("thrice", "detector.grows", "response.act", thriceSeverity, `on = [pipeline.alerts], count = 3, by = ["host"], within = "5s"`, alerts)
}

// writePack writes the pack, and the table's first version.
func (w *World) writePack() error {
	var b strings.Builder
	b.WriteString(`
input "detector" "front" {
  description = "Who signs in at the front."
}

input "detector" "back" {
  description = "And at the back."
}

input "response" "ring" {
  description = "Tells somebody."
}

table "watched" {
  path = "watched.csv"
  key  = "name"
  kind = "text"
}

template "door" {
  map {
    title      = event.raw.title
    time       = event.raw.time
    severity   = 10
    subjects   = { user = event.raw.user }
    indicators = { ip = event.raw.from }
  }
}
`)
	for _, kind := range []string{failed, ok, badge, tried} {
		when := fmt.Sprintf("event.raw.kind == %q", kind)
		if kind == tried {
			when += " && has(table.watched[event.raw.watch])"
		}
		fmt.Fprintf(&b, "\npipeline %q {\n  from = [detector.front, detector.back]\n  use = template.door\n  when = %s\n}\n", kind, when)
	}
	for _, r := range ruledBy {
		b.WriteString(block(r.name, "detector.front", "response.ring", r.severity, r.text, doorTest(r.fires)))
	}
	marked := `on = [rule.guessed], when = signal.severity >= 50 && has(table.watched["w-0"])`
	b.WriteString(block("marked", "detector.front", "response.ring", markedSeverity, marked, doorTest(ruledBy[1].fires)))
	path := w.path("packs/door/rules.hcl")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	if err := w.writeTable(1); err != nil {
		return err
	}
	w.gate.rows = 1
	return nil
}

// doorTest are a test's events.
func doorTest(fires []string) []string {
	var all []string
	for n, f := range fires {
		p := strings.Fields(f)
		all = append(all, fmt.Sprintf(`{ n = %d, kind = %q, user = %q, from = %q, time = "2026-11-01T10:0%s:00Z", watch = "w-0", title = "t" }`, n, p[0], p[1], p[2], p[3]))
	}
	return all
}

// block is a rule as production wants it. What comes with commas is one attribute a line.
func block(name, detector, respond string, severity int, text string, fires []string) string {
	return fmt.Sprintf(`
rule %q {
  %s
  severity = %d
  respond  = [%s]

  about {
    goal            = "What the harness looks for."
    plainly         = "Somebody may be at the door."
    technique       = ["T1110"]
    strategy        = "It is counted."
    blind_spots     = "All else."
    false_positives = "None."
    validation      = "The harness."
    author          = "soc"
  }

  test "it fires" {
    given %q {
      events = [
        %s,
      ]
    }
    want {
      signals = 1
    }
  }

  test "nothing is quiet" {
    given %q {
      events = [{ n = 1, kind = "flow", time = "2026-11-01T10:00:00Z" }]
    }
    want {
      signals = 0
    }
  }
}
`, name, lines(text), severity, respond, detector, strings.Join(fires, ",\n        "), detector)
}

// lines puts each attribute on a line of its own: a comma that is in no brackets ends one.
func lines(text string) string {
	depth := 0
	return strings.Map(func(c rune) rune {
		switch c {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ',':
			if depth == 0 {
				return '\n'
			}
		}
		return c
	}, text)
}

// isDoor tells whether a feed is one of the doors'.
func isDoor(f Feed) bool { return f.Name() == "front" || f.Name() == "back" }
