package model

import (
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// CaseState is where a case is.
type CaseState string

// The states of a case.
const (
	CaseOpen   CaseState = "open"
	CaseClosed CaseState = "closed"
	// CaseMerged: its signals belong to another case now, which has its id as an alias.
	CaseMerged CaseState = "merged"
)

// Case is the signals that belong together. Which signals, and the id, are a pure
// function of the set of all signals.
type Case struct {
	// ID is CaseID of the earliest member (event time, then signal id).
	ID string `json:"id"`
	// FirstID is the id under which it was first opened; intents are named by it.
	FirstID string `json:"first_id"`
	// Aliases are older ids, sorted.
	Aliases []string  `json:"aliases,omitempty"`
	State   CaseState `json:"state"`

	Title    string `json:"title"`
	Severity int    `json:"severity"` // highest of its signals, 0 to 100
	// Stopped is true if every signal was stopped by its control, false if one was
	// not, nil if it is not known.
	Stopped *bool    `json:"stopped"`
	Signals []string `json:"signals"` // by event time, then id
	Size    int      `json:"size"`    // how many signals
	Rules   []string `json:"rules"`   // that reported them, sorted
	// Subjects: first the Reported ones, which detectors named, users before hosts
	// before addresses; then those that enrichments found, in the same order.
	Subjects   []sdk.Observable `json:"subjects,omitempty"`
	Reported   int              `json:"reported,omitempty"`
	Indicators []sdk.Observable `json:"indicators,omitempty"`
	Techniques []string         `json:"techniques,omitempty"`

	// FirstAt and LastAt are event times; OpenedAt is when Kelpie decided first, UpdatedAt
	// when it last decided anything else: what became of a step is no part of the case.
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	OpenedAt  time.Time `json:"opened_at"`
	UpdatedAt time.Time `json:"updated_at"`

	Score Score `json:"score"`
	// History tells which of its values were in earlier cases; of more than 50 the first.
	History []Past `json:"history,omitempty"`
	// Pending is how many answers about it have been asked for and have not come.
	Pending int `json:"pending,omitempty"`
	// Joined says why its signals are one case, beyond values that they share, and what
	// was left out of it.
	Joined []string `json:"joined,omitempty"`
	// Notes say what a person should know of the decision: what was not planned,
	// and why.
	Notes []Note `json:"notes,omitempty"`
	// Finding is what it turned out to be; nil: nobody has said.
	Finding *Finding `json:"finding,omitempty"`
	// Worked is what was done about it, once it has ended.
	Worked *Worked `json:"worked,omitempty"`
	// Reopened is when it was last opened again, and why; nil: it never was.
	Reopened *Reopening `json:"reopened,omitempty"`
}

// Note explains a decision that left no intent: a step that protect, a limit, a
// pending answer or the mode of actions held back.
type Note struct {
	Response string    `json:"response"`
	Step     string    `json:"step,omitempty"`
	Target   string    `json:"target,omitempty"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`
}

// Past is what is remembered of a value of a case: that it was in earlier ones.
type Past struct {
	Value   string `json:"value"` // "kind:value"
	Subject bool   `json:"subject,omitempty"`
	Cases   int    `json:"cases"` // how many
	// Severity is the highest of what was reported with it, 0 to 100; LastAt when it was
	// last seen in one, and Case the id of that one, maybe an older id.
	Severity int       `json:"severity"`
	LastAt   time.Time `json:"last_at"`
	Case     string    `json:"case"`
	// Found is what people found of the last four of them, the latest first, where somebody
	// has said it.
	Found []PastFinding `json:"found,omitempty"`
}

// PastFinding is the outcome of an earlier case.
type PastFinding struct {
	Kind FindingKind `json:"kind"`
	By   string      `json:"by"`
	At   time.Time   `json:"at"`
	// Last is when the value was last seen in it.
	Last time.Time `json:"last"`
	// Rules are those that reported it; of more than 20 the first.
	Rules []string `json:"rules,omitempty"`
}

// CaseID names a case by its earliest signal.
func CaseID(signal string) string { return ID("c", signal) }

// Hundredths is a number of points in hundredths: 8000 is 80 points.
type Hundredths int64

// String is decimal text with two places, "87.50".
func (h Hundredths) String() string {
	sign := ""
	if h < 0 {
		sign, h = "-", -h
	}
	return fmt.Sprintf("%s%d.%02d", sign, h/100, h%100)
}

// Score is evidence added up, with every step of the sum.
type Score struct {
	Total Hundredths `json:"total"` // Sum, but 0 to 10000, and a multiple of Round points
	Round int        `json:"round,omitempty"`
	// Sum of the factors' shares.
	Sum Hundredths `json:"sum"`
	// Upper is what Total could become if what is unknown, pending or failed turned
	// out as bad as it can.
	Upper   Hundredths `json:"upper"`
	Factors []Factor   `json:"factors,omitempty"`
	// Unknown lists what counted nothing because it is not known, for people.
	Unknown []string `json:"unknown,omitempty"`
}

// Factor is one part of the score: its lines combined, divided, capped, rounded,
// weighted.
type Factor struct {
	Name    string `json:"name"`
	Combine string `json:"combine"` // "max", "sum", "decay"
	Weight  string `json:"weight"`  // decimal text, as configured
	// Divide and Round as configured; 0: not at all.
	Divide  int        `json:"divide,omitempty"`
	Round   int        `json:"round,omitempty"`
	Lines   []Line     `json:"lines,omitempty"`
	Sum     Hundredths `json:"sum"`               // after combining
	Divided Hundredths `json:"divided,omitempty"` // Sum by Divide
	Capped  Hundredths `json:"capped"`            // that, but 0 to 10000
	Rounded Hundredths `json:"rounded,omitempty"` // of Sum by Divide: a multiple of Round points, half to even
	Share   Hundredths `json:"share"`             // weight times capped, or rounded
}

// Line is one piece of evidence.
type Line struct {
	Evidence string     `json:"evidence"`
	Points   Hundredths `json:"points"`
	// Counted is what it added under the factor's combination.
	Counted Hundredths `json:"counted"`
	Because string     `json:"because"`

	// Where it comes from, as far as that is known. Source is the address of an
	// enrichment or detector, or the id of an earlier case; About is the value that it
	// was said of, "kind:value"; At is when it was said or happened, so that its age
	// when it was scored is Case.UpdatedAt less At; Reliability is 0 to 100, how sure the
	// source was.
	Source      string    `json:"source,omitempty"`
	About       string    `json:"about,omitempty"`
	At          time.Time `json:"at,omitzero"`
	Reliability *int      `json:"reliability,omitempty"`
}

// Observables lists those of a case and its signals, each once, without
// roles. Those that were found only the case has.
func (c *Case) Observables(signals []Signal) []sdk.Observable {
	seen := map[sdk.Observable]bool{}
	var all []sdk.Observable
	add := func(list []sdk.Observable) {
		for _, o := range list {
			o.Role = sdk.NoRole
			if !seen[o] {
				seen[o] = true
				all = append(all, o)
			}
		}
	}
	for _, g := range signals {
		add(g.Observables)
	}
	add(c.Subjects)
	add(c.Indicators)
	return all
}
