package model

import (
	"encoding/json"
	"strconv"
	"time"
)

// IntentState is what became of an intent.
type IntentState string

// The states of an intent.
const (
	IntentPending IntentState = "pending"
	IntentDone    IntentState = "done"
	IntentAlready IntentState = "already" // it was so before
	IntentRefused IntentState = "refused"
	IntentFailed  IntentState = "failed"
	// IntentUnknown: it may have taken effect; a person has to say.
	IntentUnknown IntentState = "unknown"
	IntentUndone  IntentState = "undone"
	// IntentGathered: it is told together with others, by another intent.
	IntentGathered IntentState = "gathered"
)

// Final tells whether nothing more will be tried by machine.
func (s IntentState) Final() bool { return s != IntentPending && s != IntentGathered }

// Intent is one step for one target, written down before it is tried. It may be
// tried more than once; it takes effect once.
type Intent struct {
	ID       string `json:"id"`
	Case     string `json:"case"` // as first opened
	Response string `json:"response"`
	Step     string `json:"step"`
	// Action is the instance's address, "action.mail".
	Action string `json:"action"`
	Verb   string `json:"verb"`
	Target Target `json:"target"`
	// Parameters is a JSON object by the verb's schema.
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Round      int             `json:"round"`
	// DryRun: asked with dry_run, nothing leaves.
	DryRun bool `json:"dry_run,omitempty"`
	// Hold is the HoldID of what it does, where that can be undone: done, it is held.
	Hold string `json:"hold,omitempty"`
	// UndoAfter is how long its case wants the hold; 0: until a person lets it go.
	UndoAfter time.Duration `json:"undo_after,omitempty"`
	// HeldBy is the intent whose effect was held already when this one was planned:
	// nothing was called, and this one owns the hold as well.
	HeldBy string `json:"held_by,omitempty"`
	// Undoes is the intent that this one undoes, by its UndoToken; empty: it does the
	// verb itself.
	Undoes string `json:"undoes,omitempty"`
	// Question is what it tells people of, so that they can answer; empty: nothing.
	Question string `json:"question,omitempty"`
	// Preview: it is a dry run for who has to approve, and no doing of the step.
	Preview bool `json:"preview,omitempty"`
	// Gathered is the intent that tells this together with others: nothing is called for
	// this one, which takes the outcome of that one.
	Gathered string `json:"gathered,omitempty"`
	// Gather says what it waits for before it is told, by its route; nil: nothing.
	Gather *Gather `json:"gather,omitempty"`
	// Gathers is how many others take this one's outcome, since it tells theirs as well.
	Gathers int `json:"gathers,omitempty"`
	// Of are the cases of these others, as first opened, each once.
	Of []string `json:"of,omitempty"`
	// ChosenBy is the person who chose or approved it, by Question.
	ChosenBy string `json:"chosen_by,omitempty"`
	// Because says why it was planned, for people.
	Because   string    `json:"because"`
	PlannedAt time.Time `json:"planned_at"`
	// Score is its case's, as long as it is pending: what waits goes by it, then by
	// Deadline, by which it should have taken effect (zero: none), then by age.
	Score    Hundredths `json:"score,omitempty"`
	Deadline time.Time  `json:"deadline,omitzero"`

	State     IntentState `json:"state"`
	Attempts  int         `json:"attempts"`
	Reference string      `json:"reference,omitempty"`
	UndoToken []byte      `json:"undo_token,omitempty"`
	Message   string      `json:"message,omitempty"`
	// Repeat: a notify that was sent again since the answer to the first was lost.
	Repeat     bool      `json:"repeat,omitempty"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// By is the person who resolved an unknown one.
	By string `json:"by,omitempty"`
}

// Target of an intent. Kind is an observable's or "address".
type Target struct {
	Kind  string          `json:"kind"`
	Value string          `json:"value"`
	Known json.RawMessage `json:"known,omitempty"`
}

// IntentID names an intent for ever. Case is its id as first opened.
func IntentID(caseID, response, step, verb string, t Target, round int) string {
	return ID("i", caseID, response, step, verb, t.Kind, t.Value, strconv.Itoa(round))
}

// Outcome is what respond reports of an intent.
type Outcome struct {
	Intent    string      `json:"intent"`
	State     IntentState `json:"state"`
	Attempts  int         `json:"attempts"`
	Reference string      `json:"reference,omitempty"`
	UndoToken []byte      `json:"undo_token,omitempty"`
	Message   string      `json:"message,omitempty"`
	Repeat    bool        `json:"repeat,omitempty"`
}

// Gather says how long what tells somebody of a case waits for others, to be told with
// them in one message. Of what holds the longest counts.
type Gather struct {
	// For is how long after the first.
	For time.Duration `json:"for,omitempty"`
	// Every: while the case's score is below Below, it waits so long.
	Every time.Duration `json:"every,omitempty"`
	Below Hundredths    `json:"below,omitempty"`
	// Until: while the score is below QuietBelow, it waits until these quiet hours are over.
	Until      time.Time  `json:"until,omitzero"`
	QuietBelow Hundredths `json:"quiet_below,omitempty"`
}
