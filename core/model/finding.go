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

// FindingKinds are all of them, the worst first.
func FindingKinds() []FindingKind { return []FindingKind{TruePositive, Benign, FalsePositive} }

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

// Bounds of what a person says of a case that has ended.
const (
	MostFindingNotes = 4096 // bytes
	MostMinutes      = 60 * 24 * 366
	MostLoss         = 1_000_000_000_000
)

// Worked is what was done about a case by when it had ended.
type Worked struct {
	// Steps took effect and no person had chosen or approved them; Told is how many
	// messages to people went out, and Asked how many questions.
	Steps int `json:"steps,omitempty"`
	Told  int `json:"told,omitempty"`
	Asked int `json:"asked,omitempty"`
	// Chosen is how long it took from asking until somebody chose, of the question that
	// was answered first; 0: none was.
	Chosen time.Duration `json:"chosen,omitempty"`
}

// Reopening says that a case was ended, and is open again.
type Reopening struct {
	// Was is what it was found to be before; it holds no more.
	Was Finding   `json:"was"`
	At  time.Time `json:"at"`
	// By is the person who opened it; empty: Kelpie itself, for what Because says.
	By      string `json:"by,omitempty"`
	Because string `json:"because"`
}

// And is what was done about two cases that are one now.
func (w *Worked) And(o *Worked) *Worked {
	switch {
	case w == nil:
		return o
	case o == nil:
		return w
	}
	both := Worked{Steps: w.Steps + o.Steps, Told: w.Told + o.Told, Asked: w.Asked + o.Asked, Chosen: w.Chosen}
	if o.Chosen > 0 && (both.Chosen == 0 || o.Chosen < both.Chosen) {
		both.Chosen = o.Chosen
	}
	return &both
}
