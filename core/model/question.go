package model

import (
	"slices"
	"strconv"
	"time"
)

// QuestionKind says what people are asked.
type QuestionKind string

// The kinds of questions.
const (
	// QuestionChoice: which of the options of a step that waits.
	QuestionChoice QuestionKind = "choice"
	// QuestionApproval: whether a step may be taken on its targets.
	QuestionApproval QuestionKind = "approval"
)

// QuestionState is where a question is.
type QuestionState string

// The states of a question. All but open are final.
const (
	QuestionOpen     QuestionState = "open"
	QuestionAnswered QuestionState = "answered"
	// QuestionTimedOut: it reached somebody, and nobody answered within Wait.
	QuestionTimedOut QuestionState = "timed_out"
	// QuestionFailed: it reached nobody.
	QuestionFailed QuestionState = "failed"
	// QuestionWithdrawn: it needs no answer any more, such as when its case has ended.
	QuestionWithdrawn QuestionState = "withdrawn"
)

// The options that are no steps of the operator's.
const (
	OptionApprove  = "approve"
	OptionRefuse   = "refuse"
	OptionIgnore   = "ignore"   // proposes a narrow, expiring ignore
	OptionEscalate = "escalate" // asks the author of the rule
	OptionNotMine  = "not_mine" // asks who is next, and proposes a change of the route's table
)

// Reasons for OptionIgnore.
const (
	ReasonExpected   = "expected"
	ReasonTest       = "authorised_test"
	ReasonFalseAlarm = "false_alarm"
	ReasonDuplicate  = "duplicate"
)

