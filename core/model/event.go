// Package model holds the values that pass between Kelpie's stages: events,
// signals, answers, cases, intents. They are plain: no I/O, no behaviour beyond
// what follows from their own fields. Times are UTC.
package model

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of a batch, from the plugin to the log and out of it.
const (
	MaxBatchEvents = 512
	MaxBatchBytes  = 1 << 20
)

// Event is what a detector reported, as the log holds it.
type Event struct {
	// ID is the source's own id. With Batch.Source it names the event for ever.
	ID string
	// Revision is the source's version; empty: RevisionOf(Raw) stands for it.
	Revision string
	// Raw is the vendor's own JSON, untouched; with Problem, whatever came.
	Raw         []byte
	Time        time.Time // zero: the connector could not tell
	Title       string
	Severity    *int // 0 to 100
	Observables []sdk.Observable
	Techniques  []string
	Stopped     *bool
	Link        string
	// Problem is not empty if the bytes are no event, and says why.
	Problem  string
	Oversize *sdk.Oversize
}

// Batch is one message of EVENTS: what one detector reported at once.
type Batch struct {
	// Source is the detector's address, "detector.eve".
	Source string
	// Maker is the label of the connector that reported it, where that is known; it is not
	// part of the encoding.
	Maker    string
	Events   []Event
	Received time.Time
}

// Rejected is an event that was set aside, whole.
type Rejected struct {
	Source   string    `json:"source"`
	Seq      uint64    `json:"seq"`   // in EVENTS
	Index    int       `json:"index"` // in its batch
	ID       string    `json:"id"`
	Reason   string    `json:"reason"`
	Received time.Time `json:"received"`
	Raw      []byte    `json:"raw"`
	// Oversize is set where Raw is only the head of the event.
	Oversize *sdk.Oversize `json:"oversize,omitempty"`
}

// RevisionOf is the revision of an event whose source has none: the first 16
// hexadecimal digits of its payload's SHA-256.
func RevisionOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
