package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

// testDocument is the report as JSON.
type testDocument struct {
	Tests    int               `json:"tests"`
	Failed   int               `json:"failed"`
	Took     int64             `json:"took_ns"`
	Results  []testResult      `json:"results"`
	Coverage *coverageDocument `json:"coverage,omitempty"`
}

type testResult struct {
	Of       string              `json:"of"`
	Test     string              `json:"test"`
	Place    rehearsal.Place     `json:"place"`
	Passed   bool                `json:"passed"`
	Took     int64               `json:"took_ns"`
	Failures []rehearsal.Failure `json:"failures,omitempty"`
	Events   []testEvent         `json:"events,omitempty"`
	// Conditions of the responses that were wanted.
	Conditions []testCondition `json:"conditions,omitempty"`
	NotPlanned []string        `json:"not_planned,omitempty"`
	Unasked    []string        `json:"never_asked,omitempty"`
}

type testEvent struct {
	Event      string          `json:"event"`
	Signals    []string        `json:"signals,omitempty"` // by what reported them
	Rejected   string          `json:"rejected,omitempty"`
	Conditions []testCondition `json:"conditions,omitempty"`
}

type testCondition struct {
	Of    string     `json:"of"`
	What  string     `json:"what"`
	Truth string     `json:"truth"` // "true", "false" or "null"
	Parts []testPart `json:"parts"`
}

// testPart is a part of a condition: why it is not true, or all of it if it is.
type testPart struct {
	Text string `json:"text"`
	// Negated: it stands below a "!", and should be false.
	Negated bool              `json:"negated,omitempty"`
	Place   rehearsal.Place   `json:"place"`
	Truth   string            `json:"truth"`
	Values  map[string]string `json:"values,omitempty"` // as JSON, long ones cut, by what was read
}

type coverageDocument struct {
	Rules     int         `json:"rules"`
	Tested    int         `json:"tested"`
	Untested  []string    `json:"untested"`
	Parts     int         `json:"parts"`
	NeverTrue []blankPart `json:"never_true"`
}

type blankPart struct {
	Of    string          `json:"of"`
	Text  string          `json:"text"`
	Place rehearsal.Place `json:"place"`
	Tried bool            `json:"tried"`
}

func (r *testReport) document() testDocument {
	doc := testDocument{Tests: len(r.results), Failed: r.failed, Took: r.took.Nanoseconds(), Results: []testResult{}}
	for i := range r.results {
		doc.Results = append(doc.Results, r.result(&r.results[i]))
	}
	if c := r.coverage; c != nil {
		out := &coverageDocument{Rules: c.Rules, Tested: c.Tested, Parts: c.Parts, Untested: []string{}, NeverTrue: []blankPart{}}
		for _, s := range c.Untested {
			out.Untested = append(out.Untested, s.Name)
		}
		for _, b := range c.NeverTrue {
			at := b.Part.Range
			out.NeverTrue = append(out.NeverTrue, blankPart{b.Of, r.source(b.Part), rehearsal.Place{File: at.Filename, Line: at.Start.Line}, b.Tried})
		}
		doc.Coverage = out
	}
	return doc
}

func (r *testReport) result(res *rehearsal.Result) testResult {
	t := res.Test
	out := testResult{
		Of: t.Subject.Name, Test: t.Name, Place: t.Place, Passed: len(res.Failures) == 0,
		Took: res.Took.Nanoseconds(), Failures: res.Failures, Unasked: res.Unasked,
	}
	for i := range res.Events {
		e := &res.Events[i]
		out.Events = append(out.Events, testEvent{e.Event.Place, e.Reported, e.Rejected, r.conditions(e.Steps)})
	}
	out.Conditions = r.conditions(res.Responses)
	for _, n := range res.Notes {
		out.NotPlanned = append(out.NotPlanned, strings.TrimSuffix(n.Response+"."+n.Step, ".")+": "+n.Why)
	}
	return out
}

