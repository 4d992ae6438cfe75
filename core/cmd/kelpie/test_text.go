package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

// testReport is what came of the tests.
type testReport struct {
	settings *rehearsal.Settings
	files    map[string]string // texts of the configuration, by name
	results  []rehearsal.Result
	coverage *rehearsal.Coverage // nil: it was not asked for
	failed   int
	took     time.Duration
}

// maxSeen is how many events a failed test shows.
const maxSeen = 10

func (r *testReport) print(w io.Writer) {
	for i := range r.results {
		if len(r.results[i].Failures) > 0 {
			r.failure(w, &r.results[i])
			fmt.Fprintln(w)
		}
	}
	if r.coverage != nil {
		r.printCoverage(w)
	}
	subjects := map[string]bool{}
	for _, res := range r.results {
		subjects[res.Test.Subject.Name] = true
	}
	text := plural(len(r.results), "test") + " of " + plural(len(subjects), "block") + ": "
	if r.failed == 0 {
		text += "all pass"
	} else {
		text += fmt.Sprintf("%d failed", r.failed)
	}
	fmt.Fprintf(w, "%s. %.1f s.\n", text, r.took.Seconds())
}

// failure shows one test that failed: what came otherwise, and why.
func (r *testReport) failure(w io.Writer, res *rehearsal.Result) {
	t := res.Test
	indented(w, "FAIL  ", fmt.Sprintf("%s: %s (%s:%d)", t.Subject.Name, t.Name, t.Place.File, t.Place.Line))
	for _, f := range res.Failures {
		if text := "want " + f.Want + ", got " + f.Got; columns(text) <= width-11 {
			fmt.Fprintf(w, "  %s%s\n", pad(f.What, 9), safe(text))
			continue
		}
		fmt.Fprintf(w, "  %s\n", f.What)
		indented(w, "    want  ", f.Want)
		indented(w, "    got   ", f.Got)
	}
	r.events(w, res)
	for _, s := range res.Responses {
		r.step(w, "  ", s)
	}
	for _, n := range res.Notes {
		what := strings.TrimSuffix(n.Response+"."+n.Step, ".")
		if n.Target != "" {
			what += " for " + n.Target
		}
		indented(w, "  not planned  ", what+": "+n.Why)
	}
	for _, name := range res.Unasked {
		indented(w, "  never asked  ", name)
	}
	if slices.ContainsFunc(res.Failures, func(f rehearsal.Failure) bool { return f.What == "score" }) && res.Case != nil {
		printScore(w, *res.Case)
	}
}

// events shows those that say why there are other signals than wanted: too few, those
// that made none; too many, those that made some.
func (r *testReport) events(w io.Writer, res *rehearsal.Result) {
	i := slices.IndexFunc(res.Failures, func(f rehearsal.Failure) bool { return f.What == "signals" })
	if i < 0 {
		i = slices.IndexFunc(res.Failures, func(f rehearsal.Failure) bool { return f.Got == "no case" || f.What == "cases" })
	}
	if i < 0 {
		return
	}
	f := res.Failures[i]
	var want, got int
	fmt.Sscan(f.Want, &want) //nolint:errcheck // a text that is no number is 0
	fmt.Sscan(f.Got, &got)   //nolint:errcheck // and so is this
	many := got > want
	shown, left := 0, 0
	for n := range res.Events {
		e := &res.Events[n]
		if many && len(e.Counted)+len(e.Met()) == 0 || !many && len(e.Counted) > 0 {
			continue
		}
		if shown++; shown > maxSeen {
			left++
			continue
		}
		r.event(w, e)
	}
	if left > 0 {
		fmt.Fprintf(w, "  … and %s more\n", plural(left, "event"))
	}
}

