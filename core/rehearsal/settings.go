// Package rehearsal runs the tests that a configuration brings with it: made-up events
// and answers go through match and decide as real ones would, in memory and in no time,
// and what comes of them is held against what the test wants. It needs no plugin, no
// secret, no network and no file, and a test gives the same whenever it runs.
package rehearsal

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Settings is a configuration with its tests.
type Settings struct {
	Match  *match.Settings
	Decide *decide.Settings
	// Subjects are what can have tests, in the order of writing, and Tests those that
	// they have.
	Subjects []Subject
	Tests    []Test
	// Conditions by the programs that match and decide evaluate.
	Conditions map[*expr.Program]*Condition
}

// Place is where something is written.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// Subject is a rule, a pipeline, a response or the score.
type Subject struct {
	Kind    string // "rule"
	Address string // under which it is known, "rule.beacon"
	Name    string // its address of now
	Place   Place
	// Techniques of ATT&CK that a rule says it detects.
	Techniques []string
}

// Condition is one that is evaluated, of a rule, a pipeline, an ignore or a response.
type Condition struct {
	Of   string // its address of now, "response.contain.isolate" for a step's
	What string // "when"
	// Through is the pipeline that has it from a template; empty: it is its own.
	Through string
	// Part takes it apart. It always gives the same, and is for one goroutine.
	Part func() *expr.Part
}

// Test is one test block.
type Test struct {
	Subject Subject
	Name    string
	Place   Place
	// At is when the first event is received; zero: when it happened, or else at [Standard].
	At      time.Time
	Given   []Event
	Answers []Answer
	Choices []Choice
	Want    Want
	// Heard are the pipelines and rules whose signals there are, nil: all of them; and
	// Counted those whose signals, with their cases, the test is about, nil: all of them.
	Heard, Counted []string
	// Responses whose steps the test is about; nil: all of them.
	Responses []string
	// Settle is how long after the last event all that waits for time has come to its end.
	Settle time.Duration
}

// Event is one that a test gives.
type Event struct {
	Detector string // under which it is known
	Place    string // for people: `given "detector.eve", event 2`
	Event    model.Event
}

// Answer is what an enrichment says about one value. The reply's Ask and times are the
// test's to set; a state of Pending is never answered.
type Answer struct {
	Enrichment string // under which it is known
	Key        string // of the observable, "ip:10.1.2.3"
	Name       string // for people: `enrichment.assets about ip:10.1.2.3`
	Reply      model.Reply
}

// Choice is what somebody chooses when a step asks. What no choice is for nobody answers.
type Choice struct {
	Step   string // "response.contain.ask", under which it is known
	Name   string // of now, for people
	Option string
	Reason string
	// By is an address or a user's name; empty: the first who was asked and may answer.
	By string
}

// Want is what must come of it; nil: whatever does.
type Want struct {
	Signals *int
	Cases   *int
	Score   *Range
	// Steps that are planned, "response.contain.isolate", in any order, no others. The
	// names are those under which they are known.
	Steps *[]string
	// Asked are the steps that ask people something, likewise.
	Asked *[]string
}

// Range of a score, its ends included.
type Range struct{ Low, High model.Hundredths }

func (r Range) String() string {
	if r.Low == r.High {
		return r.Low.String()
	}
	return r.Low.String() + " to " + r.High.String()
}

// Standard is when an event is received that has no time, in a test that has none.
var Standard = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// spacing is between the receipts of events without a time.
const spacing = time.Second
