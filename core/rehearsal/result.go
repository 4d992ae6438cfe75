package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Result is what came of a test.
type Result struct {
	Test *Test
	Took time.Duration
	// Failures are what came otherwise than wanted; empty: it passed.
	Failures []Failure
	// What follows is there for tests that failed.

	// Events in the order in which they were received.
	Events []Seen
	// Case is the one with the highest score of those that count; nil: there is none.
	Case *model.Case
	// Responses are the conditions of the responses that were wanted and did not come, as
	// the case is in the end.
	Responses []Step
	// Notes say what was not planned, and why.
	Notes []model.Note
	// Unasked are answers that nobody asked for, by their names.
	Unasked []string
}

// Failure is one thing that came otherwise.
type Failure struct {
	What string `json:"what"` // "signals"
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Seen is what became of an event.
type Seen struct {
	Event *Event
	// Rejected says why it was set aside; empty: it was not.
	Rejected string
	// Read: a pipeline that the test is about reads its detector.
	Read bool
	// Reported are the pipelines and rules that made a signal of it, by their addresses
	// of now, and Counted those of them that the test is about.
	Reported, Counted []string
	// Steps are the conditions that it came to, in their order: those of what the test
	// is about.
	Steps []Step
}

// Met are the rules whose conditions it met, by their addresses of now: of a rule over
// several events that alone makes no signal.
func (s *Seen) Met() []string {
	var met []string
	for _, step := range s.Steps {
		if step.Truth == expr.True && strings.HasPrefix(step.Condition.Of, "rule.") && !slices.Contains(met, step.Condition.Of) {
			met = append(met, step.Condition.Of)
		}
	}
	return met
}

// Ignored tells whether an ignore has taken it out.
func (s *Seen) Ignored() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool {
		return step.Truth == expr.True && strings.HasPrefix(step.Condition.Of, "ignore.")
	})
}

// Step is one condition that was evaluated.
type Step struct {
	Condition *Condition
	Truth     expr.Truth
	// Leaves are why it is what it is.
	Leaves []Leaf
}

// Leaf is one part of a condition, with what it read.
type Leaf struct {
	Part  *expr.Part
	Truth expr.Truth
	// Negated: it stands below a !.
	Negated bool
	// Values of the part's Reads, as JSON.
	Values []string
}

// maxValue bounds a value that is shown.
const maxValue = 400

// stepOf keeps what a condition says now, without holding on to what it read.
func stepOf(c *Condition, s *expr.Scope) Step {
	f := c.Part().Find(s)
	step := Step{Condition: c, Truth: f.Truth}
	for _, leaf := range f.Reasons() {
		l := Leaf{Part: leaf.Part, Truth: leaf.Truth, Negated: leaf.Negated}
		for _, v := range leaf.Values {
			text := v.String()
			if len(text) > maxValue {
				text = text[:maxValue]
			}
			l.Values = append(l.Values, text)
		}
		step.Leaves = append(step.Leaves, l)
	}
	return step
}
