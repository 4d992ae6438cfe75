package model

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Signal is what a rule, or a pipeline with alerts = true, reports.
type Signal struct {
	// ID is SignalID of the rule and its event; of a rule over several it is SeveralID.
	ID string `json:"id"`
	// Rule is the address of what reported it: "pipeline.edge_ids", "rule.beacon".
	Rule string `json:"rule"`
	// Source is the detector's address. What a rule over several reports is of the one that
	// it reads, or else of the rule itself; it has no EventID, and Members are behind it.
	Source string `json:"source"`
	// Experimental: its rule was when it matched. It joins no case, nothing is asked about
	// it and it reaches nobody.
	Experimental bool   `json:"experimental,omitempty"`
	EventID      string `json:"event_id"`
	Revision     string `json:"revision"`
	// Position is the event's place in EVENTS. Of two revisions of a signal the one
	// with the higher position is the later.
	Position Position `json:"position"`

	Time time.Time `json:"time"`
	// Receipt is true if Time is only when Kelpie received it.
	Receipt  bool   `json:"receipt,omitempty"`
	Title    string `json:"title"`
	Severity int    `json:"severity"` // 0 to 100
	// Observables are canonical, sorted by role, kind and value, each once.
	Observables []sdk.Observable `json:"observables,omitempty"`
	Techniques  []string         `json:"techniques,omitempty"`
	Stopped     *bool            `json:"stopped,omitempty"`
	Link        string           `json:"link,omitempty"`
	// Notes say what of the event could not be read: an observable that is none.
	Notes []string `json:"notes,omitempty"`
	// Raw is the event's payload, untouched.
	Raw []byte `json:"raw,omitempty"`
	// Members are the facts and signals behind a signal of a rule over several, the
	// earliest first: as many as are kept of Size. Last is the time of the latest.
	Members []Member  `json:"members,omitempty"`
	Size    int       `json:"size,omitempty"`
	Last    time.Time `json:"last,omitzero"`
}

// Several tells whether a rule over several, or over signals, reported it.
func (s *Signal) Several() bool { return s.Size > 0 }

// Position of an event in EVENTS.
type Position struct {
	Seq   uint64 `json:"seq"`
	Index int    `json:"index"`
}

// After tells whether p is later than q.
func (p Position) After(q Position) bool {
	return p.Seq > q.Seq || p.Seq == q.Seq && p.Index > q.Index
}

// SignalID names the signal of a rule about an event of a source. It is the same for every
// revision of the event. How a connector makes its events' ids is its own: maker names it,
// so that another one at the same address counts as another source. Empty: it is not known.
func SignalID(rule, source, maker, eventID string) string {
	if maker == "" {
		return ID("s", rule, source, eventID)
	}
	return ID("s", rule, source, maker, eventID)
}

// SeveralID names what a rule over several reports of a group in the period that begins
// at a time.
func SeveralID(rule, key string, period time.Time) string {
	return ID("s", rule, key, period.UTC().Format(time.RFC3339Nano))
}

// ID makes a deterministic id of its parts: a prefix, "-" and 20 hexadecimal
// digits (80 bits) of the SHA-256 of the parts, each preceded by its length.
func ID(prefix string, parts ...string) string {
	var room [512]byte
	b := room[:0]
	for _, p := range parts {
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(append(b, ':'), p...)
	}
	sum := sha256.Sum256(b)
	var id [64]byte
	return string(hex.AppendEncode(append(append(id[:0], prefix...), '-'), sum[:10]))
}
