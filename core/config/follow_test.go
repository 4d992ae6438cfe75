package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// TestFollowing: what is said of a configuration that comes after another one. No block loses
// without a word what it was.
func TestFollowing(t *testing.T) {
	text := func(name string, moves ...string) string {
		all := strings.ReplaceAll(`
detector "file" "NAME" {
  path = "eve.json"
}
pipeline "NAME" {
  from = [detector.NAME]
}
rule "NAME_any" {
  state = "experimental"
  on    = [pipeline.NAME]
  when  = true
}`, "NAME", name)
		for i := 0; i < len(moves); i += 2 {
			for _, kind := range []string{"detector", "pipeline"} {
				all += strings.NewReplacer("KIND", kind, "FROM", moves[i], "TO", moves[i+1]).Replace(`
moved {
  from = KIND.FROM
  to   = KIND.TO
}`)
			}
			all += strings.NewReplacer("FROM", moves[i], "TO", moves[i+1]).Replace(`
moved {
  from = rule.FROM_any
  to   = rule.TO_any
}`)
		}
		return all
	}
	for name, c := range map[string]struct{ before, next, want string }{
		"the same":                {text("a"), text("a"), ""},
		"moved":                   {text("a"), text("b", "a", "b"), ""},
		"moved, and still":        {text("b", "a", "b"), text("b", "a", "b"), ""},
		"moved on":                {text("b", "a", "b"), text("c", "a", "b", "b", "c"), ""},
		"moved on, in one":        {text("b", "a", "b"), text("c", "a", "c"), ""},
		"back":                    {text("b", "a", "b"), text("a"), "Goes on as another"},
		"back by a moved block":   {text("b", "a", "b"), text("a", "b", "a"), "Moved back!"},
		"the first one is gone":   {text("b", "a", "b"), text("c", "b", "c"), "Moved on!"},
		"the last one is gone":    {text("c", "a", "b", "b", "c"), text("b", "a", "b"), ""},
		"all are gone":            {text("b", "a", "b"), text("b"), "Starts anew"},
		"from what there was not": {text("a"), text("c", "b", "c"), "Starts anew"},
		"it was another":          {text("a") + text("b"), text("b", "a", "b"), "Goes on as another"},
		"another takes the name":  {text("b", "a", "b"), text("a") + text("b"), "Goes on as another, Starts anew"},
	} {
		t.Run(name, func(t *testing.T) {
			_, before, diags := parseText(t, c.before, Options{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			_, next, diags := parseText(t, c.next, Options{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			said := map[string]int{}
			for _, d := range next.Moved(before) {
				summary := d.Summary
				if d.Severity == hcl.DiagError {
					summary += "!"
				}
				if said[summary]++; d.Subject == nil || d.Subject.Start.Line == 0 {
					t.Errorf("%s has no place", summary)
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(said)), ", "); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
			for summary, n := range said { // of the detector, the pipeline and the rule
				if n != 3 {
					t.Errorf("%s is said %d times", summary, n)
				}
			}
		})
	}
}
