package model

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Decision is what a person has decided about which signals are one case, for as long
// as it stands. Which signals make a case is a function of the signals, of what
// internal enrichments say of their subjects, and of the decisions that stand.
type Decision struct {
	ID   string      `json:"id"`
	Kind CommandKind `json:"kind"` // MergeCases, SplitCase or NeverJoin
	By   string      `json:"by"`
	// Because, for people.
	Because string    `json:"because"`
	At      time.Time `json:"at"`
	// Cases are the ids, as they were then, of those that were merged or split.
	Cases []string `json:"cases,omitempty"`
	// Signals are the earliest of each case that was merged, or those that were split
	// off.
	Signals []string `json:"signals,omitempty"`
	// Value that joins no signals, of NeverJoin.
	Value sdk.Observable `json:"value,omitzero"`
}

// Bounds of decisions, so that what stands is small however many there were.
const (
	// MostDecisions may stand at once.
	MostDecisions = 1000
	// MostSplit is how many signals one split may take.
	MostSplit = 1000
)