// Question is what a step of a response asks people, once. Planning makes it and says
// who is asked; what becomes of it is decided by what people choose and by time that
// passes once it was delivered.
type Question struct {
	ID       string        `json:"id"`
	Kind     QuestionKind  `json:"kind"`
	Case     string        `json:"case"` // as first opened
	Response string        `json:"response"`
	Step     string        `json:"step"`
	Round    int           `json:"round,omitempty"`
	State    QuestionState `json:"state"`
	// DryRun: it was asked as a dry run, so that nobody has seen it.
	DryRun bool `json:"dry_run,omitempty"`
	// Rules are the addresses of what reported the case's signals when it was asked.
	Rules   []string `json:"rules,omitempty"`
	Options []Option `json:"options"`
	// Verb and Targets are of an approval: what is done if it is approved, and to what.
	// Preview are the ids of the intents that tried it with dry_run.
	Verb    string   `json:"verb,omitempty"`
	Targets []Target `json:"targets,omitempty"`
	Preview []string `json:"preview,omitempty"`
	// People is how many different ones have to approve; 0 and 1: one.
	People int `json:"people,omitempty"`
	// Role that who approves must have; empty: none but to be asked.
	Role string `json:"role,omitempty"`
	// Otherwise is OptionApprove or OptionRefuse: what a time-out of an approval means.
	Otherwise string `json:"otherwise,omitempty"`

	// Levels are who is asked, one after the other; those up to Level, from 0, are.
	Levels []Level `json:"levels"`
	Level  int     `json:"level"`
	// Asked are those who are or were asked, in that order.
	Asked []Asked `json:"asked,omitempty"`
	// Choices are what people chose, in the order in which they did.
	Choices []Choice `json:"choices,omitempty"`

	OpenedAt time.Time `json:"opened_at"`
	// AcceptedAt is when it was first delivered, from when Wait counts; zero: not yet.
	AcceptedAt time.Time     `json:"accepted_at,omitzero"`
	Wait       time.Duration `json:"wait"`
	// Ends and Next are when the time is over and the next level is asked, in the time
	// that decide has seen pass; 0: not begun. Until is the first by the clock as it goes
	// now.
	Ends  time.Duration `json:"ends,omitempty"`
	Next  time.Duration `json:"next,omitempty"`
	Until time.Time     `json:"until,omitzero"`

	// Choice is the name of the option that was chosen; By, Reason and Road are of the
	// choice that decided it.
	Choice   string    `json:"choice,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Road     Road      `json:"road,omitempty"`
	ClosedAt time.Time `json:"closed_at,omitzero"`
	// Why it was withdrawn or failed, for people.
	Why string `json:"why,omitempty"`
}

// Option is what a person may choose.
type Option struct {
	Name    string `json:"name"`
	Summary string `json:"summary,omitempty"`
	// NeedsReason: it can't be chosen without saying why. Reasons, if there are any, are
	// the words of which the reason must be one; a note may follow after a colon.
	NeedsReason bool     `json:"needs_reason,omitempty"`
	Reasons     []string `json:"reasons,omitempty"`
	// Run are steps of the same response, by name, that are taken if it is chosen.
	Run []string `json:"run,omitempty"`
}

// Level is some people who are asked together.
type Level struct {
	// After is how long the level before has been asked; 0 for the first.
	After time.Duration `json:"after,omitempty"`
	To    []string      `json:"to"` // addresses
	// Why says for people how they were found: "owner of ws-17", "on call for netsec".
	Why string `json:"why,omitempty"`
}

// Asked is one address that a question goes to.
type Asked struct {
	Address string `json:"address"`
	// Person is the name of the user whose address it is; empty: of no user.
	Person string    `json:"person,omitempty"`
	Level  int       `json:"level"`
	Intent string    `json:"intent,omitempty"` // that tells it
	At     time.Time `json:"at"`
	// Accepted is when the delivery was accepted, Failed that it was not.
	Accepted time.Time `json:"accepted,omitzero"`
	Failed   bool      `json:"failed,omitempty"`
	// Subject: it is a subject of the case, or may be read by one, so that what is chosen
	// only adds evidence.
	Subject bool `json:"subject,omitempty"`
}

// Road is the way by which a choice came.
type Road string

// The roads.
const (
	RoadLink    Road = "link"    // a signed link, as in a mail
	RoadAnswers Road = "answers" // a connector's stream of answers
	RoadCommand Road = "command" // the command line
	RoadAPI     Road = "api"
)

// Choice is what one person chose.
type Choice struct {
	// ID of the order that it came by.
	ID     string `json:"id,omitempty"`
	Option string `json:"option"`
	Reason string `json:"reason,omitempty"`
	// By is the name of a user or, of who is none, the address.
	By      string    `json:"by"`
	Address string    `json:"address,omitempty"`
	Road    Road      `json:"road"`
	At      time.Time `json:"at"`
	// Counts: it decides, or is one of those that do. Else Why says why not.
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
	// Subject: it does not count since who chose is a subject of the case, or shares a
	// mailbox with one. What a subject says that was asked is evidence.
	Subject bool `json:"subject,omitempty"`
}

// MostRefused bounds the choices of a question that do not count and are kept, and
// MostRefusedOf those of one person.
const (
	MostRefused   = 50
	MostRefusedOf = 5
)

// QuestionID names a question for ever. Case is its id as first opened.
func QuestionID(caseID, response, step string, round int) string {
	return ID("q", caseID, response, step, strconv.Itoa(round))
}

// Chose finds the choice that an order came to; nil: it came to none, since too many that
// do not count were kept already.
func (q *Question) Chose(order string) *Choice {
	at := slices.IndexFunc(q.Choices, func(c Choice) bool { return c.ID == order })
	if at < 0 {
		return nil
	}
	return &q.Choices[at]
}

// Last tells whether there is nobody further to ask.
func (q *Question) Last() bool { return q.Level+1 >= len(q.Levels) }

// Clone shares nothing that changes as time goes on.
func (q *Question) Clone() Question {
	c := *q
	c.Levels, c.Asked, c.Choices = slices.Clone(q.Levels), slices.Clone(q.Asked), slices.Clone(q.Choices)
	return c
}

// Open tells whether it waits for an answer.
func (q *Question) Open() bool { return q.State == QuestionOpen }

// Option finds one by name; nil: there is none.
func (q *Question) Option(name string) *Option {
	at := slices.IndexFunc(q.Options, func(o Option) bool { return o.Name == name })
	if at < 0 {
		return nil
	}
	return &q.Options[at]
}

// Asks finds who is asked under an address; nil: it is not.
func (q *Question) Asks(address string) *Asked {
	at := slices.IndexFunc(q.Asked, func(a Asked) bool { return a.Address == address })
	if at < 0 {
		return nil
	}
	return &q.Asked[at]
}
