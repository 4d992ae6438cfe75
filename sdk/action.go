package sdk

import (
	"context"
	"time"
)

// Actor does things. Calls come concurrently.
type Actor interface {
	// Execute does one thing to one target. The same key again must not take effect
	// twice where the verb says Idempotent. Nothing may take effect after NotAfter,
	// which is the context's deadline too; a call that comes later never gets here.
	// After an error the outcome is unknown, unless it is an Error with Denied or
	// Invalid: return OutcomeFailed or OutcomeRefused where it is known that nothing
	// happened.
	Execute(ctx context.Context, call Call) (Result, error)
}

// Undoer is an Actor that can restore what Execute changed. An undo has a key of its
// own, and the rules of Execute hold for it: the same key again must not take effect
// twice where the verb says Idempotent, and nothing may take effect after NotAfter.
type Undoer interface {
	Undo(ctx context.Context, call UndoCall) (Result, error)
}

// Checker is an Actor that can say what became of a call, or of an undo, whose answer
// was lost. OutcomeFailed is believed only when the call's NotAfter and the verb's Settle
// have passed.
type Checker interface {
	Check(ctx context.Context, call CheckCall) (Result, error)
}

// Answerer is an Actor by which people answer.
type Answerer interface {
	// Answers sends what people chose, from cursor on, until ctx ends.
	Answers(ctx context.Context, cursor []byte, send func(PersonAnswer) error) error
}

// Verbs lists the contract's verbs. A plugin adds its own with its name and a dot
// before them, as "acme.reboot".
func Verbs() []string {
	return []string{
		"notify", "ticket", "resolve",
		"isolate_host", "release_host",
		"disable_account", "enable_account", "reset_password", "unlock_account", "end_session",
		"close_port", "open_port",
		"block_indicator", "unblock_indicator",
		"kill_process", "quarantine_file", "restore_file",
		"scan_host", "collect", "run",
	}
}

// Call is one attempt at an intent.
type Call struct {
	Verb   string
	Target Target
	// Parameters is the struct that Verb.Parameters returned, filled.
	Parameters any
	// Key is the same for every attempt of an intent: at most 64 of [0-9a-z-].
	Key      string
	NotAfter time.Time
	DryRun   bool
	// Attempt counts from 1. A notify with a higher one is a possible repeat and
	// says so to its reader.
	Attempt int
}

// Target of a call. Known is a JSON object with what is known of it.
type Target struct {
	Kind  string
	Value string
	Known []byte
}

// UndoCall undoes an Execute.
type UndoCall struct {
	Verb     string
	Target   Target
	Token    []byte
	Key      string
	NotAfter time.Time
}

// CheckCall asks for the outcome of an Execute or, if Undo is true, of an Undo, which had
// Token.
type CheckCall struct {
	Verb   string
	Target Target
	Key    string
	Undo   bool
	Token  []byte
}

// Outcome of a call.
type Outcome string

// The outcomes.
const (
	OutcomeDone    Outcome = "done"
	OutcomeAlready Outcome = "already" // it was so before
	OutcomeRefused Outcome = "refused" // repeating is no use
	OutcomeFailed  Outcome = "failed"  // did not take effect; may be tried again
	OutcomeUnknown Outcome = "unknown"
)

// Result of a call.
type Result struct {
	Outcome   Outcome
	Reference string
	UndoToken []byte
	// SameKey: it is already so because of an earlier call with this very key. Kelpie
	// takes it as its own doing, which it will undo; what was so before it never undoes.
	SameKey bool
	// Message for people: what was done or, with DryRun, would be; or why not.
	Message string
}

// PersonAnswer is what a person chose.
type PersonAnswer struct {
	Key    string
	Option string
	Reason string
	User   string
	At     time.Time
	Cursor []byte
}
