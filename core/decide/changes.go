package decide

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Position is a place in INPUTS: every part up to and including part Part (from 0)
// of message Seq. The zero Position is before the first message.
type Position struct {
	Seq  uint64 `json:"seq"`
	Part int    `json:"part"`
}

// After tells whether p is later than q.
func (p Position) After(q Position) bool {
	return p.Seq > q.Seq || p.Seq == q.Seq && p.Part > q.Part
}

// Changes are the rows that changed since the last Changes, for one transaction.
// Every row is an upsert by its key and holds the row's last state only: what the
// tables hold after a commit depends on the inputs up to Position, not on how they
// were grouped into transactions. Each list is sorted by its key, so that equal
// inputs give equal bytes.
type Changes struct {
	// Position is the last input that is in it. It advances even when nothing else
	// changed.
	Position Position `json:"position"`
	// At is decide's time: the latest of all inputs.
	At time.Time `json:"at"`

	// Signals by ID: new ones and later revisions, with Raw.
	Signals []model.Signal `json:"signals,omitempty"`
	// Experimental signals by ID, likewise. Only the newest of each rule are kept.
	Experimental []model.Signal `json:"experimental,omitempty"`
	// Cases by ID. Signals is nil here (see Members); Size counts them. A merged one
	// has nothing but its ids, state and times.
	Cases []model.Case `json:"cases,omitempty"`
	// Members by Signal. A signal is in exactly one case.
	Members []Member `json:"members,omitempty"`
	// Aliases by ID.
	Aliases []Alias `json:"aliases,omitempty"`
	// Asks by ID, all new: to be asked once they are committed. One without an
	// Answer is pending.
	Asks []model.Ask `json:"asks,omitempty"`
	// Answers by Ask.
	Answers []model.Reply `json:"answers,omitempty"`
	// Intents by ID: new ones and new states. Of one that was there before, Parameters
	// and Target.Known are missing: they stay as they are.
	Intents []model.Intent `json:"intents,omitempty"`
	// Holds by ID: new ones, new states, and owners that came or let go.
	Holds []model.Hold `json:"holds,omitempty"`
	// Questions and Proposals by ID: new ones and new states.
	Questions []model.Question `json:"questions,omitempty"`
	Proposals []model.Proposal `json:"proposals,omitempty"`
	// Cursors of the streams of answers, by the action's address.
	Cursors map[string][]byte `json:"cursors,omitempty"`
	// Schedules by Address, as they are known now.
	Schedules []model.Schedule `json:"schedules,omitempty"`
	// Due is how long after the last tick something has to be looked at that ends by
	// itself; nil: there is none. It is no row: it tells when the next tick is wanted.
	Due *time.Duration `json:"due,omitempty"`
	// Ledger by Source and Hour.
	Ledger []Ledger `json:"ledger,omitempty"`
	// Sources by Source.
	Sources []SourceState `json:"sources,omitempty"`
	// Sums is nil if none of them changed.
	Sums *Sums `json:"sums,omitempty"`
	// Configs by Hash.
	Configs []ConfigVersion `json:"configs,omitempty"`
	// Records are for the audit, in the order of what happened. They are no rows: each
	// is written once.
	Records []model.Record `json:"records,omitempty"`
	// Memory is how full the memory is. It is no row.
	Memory Memory `json:"-"`
	// Settled are cases that have left memory, and Recalled the numbers of those that
	// are back. Neither is part of what was decided: how much there is room for decides
	// it.
	Settled  []Settled `json:"-"`
	Recalled []int64   `json:"-"`
	// Horizon and Quiet: a settled case is over if its Last is before the one and its
	// Changed not after the other.
	Horizon int64 `json:"-"`
	Quiet   int64 `json:"-"`
	// Recalls are what was brought back, for the replay of the inputs that needed it.
	Recalls []Recall `json:"-"`
	// Away are hashes of signals and values that are in memory no more.
	Away []uint64 `json:"-"`
	// Flags is nil if none of them changed.
	Flags *Flags `json:"flags,omitempty"`

	planned []model.Intent
}

// Planned are the new ones of Intents, with all that they are carried out by.
func (c *Changes) Planned() []model.Intent { return c.planned }

// Member says which case a signal is in.
type Member struct {
	Signal string `json:"signal"`
	Case   string `json:"case"`
}

// Alias is an older id of a case. With Case "" it is none any more, because a case
// has this id again: the row is deleted.
type Alias struct {
	ID   string `json:"id"`
	Case string `json:"case"`
}

// ConfigVersion is a configuration that was in force from At on.
type ConfigVersion struct {
	model.Config
	At       time.Time `json:"at"`
	Position Position  `json:"position"` // that put it in force
}

// Flags are what holds for everything.
type Flags struct {
	// Paused: actions are planned and kept, and not sent.
	Paused       bool      `json:"paused,omitempty"`
	PausedBy     string    `json:"paused_by,omitempty"`
	PausedReason string    `json:"paused_reason,omitempty"`
	PausedAt     time.Time `json:"paused_at,omitzero"`
	// PausedUntil is when that ends by itself; zero: when a person ends it.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Pauses of rules, pipelines and responses, by address.
	Pauses []Pause `json:"pauses,omitempty"`
	// Decisions of people about cases that stand, in their order.
	Decisions []model.Decision `json:"decisions,omitempty"`
	// Ended: under --once, the sources have ended.
	Ended bool `json:"ended,omitempty"`
	// Config is the hash of the configuration in force.
	Config string `json:"config,omitempty"`
	// Events are the EVENTS messages that are decided, by sequence.
	Events Spans `json:"events"`
	// Passed are those of them whose messages were lost, so that nothing is known of
	// what they held.
	Passed Spans `json:"passed"`
}

// Pause holds back what a rule's or pipeline's signals ask for, or what a response does.
type Pause struct {
	Of      string    `json:"of"` // "rule.beacon", "pipeline.edr", "response.contain"
	By      string    `json:"by"`
	Because string    `json:"because,omitempty"`
	At      time.Time `json:"at"`
	// Until is when it ends by itself; zero: when a person ends it.
	Until time.Time `json:"until,omitzero"`
}
