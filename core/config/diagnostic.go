package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// hidden, as the Extra of a diagnostic, keeps parts of the file out of its snippet.
type hidden struct {
	all  bool      // no snippet
	part hcl.Range // only this part
}

func complaint(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(format, args...),
		Subject:  &at,
	}
}

// maxComplaints bounds what is said of one configuration.
const maxComplaints = 200

// full tells that enough has been said, so that no more has to be found out.
func (p *parser) full() bool { return len(p.diags) >= maxComplaints }

// add keeps a complaint, unless enough has been said. An error is kept if there is
// none yet.
func (p *parser) add(d *hcl.Diagnostic) *hcl.Diagnostic {
	if !p.full() || d.Severity == hcl.DiagError && !p.diags.HasErrors() {
		p.diags = append(p.diags, d)
	}
	return d
}

func (p *parser) errorf(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return p.add(complaint(at, summary, format, args...))
}

// secretErrorf complains about something that may be a secret.
func (p *parser) secretErrorf(at hcl.Range, summary, format string, args ...any) {
	p.errorf(at, summary, format, args...).Extra = hidden{all: true}
}

func (p *parser) warnf(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	d := complaint(at, summary, format, args...)
	d.Severity = hcl.DiagWarning
	return p.add(d)
}

// later notes a part of the language that validate takes and run refuses.
func (p *parser) later(at hcl.Range, what string) {
	d := complaint(at, "Not built yet", "This version of Kelpie reads %s, and cannot do it yet: \"kelpie run\" refuses a configuration that has it.", what)
	d.Severity = hcl.DiagWarning
	if len(p.notBuilt) < maxComplaints {
		p.notBuilt = append(p.notBuilt, d)
	}
}

// sorted puts diagnostics in the order of the files.
func sorted(diags hcl.Diagnostics) hcl.Diagnostics {
	place := func(d *hcl.Diagnostic) hcl.Range {
		if d.Subject == nil {
			return hcl.Range{}
		}
		return *d.Subject
	}
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		x, y := place(a), place(b)
		return cmp.Or(cmp.Compare(x.Filename, y.Filename), cmp.Compare(x.Start.Byte, y.Start.Byte))
	})
	return slices.CompactFunc(diags, func(a, b *hcl.Diagnostic) bool {
		return a.Summary == b.Summary && a.Detail == b.Detail && place(a) == place(b)
	})
}

// suggest says what might have been meant by a name that is not known: the nearest
// that is, or all of them if they are few.
func suggest(name string, known []string) string {
	known = slices.Clone(known)
	slices.Sort(known)
	known = slices.Compact(known)
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	switch {
	case len(known) == 0:
		return "There are none."
	case len(known) > 30:
		known = append(known[:30:30], "…")
	}
	return "There are: " + strings.Join(known, ", ") + "."
}

func nearest(name string, known []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, candidate := range known {
		d := levenshtein.Distance(name, candidate, nil)
		if sameLetters(name, candidate) {
			d = 1
		}
		if d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	return best
}

// sameLetters tells whether letters have only changed places.
func sameLetters(a, b string) bool {
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
