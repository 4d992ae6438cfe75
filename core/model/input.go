package model

import (
	"encoding/json"
	"fmt"
	"time"
)

// Input is one part of an INPUTS message: something that decide has to know.
// Exactly one of the pointers is set.
type Input struct {
	// At is stamped by who publishes it. Decide takes the later of this and the
	// last input's, so that its time never goes back.
	At      time.Time    `json:"at"`
	Match   *MatchResult `json:"match,omitempty"`
	Reply   *Reply       `json:"reply,omitempty"`
	Outcome *Outcome     `json:"outcome,omitempty"`
	Command *Command     `json:"command,omitempty"`
	Config  *Config      `json:"config,omitempty"`
	// Ended: under --once, every source has ended and all of EVENTS is matched.
	Ended *Ended `json:"ended,omitempty"`
	Tick  *Tick  `json:"tick,omitempty"`
	// Schedule is who is on call, read anew.
	Schedule *Schedule `json:"schedule,omitempty"`
}

// MatchResult is what match made of one EVENTS message. Decide takes the first for
// each Seq.
type MatchResult struct {
	Seq    uint64 `json:"seq"`
	Source string `json:"source"`
	// Total is the source's running total after this message, and Count how many
	// events it holds, both by its header.
	Total uint64 `json:"total"`
	Count int    `json:"count,omitempty"`
	// Damaged: the header can't be read, so that Total and Count are not known.
	Damaged bool `json:"damaged,omitempty"`
	// Config is the hash of the configuration that it was matched under.
	Config string `json:"config"`
	Counts Counts `json:"counts"`
	// Signals in the order of their events; those of one event stand together.
	Signals []Signal `json:"signals,omitempty"`
	// Facts in the order of their events.
	Facts []Fact `json:"facts,omitempty"`
}

// EncodeInput is the form in which a part of INPUTS travels: a match result, of which
// there are many, in a form of its own, in which signals of one event share its
// payload; all else as JSON. in is not changed.
func EncodeInput(in Input) ([]byte, error) {
	if in.Match != nil {
		return appendMatch(make([]byte, 0, matchSize(in.Match)), in.At, in.Match), nil
	}
	return json.Marshal(in)
}

// matchSize is about how many bytes a match result takes.
func matchSize(m *MatchResult) int {
	size := 256
	for i := range m.Signals {
		size += 320 + len(m.Signals[i].Raw)
	}
	return size + 160*len(m.Facts)
}

// DecodeInput reads what EncodeInput wrote. Payloads may be parts of data, which must
// not be changed afterwards.
func DecodeInput(data []byte) (Input, error) {
	if len(data) > 0 && data[0] != '{' {
		at, m, err := decodeMatch(data)
		if err != nil {
			return Input{}, fmt.Errorf("input: %w", err)
		}
		return Input{At: at, Match: m}, nil
	}
	var in Input
	if err := json.Unmarshal(data, &in); err != nil {
		return Input{}, fmt.Errorf("input: %w", err)
	}
	return in, nil
}

// Counts of one EVENTS message: each event is in exactly one, the highest of
// matched, fact, ignored, passed over all its pipelines, or rejected, or of a shadow.
type Counts struct {
	Matched  int            `json:"matched,omitempty"`
	Fact     int            `json:"fact,omitempty"`
	Passed   int            `json:"passed,omitempty"`
	Ignored  map[string]int `json:"ignored,omitempty"`  // by ignore
	Rejected map[string]int `json:"rejected,omitempty"` // by reason
	Shadow   map[string]int `json:"shadow,omitempty"`   // by what it is the shadow of
}

// Config is a version of the configuration that took effect.
type Config struct {
	// Hash of Text, hexadecimal SHA-256.
	Hash string `json:"hash"`
	// Text is all that decide needs to make the same decisions again. Absent where
	// the log already holds it under the same hash after the trimmer's mark.
	Text json.RawMessage `json:"text,omitempty"`
	// Tables by address, the hash of each.
	Tables map[string]string `json:"tables,omitempty"`
	// Once: responses are planned after Ended.
	Once bool `json:"once,omitempty"`
	// By is the person who put it in force, if one did.
	By string `json:"by,omitempty"`
}

