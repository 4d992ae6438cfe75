package plan

import (
	"encoding/json"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Case is what a plan depends on.
type Case struct {
	// FirstID is the id under which the case was first opened.
	FirstID string
	// Rules are the addresses of what reported its signals.
	Rules []string
	// Value is "case" in expressions.
	Value expr.Value
	// ChangedAt is when its newest signal was decided.
	ChangedAt time.Time
	// Anew is from when on people are told of it as if they never had been, since it had
	// ended and goes on; zero: it never did.
	Anew    time.Time
	Pending Pending
	// Intents are all that were ever planned for it, under any of its ids, in the
	// order in which they were planned.
	Intents []model.Intent
	Facts   Facts
	// Score of the case, and what people were told of its subjects by a step in other
	// cases; nil: nothing.
	Score model.Hundredths
	Told  func(response, step string, t model.Target) (Told, bool)
	// Held says how a hold is; nil: nothing is held.
	Held func(hold string) Held
	// Questions are all that were ever asked about it, under any of its ids, in the order
	// in which they were.
	Questions []model.Question
	// OnCall are who is on call now, by the address of a schedule.
	OnCall map[string][]string
	// Joins tells whether what an intent tells will be told by a message that others wait
	// for already; nil: none is.
	Joins func(in *model.Intent) bool
	// Paused says why a rule or response, by address, is paused; nil: none is.
	Paused func(address string) (why string, ok bool)
}

// Held is how a hold is, for who wants it.
type Held struct {
	// InForce: it is so already, by Kelpie's intent By. Why says since when.
	InForce bool
	By      string
	// Waits: whether it is in force is being decided. Why says by what.
	Waits bool
	Why   string
}

// Pending are the lookups about a case that are not answered yet.
type Pending struct {
	First string // for people
	Count int
}

// Facts is what is known about the targets of a case.
type Facts interface {
	// Earned says whether a verb that contains may have this target, or why not.
	Earned(verb string, t model.Target) (ok bool, why string)
	// Target is "target" in expressions: kind, value, and asset, identity and network
	// as internal enrichments know them. What is not known there is null.
	Target(t model.Target) expr.Value
	// Notice is the parameter "notice": an sdk.Notice as JSON, the case with what planning
	// has to say.
	Notice(own sdk.Notice) json.RawMessage
}

// Plan is what is to be done now.
type Plan struct {
	// Intents are new, in the order of responses, steps and targets.
	Intents []model.Intent
	// Notes say what was not planned, and why, as things are now.
	Notes []model.Note
	// Limited: something waits for room in a limit; Paused: for the end of a pause.
	Limited bool
	Paused  bool
	// Waits are the holds that something waits for, each once.
	Waits []string
	// Questions are to be opened: their levels are who is asked and when. For who is
	// asked now Plan makes the intents that tell them, again each time it is called with a
	// question that has reached a further level. One that can be put to nobody is failed
	// from the beginning.
	Questions []model.Question
	// Asked are who is asked now, or would be and can't, each to be added to the question of
	// Of. Those with an Intent are told by it; the others are Failed, with a note.
	Asked []Asking
}

// Asking is who is asked a question now.
type Asking struct {
	Of string // the question's id
	model.Asked
}

// Kinds of targets that are no observables.
const (
	// AddressKind is of who is notified.
	AddressKind = "address"
	// CaseKind is of a step without targets, such as a ticket: its one target is the
	// case, by its first id.
	CaseKind = "case"
)

// maxNotes bounds Plan.Notes.
const maxNotes = 50

// StepShape is what expressions may read of "step" in a response with steps of
// these names.
func StepShape(steps ...string) *expr.Shape {
	shape := &expr.Shape{Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{}}
	for _, name := range steps {
		shape.Fields[name] = &expr.Shape{Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{
			"result": {Kind: expr.StringKind, Doc: "done, already, refused, failed, unknown or undone, of one with wait answered, timed_out or failed; null if nothing was planned"},
			"choice": {Kind: expr.StringKind, Doc: "the option that was chosen; null if none was"},
			"reason": {Kind: expr.StringKind, Doc: "why"},
			"by":     {Kind: expr.StringKind, Doc: "who chose it"},
		}}
	}
	return shape
}