func (r *testReport) conditions(steps []rehearsal.Step) []testCondition {
	var all []testCondition
	for _, s := range steps {
		c := testCondition{Of: s.Condition.Of, What: s.Condition.What, Truth: s.Truth.String(), Parts: []testPart{}}
		for _, l := range s.Leaves {
			at := l.Part.Range
			part := testPart{Text: r.source(l.Part), Place: rehearsal.Place{File: at.Filename, Line: at.Start.Line}, Truth: l.Truth.String(), Negated: l.Negated}
			for i, read := range l.Part.Reads {
				if part.Values == nil {
					part.Values = map[string]string{}
				}
				part.Values[read.Name] = l.Values[i]
			}
			c.Parts = append(c.Parts, part)
		}
		all = append(all, c)
	}
	return all
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit is the report as JUnit's XML: a suite for each block.
func (r *testReport) junit() ([]byte, error) {
	seconds := func(s float64) string { return fmt.Sprintf("%.4f", s) }
	doc := junitSuites{Tests: len(r.results), Failures: r.failed, Time: seconds(r.took.Seconds())}
	for i := range r.results {
		res := &r.results[i]
		t := res.Test
		at := slices.IndexFunc(doc.Suites, func(s junitSuite) bool { return s.Name == t.Subject.Name })
		if at < 0 {
			at, doc.Suites = len(doc.Suites), append(doc.Suites, junitSuite{Name: t.Subject.Name})
		}
		suite := &doc.Suites[at]
		c := junitCase{Class: t.Subject.Name, Name: t.Name, File: t.Place.File, Line: t.Place.Line, Time: seconds(res.Took.Seconds())}
		if len(res.Failures) > 0 {
			var text bytes.Buffer
			r.failure(&text, res)
			var said []string
			for _, f := range res.Failures {
				said = append(said, f.What+": want "+f.Want+", got "+f.Got)
			}
			c.Failure = &junitFailure{strings.Join(said, "; "), text.String()}
			suite.Failures++
		}
		suite.Tests++
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(doc, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}

// layer of the ATT&CK Navigator, version 4.5 of its format.
type layer struct {
	Name        string           `json:"name"`
	Versions    layerVersions    `json:"versions"`
	Domain      string           `json:"domain"`
	Description string           `json:"description"`
	Sorting     int              `json:"sorting"` // by score, the highest last
	Techniques  []layerTechnique `json:"techniques"`
	Gradient    layerGradient    `json:"gradient"`
	Legend      []layerLegend    `json:"legendItems"`
}

type layerVersions struct {
	Navigator string `json:"navigator"`
	Layer     string `json:"layer"`
}

type layerTechnique struct {
	ID      string `json:"techniqueID"`
	Score   int    `json:"score"`
	Comment string `json:"comment"`
	Enabled bool   `json:"enabled"`
	// Shown: its sub-techniques are unfolded, or it is one.
	Shown bool `json:"showSubtechniques"`
}

type layerGradient struct {
	Colors []string `json:"colors"`
	Min    int      `json:"minValue"`
	Max    int      `json:"maxValue"`
}

type layerLegend struct {
	Label string `json:"label"`
	Color string `json:"color"`
}

// Scores of a technique in the layer, by its best rule.
const (
	layerUntested = 0
	layerTested   = 50
	layerShown    = 100 // a test wants signals, and another one wants none
)

// layer says which techniques the rules are about, and how well these are tested.
func (r *testReport) layer() ([]byte, error) {
	techniques := map[string]*layerTechnique{}
	for _, s := range r.settings.Subjects {
		score, text := r.tested(s)
		for _, id := range s.Techniques {
			t := techniques[id]
			if t == nil {
				t = &layerTechnique{ID: id, Enabled: true, Shown: strings.Contains(id, ".")}
				techniques[id] = t
			} else {
				t.Comment += "\n"
			}
			t.Score, t.Comment = max(t.Score, score), t.Comment+text
		}
	}
	doc := layer{
		Name: "Kelpie's rules", Versions: layerVersions{Navigator: "5.1.0", Layer: "4.5"}, Domain: "enterprise-attack",
		Description: "Techniques that the rules say they detect, by how well these are tested.", Sorting: 3,
		Techniques: []layerTechnique{},
		Gradient:   layerGradient{Colors: []string{"#ff6666", "#ffe766", "#8ec843"}, Max: layerShown},
		Legend: []layerLegend{
			{"a rule without a test", "#ff6666"}, {"a rule with a test", "#ffe766"}, {"a test that fires and one that does not", "#8ec843"},
		},
	}
	for _, id := range slices.Sorted(maps.Keys(techniques)) {
		doc.Techniques = append(doc.Techniques, *techniques[id])
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	return append(text, '\n'), err
}

// tested is a rule's score in the layer, and what is said of it.
func (r *testReport) tested(s rehearsal.Subject) (int, string) {
	tests, fires, quiet := 0, false, false
	for _, t := range r.settings.Tests {
		if t.Subject.Address != s.Address {
			continue
		}
		tests++
		if n := t.Want.Signals; n != nil {
			fires, quiet = fires || *n > 0, quiet || *n == 0
		}
	}
	score := layerUntested
	switch {
	case fires && quiet:
		score = layerShown
	case tests > 0:
		score = layerTested
	}
	return score, s.Name + ": " + plural(tests, "test")
}
