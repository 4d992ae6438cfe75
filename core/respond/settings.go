// Package respond carries out intents: it claims each in the journal, calls the
// action, and reports the outcome. An intent may be tried more than once; it
// never takes effect twice by Respond's doing.
//
// What may separate a call from its outcome is a crash. The journal therefore
// holds an attempt before its call; an attempt without outcome is asked about
// (Check), sent again where the vendor takes one key once, sent again and marked
// where the verb is notify, and otherwise left to a person as unknown.
package respond

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Settings of responding.
type Settings struct {
	// Actions by address.
	Actions map[string]Action
	// Workers is how many intents are carried out at once; 0: DefaultWorkers.
	Workers int
	// MaxAttempts bounds the calls for one intent; 0: DefaultMaxAttempts.
	MaxAttempts int
}

// Action is one action instance.
type Action struct {
	// Timeout of one call; nothing takes effect after it.
	Timeout time.Duration
	Verbs   map[string]Verb
}

// Verb is what the connector said of it.
type Verb struct {
	Check      bool
	Idempotent bool
	Settle     time.Duration
}

// Defaults and bounds.
const (
	DefaultWorkers = 8
	DefaultTimeout = 30 * time.Second
	// DefaultMaxAttempts is about an hour of trying what fails and may pass.
	DefaultMaxAttempts = 64
	// MaxLost bounds the calls whose answers were lost: each may have taken effect,
	// or reached a reader, already.
	MaxLost = 3
	// firstRetry and lastRetry bound the wait between attempts, which doubles.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Notify is the verb that is sent again after a lost answer.
const Notify = "notify"

// Attempt is one try of an intent, in the journal before its call.
type Attempt struct {
	Intent   string    `json:"intent"`
	Number   int       `json:"number"` // from 1
	Epoch    int64     `json:"epoch"`
	Claimed  time.Time `json:"claimed"`
	NotAfter time.Time `json:"not_after"`
	// State is empty until the outcome is known; IntentUnknown: the answer was lost.
	State     model.IntentState `json:"state,omitempty"`
	Reference string            `json:"reference,omitempty"`
	UndoToken []byte            `json:"undo_token,omitempty"`
	Message   string            `json:"message,omitempty"`
	// Retry: the outcome was a failure that may pass.
	Retry bool `json:"retry,omitempty"`
}