func (r *testReport) event(w io.Writer, e *rehearsal.Seen) {
	made := e.Counted
	switch {
	case e.Rejected != "":
		indented(w, "  "+e.Event.Place+": ", "set aside, "+e.Rejected)
		return
	case len(made) > 0:
		indented(w, "  "+e.Event.Place+": ", "a signal of "+joined(made))
	case !e.Read:
		indented(w, "  "+e.Event.Place+": ", "no pipeline of this test reads it")
	case e.Ignored():
		indented(w, "  "+e.Event.Place+": ", "ignored")
	case len(e.Met()) > 0:
		indented(w, "  "+e.Event.Place+": ", "no signal by itself; it met the condition of "+joined(e.Met()))
	default:
		indented(w, "  "+e.Event.Place+": ", "no signal")
	}
	for _, s := range e.Steps {
		ignored := strings.HasPrefix(s.Condition.Of, "ignore.")
		// Of an event with a signal it counts what is true, of one without what is not:
		// but what takes it out counts where it is true.
		if (s.Truth == expr.True) == (len(made) > 0 || ignored) {
			r.step(w, "    ", s)
		}
	}
}

// step shows a condition and what its parts say.
func (r *testReport) step(w io.Writer, indent string, s rehearsal.Step) {
	head := s.Condition.Of + " " + s.Condition.What + " is " + s.Truth.String()
	if s.Condition.Through != "" {
		head += ", of " + s.Condition.Through
	}
	indented(w, indent, head)
	for _, l := range s.Leaves {
		text, said := r.leaf(l)
		first := indent + "  " + text
		if gap := width - columns(first) - columns(said); gap >= 3 && said != "" {
			fmt.Fprintf(w, "%s   %s\n", first, said)
			continue
		}
		indented(w, indent+"  ", text)
		if said != "" {
			indented(w, indent+"      ", said)
		}
	}
}

// mostColumns of one value.
const mostColumns = 60

// leaf is a part of a condition as it is written, and what it read.
func (r *testReport) leaf(l rehearsal.Leaf) (text, said string) {
	text = r.source(l.Part)
	if before := l.Part.Range.Start.Byte - 1; l.Negated && before >= 0 && r.files[l.Part.Range.Filename][before] == '!' {
		text = "!" + text
	} else if l.Negated {
		text = "!(" + text + ")"
	}
	var parts []string
	for i := range l.Part.Reads {
		parts = append(parts, shortName(l.Part.Reads, i)+" is "+line(l.Values[i], mostColumns))
	}
	return safe(text), joined(parts)
}

// source is a part of the configuration, on one line.
func (r *testReport) source(part *expr.Part) string {
	at := part.Range
	file := []byte(r.files[at.Filename])
	if !at.CanSliceBytes(file) {
		return ""
	}
	return strings.Join(strings.Fields(string(at.SliceBytes(file))), " ")
}

// shortName is the last part of a path, if no other of the same leaf ends so.
func shortName(reads []expr.Read, i int) string {
	last := func(name string) string {
		at := strings.LastIndexByte(name, '.')
		if strings.Contains(name[at+1:], "[") {
			return name
		}
		return name[at+1:]
	}
	short := last(reads[i].Name)
	for n, other := range reads {
		if n != i && last(other.Name) == short {
			return reads[i].Name
		}
	}
	return short
}

// printCoverage says what no test shows.
func (r *testReport) printCoverage(w io.Writer) {
	c := r.coverage
	heading(w, "RULES WITHOUT A TEST")
	if len(c.Untested) == 0 {
		fmt.Fprintln(w, "  None.")
	}
	for _, s := range c.Untested {
		indented(w, "  ", fmt.Sprintf("%s (%s:%d)", s.Name, s.Place.File, s.Place.Line))
	}
	heading(w, "NEVER TRUE IN A TEST")
	if len(c.NeverTrue) == 0 {
		fmt.Fprintln(w, "  None.")
	}
	for _, b := range c.NeverTrue {
		at := b.Part.Range
		text := fmt.Sprintf("%s (%s:%d): %s", b.Of, at.Filename, at.Start.Line, r.source(b.Part))
		if !b.Tried {
			text += ", which no event came to"
		}
		indented(w, "  ", text)
	}
	heading(w, "IN ALL")
	fmt.Fprintf(w, "  %d of %s have a test; %d of %s of conditions were true.\n\n",
		c.Tested, plural(c.Rules, "rule"), c.Parts-len(c.NeverTrue), plural(c.Parts, "part"))
}
