package rehearsal

import (
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// Coverage says what the tests of a configuration do not show.
type Coverage struct {
	Rules, Tested int
	// Untested are the rules without a test.
	Untested []Subject
	// NeverTrue are the parts of conditions about events that were true in no test, in the
	// order of writing; those of Untested are not among them.
	NeverTrue []Blank
	// Parts counts all that could be.
	Parts int
}

// Blank is a part of a condition that was true for no event of any test.
type Blank struct {
	Of    string // its address of now
	Part  *expr.Part
	Tried bool // it was evaluated
}

// cover counts by where a condition is written: a template's has a program for each of
// its pipelines.
type cover struct {
	truths map[part]bool // of those that were evaluated, whether it was true once
}

type part struct {
	file       string
	start, end int
}

func placeOf(p *expr.Part) part {
	return part{p.Range.Filename, p.Range.Start.Byte, p.Range.End.Byte}
}

// note takes what each leaf of a condition says.
func (c *cover) note(cond *Condition, s *expr.Scope) {
	for _, leaf := range cond.Part().Find(s).Leaves() {
		at := placeOf(leaf.Part)
		c.truths[at] = c.truths[at] || leaf.Truth == expr.True
	}
}

// Cover has the runner note, from now on, which conditions were true.
func (r *Runner) Cover() { r.cover = &cover{truths: map[part]bool{}} }

// Coverage of the tests that were run since Cover.
func (r *Runner) Coverage() Coverage {
	c := Coverage{}
	untested := map[string]bool{}
	for _, s := range r.settings.Subjects {
		if s.Kind != "rule" {
			continue
		}
		c.Rules++
		if slices.ContainsFunc(r.settings.Tests, func(t Test) bool { return t.Subject.Address == s.Address }) {
			c.Tested++
			continue
		}
		untested[s.Name] = true
		c.Untested = append(c.Untested, s)
	}
	seen, events := map[part]bool{}, r.aboutEvents()
	for program, cond := range r.settings.Conditions {
		if untested[cond.Of] || !events[program] {
			continue
		}
		for _, leaf := range cond.Part().Leaves() {
			at := placeOf(leaf)
			if seen[at] {
				continue
			}
			seen[at] = true
			c.Parts++
			if once, tried := r.cover.truths[at]; !once {
				c.NeverTrue = append(c.NeverTrue, Blank{Of: cond.Of, Part: leaf, Tried: tried})
			}
		}
	}
	slices.SortFunc(c.NeverTrue, func(a, b Blank) int {
		x, y := placeOf(a.Part), placeOf(b.Part)
		if n := strings.Compare(x.file, y.file); n != 0 {
			return n
		}
		return x.start - y.start
	})
	return c
}

// aboutEvents are the programs that are evaluated for events.
func (r *Runner) aboutEvents() map[*expr.Program]bool {
	all := map[*expr.Program]bool{}
	for i := range r.settings.Match.Sources {
		for _, e := range r.settings.Match.Sources[i].Expressions() {
			all[e.Program] = true
		}
	}
	return all
}
