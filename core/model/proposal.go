package model

import "time"

// ProposalKind says what a proposal would change.
type ProposalKind string

// The kinds of proposals.
const (
	ProposeIgnore ProposalKind = "ignore" // an ignore block in ignores.hcl
	ProposeRoute  ProposalKind = "route"  // a row of a table that a route reads
)

// ProposalState is where a proposal is.
type ProposalState string

// The states of a proposal. All but open are final.
const (
	ProposalOpen     ProposalState = "open"
	ProposalAccepted ProposalState = "accepted"
	ProposalRefused  ProposalState = "refused"
)

// Proposal is a change of the configuration that follows from what a person chose, and
// waits for an engineer. What it would write is worked out when it is looked at, from
// the events of its case.
type Proposal struct {
	ID       string        `json:"id"`
	Kind     ProposalKind  `json:"kind"`
	State    ProposalState `json:"state"`
	Case     string        `json:"case"` // as first opened
	Question string        `json:"question"`
	// Rules are the addresses of the pipelines and rules whose signals it is about.
	Rules []string `json:"rules,omitempty"`
	// Route and Address are of ProposeRoute: who said that it is not theirs.
	Route   string `json:"route,omitempty"`
	Address string `json:"address,omitempty"`
	// By proposed it, with Reason.
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	// EndedBy accepted or refused it, with Because; Text is what was written.
	EndedBy string    `json:"ended_by,omitempty"`
	Because string    `json:"because,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	Text    string    `json:"text,omitempty"`
}

// MostProposals bounds how many wait; MostProposalText what one may write, in bytes.
const (
	MostProposals    = 10_000
	MostProposalText = 32 << 10
)

// ProposalID names what a question led to, for ever.
func ProposalID(kind ProposalKind, question string) string { return ID("p", string(kind), question) }
