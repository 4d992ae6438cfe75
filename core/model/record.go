package model

import "time"

// RecordKind says what a Record is about.
type RecordKind string

// The kinds of records.
const (
	// RecordBegan: the audit begins here; Intents are those that there were before.
	RecordBegan   RecordKind = "began"
	RecordIntent  RecordKind = "intent"  // a step was planned
	RecordOutcome RecordKind = "outcome" // it is known what became of it
	RecordResolve RecordKind = "resolve" // a person said what became of it
	RecordHold    RecordKind = "hold"    // a containment is in force, or has another owner
	RecordRelease RecordKind = "release" // an owner let go, or it is in force no more
	RecordPause   RecordKind = "pause"
	RecordResume  RecordKind = "resume"
	RecordConfig  RecordKind = "config" // a configuration took effect
	// A person decided which signals are one case, or took that back: Subject is the
	// decision, To what it was, Case the case, Target the value, Message the signals.
	RecordDecision RecordKind = "decision"
	RecordUndo     RecordKind = "undo"
	// A question was opened or closed, somebody was asked it, somebody chose: Subject is
	// the question, To its state or the option, Target the address, Road the way.
	RecordQuestion RecordKind = "question"
	RecordAsked    RecordKind = "asked"
	RecordChoice   RecordKind = "choice"
	// A case was ended or opened again: Subject is the case, To the finding.
	RecordFinding RecordKind = "finding"
	// A proposal was made, accepted or refused: Subject is the proposal, To its state.
	RecordProposal RecordKind = "proposal"
	// A hold was made to last longer: Subject is the hold, Until its end.
	RecordExtend RecordKind = "extend"
)

// Record is one thing that was decided, done or changed, for the audit: who, what, to
// what, and why. It holds no payloads and no parameters of calls. What a field means
// depends on Kind; empty ones are left out.
type Record struct {
	At   time.Time  `json:"at"` // decide's time
	Kind RecordKind `json:"kind"`
	// By is the person who ordered it; empty: Kelpie itself, by its configuration.
	By      string `json:"by,omitempty"`
	Because string `json:"because,omitempty"`

	// Subject is the id of an intent or hold, the hash of a configuration.
	Subject  string `json:"subject,omitempty"`
	Case     string `json:"case,omitempty"` // as first opened
	Response string `json:"response,omitempty"`
	Step     string `json:"step,omitempty"`
	Action   string `json:"action,omitempty"`
	Verb     string `json:"verb,omitempty"`
	// Target is "kind:value".
	Target string `json:"target,omitempty"`
	Round  int    `json:"round,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	// Parameters is the hexadecimal SHA-256 of what the call was given.
	Parameters string `json:"parameters,omitempty"`

	// From and To are states before and after: an intent's, or a hold's.
	From      string    `json:"from,omitempty"`
	To        string    `json:"to,omitempty"`
	Attempts  int       `json:"attempts,omitempty"`
	Reference string    `json:"reference,omitempty"`
	Message   string    `json:"message,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Road      Road      `json:"road,omitempty"`
	// Intents by state, of RecordBegan.
	Intents map[string]int `json:"intents,omitempty"`
}
