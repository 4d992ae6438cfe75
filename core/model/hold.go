package model

import (
	"strconv"
	"time"
)

// HoldState is where a hold is.
type HoldState string

// The states of a hold.
const (
	HoldInForce HoldState = "in_force"
	// HoldReleasing: nobody wants it any more, and its undo is planned.
	HoldReleasing HoldState = "releasing"
	HoldReleased  HoldState = "released"
	// HoldStuck: the undo failed for good, and the hold is still in force. It waits for
	// a person, or for somebody who wants it again.
	HoldStuck HoldState = "stuck"
	// HoldUnknown: whether the undo took effect is not known. It waits for a person.
	HoldUnknown HoldState = "unknown"
)

// Hold is a containment in force: what Kelpie did to a target, and will undo when the
// last of its owners has let go. What was so before Kelpie is no hold.
type Hold struct {
	ID string `json:"id"`
	// Action is the instance's address, "action.edr".
	Action string    `json:"action"`
	Verb   string    `json:"verb"`
	Target Target    `json:"target"`
	State  HoldState `json:"state"`
	// Since is when it came into force, ChangedAt when its state or an owner last changed.
	Since     time.Time `json:"since"`
	ChangedAt time.Time `json:"changed_at"`
	// Intent is the one whose effect is held, and whose token undoes it.
	Intent    string `json:"intent"`
	UndoToken []byte `json:"undo_token,omitempty"`
	// Owners are those who want it, in the order in which they came, and those who have
	// let go of it since it came into force.
	Owners []Owner `json:"owners"`
	// Undo is the intent that undoes it, the last of Tries; empty before the first.
	Undo  string `json:"undo,omitempty"`
	Tries int    `json:"tries,omitempty"`
	// By is the person who ordered Undo, empty if the last owner's time was over; Because
	// says why.
	By      string `json:"by,omitempty"`
	Because string `json:"because,omitempty"`
	// Message says why it is stuck or unknown; Told is how often people were told of that,
	// ToldAt when last.
	Message string    `json:"message,omitempty"`
	Told    int       `json:"told,omitempty"`
	ToldAt  time.Time `json:"told_at,omitzero"`
}

// Owner is an intent that wants a hold, for its case.
type Owner struct {
	Intent string    `json:"intent"`
	Case   string    `json:"case"` // as first opened
	Since  time.Time `json:"since"`
	// After is how long it wants it; 0: until a person lets it go.
	After time.Duration `json:"after,omitempty"`
	// Ends is that in the time that decide has seen pass; 0: not begun.
	Ends time.Duration `json:"ends,omitempty"`
	// Until is when that is by the clock as it goes now.
	Until time.Time `json:"until,omitzero"`
	// LetGoAt is when it let go of the hold; By is the person who ordered it, empty if
	// its time was over.
	LetGoAt time.Time `json:"let_go_at,omitzero"`
	By      string    `json:"by,omitempty"`
	Because string    `json:"because,omitempty"`
}

// Wants tells whether the owner has not let go.
func (o Owner) Wants() bool { return o.LetGoAt.IsZero() }

// HoldID names what one verb of one action does to one target, for ever.
func HoldID(action, verb string, t Target) string {
	return ID("h", action, verb, t.Kind, t.Value)
}

// UndoID names the n-th try, from 1, to undo what an intent did. It is the key of the
// undo.
func UndoID(intent string, n int) string { return ID("u", intent, strconv.Itoa(n)) }
