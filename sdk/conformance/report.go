package conformance

import (
	"fmt"
	"net/url"
	"strings"
)

// Report is what a run found.
type Report struct {
	Binary  string   `json:"binary"`
	SHA256  string   `json:"sha256"`
	Plugin  string   `json:"plugin,omitempty"`
	Version string   `json:"version,omitempty"`
	Results []Result `json:"results"`
}

// Count of the results with an outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, one := range r.Results {
		if one.Outcome == o {
			n++
		}
	}
	return n
}

// Conforms says that something was checked and nothing failed.
func (r *Report) Conforms() bool { return r.Count(Failed) == 0 && r.Count(Passed) > 0 }

// Summary is one line: "27 passed, 1 failed, 4 skipped".
func (r *Report) Summary() string {
	var parts []string
	for _, o := range []Outcome{Passed, Failed, Skipped} {
		if n := r.Count(o); n > 0 || o == Passed {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// Badge is a line of Markdown for a README. What was skipped stands in it.
func (r *Report) Badge() string {
	colour := "brightgreen"
	switch {
	case !r.Conforms():
		colour = "red"
	case r.Count(Skipped) > 0:
		colour = "green"
	}
	label := "Kelpie conformance"
	escape := func(s string) string { return url.PathEscape(strings.ReplaceAll(s, "-", "--")) }
	return fmt.Sprintf("![%s: %s](https://img.shields.io/badge/%s-%s-%s)", label, r.Summary(), escape(label), escape(r.Summary()), colour)
}
