package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/sdk"
)

// maxSample bounds the events that expressions are measured on.
const maxSample = 10_000

// costReport is what the events of one source cost.
type costReport struct {
	Source      string           `json:"source"`
	Paths       int              `json:"paths"`
	Pass        int64            `json:"pass_ns,omitempty"`
	Events      int              `json:"events,omitempty"`
	Unread      int              `json:"unread,omitempty"`
	Expressions []expressionCost `json:"expressions"`
}

type expressionCost struct {
	Of      string     `json:"of"`
	What    string     `json:"what"`
	File    string     `json:"file"`
	Line    int        `json:"line"`
	Lookups int        `json:"lookups"`
	Each    int64      `json:"ns,omitempty"`
	Parts   []costPart `json:"parts,omitempty"`
}

// costPart takes longer than a few look-ups.
type costPart struct {
	Kind   expr.CostKind `json:"kind"`
	File   string        `json:"file"`
	Line   int           `json:"line"`
	Column int           `json:"column"`
	Text   string        `json:"text"`
}

// explainCost says what each event of each source costs.
func (p program) explainCost(o *options, c *config.Config, events string) error {
	var sample [][]byte
	if events != "" {
		var err error
		if sample, err = readSample(events); err != nil {
			return err
		}
	}
	reports := []costReport{}
	for i := range c.Match.Sources {
		reports = append(reports, costOf(match.Explain(&c.Match.Sources[i], sample), c.Source.Listing(), len(sample)))
	}
	if o.json {
		return printJSON(p.out, reports)
	}
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(p.out)
		}
		printCost(p.out, r)
	}
	return nil
}

// readSample takes the first lines of a file, each an event.
func readSample(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage("--events: %v", err)
	}
	defer f.Close()
	var sample [][]byte
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, sdk.MaxEvent+1)
	for len(sample) < maxSample && lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			sample = append(sample, bytes.Clone(line))
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, usage("--events: line %d of %s has more than %d bytes", len(sample)+1, path, sdk.MaxEvent)
	case err != nil:
		return nil, usage("--events: %v", err)
	case len(sample) == 0:
		return nil, usage("--events: %s has no lines", path)
	}
	return sample, nil
}

func costOf(c match.Cost, files map[string]string, events int) costReport {
	r := costReport{
		Source: c.Source, Paths: c.Paths, Pass: c.Pass.Nanoseconds(), Events: events, Unread: c.Unread,
		Expressions: []expressionCost{},
	}
	for _, e := range c.Expressions {
		at := e.Program.Range()
		x := expressionCost{
			Of: e.Of, What: e.What, File: at.Filename, Line: at.Start.Line,
			Lookups: e.Program.Lookups(), Each: e.Each.Nanoseconds(),
		}
		for _, part := range e.Program.Costs() {
			text := ""
			if file := []byte(files[part.Range.Filename]); part.Range.CanSliceBytes(file) {
				text = strings.Join(strings.Fields(string(part.Range.SliceBytes(file))), " ")
			}
			x.Parts = append(x.Parts, costPart{
				Kind: part.Kind, File: part.Range.Filename,
				Line: part.Range.Start.Line, Column: part.Range.Start.Column, Text: text,
			})
		}
		r.Expressions = append(r.Expressions, x)
	}
	slices.SortStableFunc(r.Expressions, func(a, b expressionCost) int {
		return cmp.Or(cmp.Compare(b.Each, a.Each), cmp.Compare(len(b.Parts), len(a.Parts)))
	})
	return r
}

var costWords = map[expr.CostKind]string{
	expr.Scan:    "passes over JSON text each time",
	expr.Loop:    "goes through a list or object",
	expr.Pattern: "a regular expression",
	expr.Decode:  "decodes or encodes a text",
}

func printCost(w io.Writer, r costReport) {
	text := r.Source + ": " + plural(r.Paths, "path") + " found in one pass over each event"
	if r.Pass > 0 {
		text += ", which takes " + time.Duration(r.Pass).String()
	}
	if r.Unread > 0 {
		text += fmt.Sprintf("; %d of %d events would be set aside", r.Unread, r.Events)
	}
	indented(w, "", text)
	if len(r.Expressions) == 0 {
		fmt.Fprintln(w, "  No expression reads its events.")
		return
	}
	if r.Pass > 0 {
		fmt.Fprintf(w, "  %9s  EXPRESSION\n", "NS/EVENT")
	}
	for _, e := range r.Expressions {
		lead := "  "
		if r.Pass > 0 {
			lead = fmt.Sprintf("  %9d  ", e.Each)
		}
		indented(w, lead, fmt.Sprintf("%s %s (%s:%d): %s", e.Of, e.What, e.File, e.Line, plural(e.Lookups, "look-up")))
		lead = strings.Repeat(" ", max(len(lead), 4)) + "- "
		for _, part := range e.Parts {
			where := ""
			if part.Line != e.Line || part.File != e.File {
				where = fmt.Sprintf(" (%s:%d)", part.File, part.Line)
			}
			indented(w, lead, costWords[part.Kind]+where+": "+line(part.Text, 2*width))
		}
	}
}