// Ended marks the end of a --once run's input.
type Ended struct{}

// Tick passes time.
type Tick struct {
	// Boot names the life of the machine in which Uptime was read, and Uptime is how
	// long that life has lasted, sleep included. Boot is empty if nobody knows.
	Boot   string        `json:"boot,omitempty"`
	Uptime time.Duration `json:"uptime,omitempty"`
	// Wall is the machine's clock as it stands, which may have been set either way.
	Wall time.Time `json:"wall,omitzero"`
}

// CommandKind says what a person wants.
type CommandKind string

// The commands.
const (
	PauseActions  CommandKind = "pause_actions"
	ResumeActions CommandKind = "resume_actions"
	ResolveIntent CommandKind = "resolve_intent"
	// ReleaseHold lets go of a hold: every owner, or those of Case. Where nobody wants
	// it any more and its undo failed or is unknown, it is undone once more.
	ReleaseHold CommandKind = "release_hold"
	// MergeCases makes one case of those that Signals are in, SplitCase a case of their
	// own of Signals. NeverJoin has Value join no signals. Each is a Decision, which
	// UndoDecision ends.
	MergeCases   CommandKind = "merge_cases"
	SplitCase    CommandKind = "split_case"
	NeverJoin    CommandKind = "never_join"
	UndoDecision CommandKind = "undo_decision"
	// Choose answers a question, or says one of several that an approval needs.
	Choose CommandKind = "choose"
	// PauseOf and ResumeOf are of one rule, pipeline or response, by its address.
	PauseOf  CommandKind = "pause_of"
	ResumeOf CommandKind = "resume_of"
	// ExtendHold makes owners want a hold for longer; ReleaseAll lets go of all holds.
	ExtendHold CommandKind = "extend_hold"
	ReleaseAll CommandKind = "release_all"
	// EndCase says what a case turned out to be; ReopenCase takes that back.
	EndCase    CommandKind = "end_case"
	ReopenCase CommandKind = "reopen_case"
	// AcceptProposal and RefuseProposal end a proposal. What it says is written already.
	AcceptProposal CommandKind = "accept_proposal"
	RefuseProposal CommandKind = "refuse_proposal"
)

// Command is what a person ordered.
type Command struct {
	ID   string      `json:"id"`
	Kind CommandKind `json:"kind"`
	By   string      `json:"by"`
	// Because, for people.
	Because string `json:"because,omitempty"`
	// Intent and State are of ResolveIntent: what a person found out.
	Intent string      `json:"intent,omitempty"`
	State  IntentState `json:"state,omitempty"`
	// Hold is of ReleaseHold; Case is the first id of the case that lets go, empty: all.
	Hold string `json:"hold,omitempty"`
	Case string `json:"case,omitempty"`
	// Signals are of MergeCases, one of each case, and of SplitCase; Value ("kind:value")
	// is of NeverJoin, Decision of UndoDecision.
	Signals  []string `json:"signals,omitempty"`
	Value    string   `json:"value,omitempty"`
	Decision string   `json:"decision,omitempty"`

	// Of Choose: By is the name of a user or, of who is none, the address; Because is the
	// reason. Address is where the question was read, if that is known.
	Question string `json:"question,omitempty"`
	Option   string `json:"option,omitempty"`
	Address  string `json:"address,omitempty"`
	Road     Road   `json:"road,omitempty"`
	// Feed and Cursor are of a choice that came by an action's stream of answers: the
	// instance, and from where on the rest is wanted. A command with no Question moves
	// the cursor alone.
	Feed   string `json:"feed,omitempty"`
	Cursor []byte `json:"cursor,omitempty"`
	// Of is the address that PauseOf and ResumeOf are about. For is how long a pause
	// lasts, 0: until it is ended, and by how much ExtendHold makes a hold longer, 0: for
	// ever.
	Of  string        `json:"of,omitempty"`
	For time.Duration `json:"for,omitempty"`
	// Finding is of EndCase, whose case is Case; Proposal and Text are of the proposals.
	Finding  *Finding `json:"finding,omitempty"`
	Proposal string   `json:"proposal,omitempty"`
	Text     string   `json:"text,omitempty"`
}
