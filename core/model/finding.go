package model

import "time"

// FindingKind is what a case turned out to be.
type FindingKind string

// The kinds of findings. In what people write and read a finding is the outcome of a
// case.
const (
	TruePositive  FindingKind = "true_positive"  // it was what the rule is for, and unwanted
	Benign        FindingKind = "benign"         // it was what the rule is for, and wanted
	FalsePositive FindingKind = "false_positive" // it was not what the rule is for
)

// Finding is the outcome of a case, as a person found it. Outcome is of an intent.
type Finding struct {
	Kind FindingKind `json:"kind"`
	By   string      `json:"by"`
	// Notes for the review.
	Notes string    `json:"notes,omitempty"`
	At    time.Time `json:"at"`
	// Question that led to it, such as by the option "ignore"; empty: a person's order.
	Question string `json:"question,omitempty"`
	// Minutes of people's time that it took, as they say; 0: not said.
	Minutes int `json:"minutes,omitempty"`
	// Loss in dollars, of what happened after all; 0: none, or not known.
	Loss int `json:"loss,omitempty"`
}
