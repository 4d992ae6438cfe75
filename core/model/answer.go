package model

import (
	"encoding/json"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// AnswerState is what is known of an observable from one enrichment: five
// different things, never merged.
type AnswerState string

// The states of a lookup.
const (
	// Known: the source knows it, and said something.
	Known AnswerState = "known"
	// Clean: the source knows it, and every verdict it gave is benign.
	Clean AnswerState = "clean"
	// Unknown: the source was asked and has nothing.
	Unknown AnswerState = "unknown"
	// Failed: no answer, or none in time.
	Failed AnswerState = "failed"
	// Pending: asked, not answered yet.
	Pending AnswerState = "pending"
)

// Ask is a question that decide wants answered.
type Ask struct {
	// ID is ID("a", enrichment, observable key, signal that first wanted it) and, where
	// it was asked before, the ask before it.
	ID string `json:"id"`
	// Enrichment is the instance's address, "enrichment.assets".
	Enrichment string         `json:"enrichment"`
	Observable sdk.Observable `json:"observable"` // canonical; the role is dropped
	At         time.Time      `json:"at"`         // the time asked about
	AskedAt    time.Time      `json:"asked_at"`
	// Severity of the case that asked, 0 to 100, when it did: what waits goes by it.
	Severity int `json:"severity,omitempty"`
	// Signal is the one whose case it was asked for. Depth is 0 if it has the value
	// itself, else how many answers led to it.
	Signal string `json:"signal,omitempty"`
	Depth  uint8  `json:"depth,omitempty"`
}

// Reply is what became of an Ask. A late one may follow a Failed one.
type Reply struct {
	Ask     string           `json:"ask"`
	State   AnswerState      `json:"state"`
	Answers []Answer         `json:"answers,omitempty"`
	Found   []Found          `json:"found,omitempty"`
	Aliases []sdk.Observable `json:"aliases,omitempty"`
	// Reason, for people, of Failed.
	Reason string `json:"reason,omitempty"`
	// AnsweredAt is when the source said it: earlier than now if it came from the
	// cache. Expires is when it has to be asked again.
	AnsweredAt time.Time `json:"answered_at"`
	Expires    time.Time `json:"expires"`
	// Before is who the same source said it was before, and when: decide keeps it, so
	// that what was true then stays known when it is true no more.
	Before []Naming `json:"before,omitempty"`
}

// Naming is other names of one host or user, from when to when they were seen to be so.
type Naming struct {
	Names []string  `json:"names"` // "kind:value", canonical, sorted
	From  time.Time `json:"from,omitzero"`
	To    time.Time `json:"to,omitzero"`
}

// Found is another value and when it was true.
type Found struct {
	Observable sdk.Observable `json:"observable"`
	At         time.Time      `json:"at"`
}

// Answer holds exactly one of Verdict, Asset, Identity, Network.
type Answer struct {
	Verdict  *Verdict        `json:"verdict,omitempty"`
	Asset    *Asset          `json:"asset,omitempty"`
	Identity *Identity       `json:"identity,omitempty"`
	Network  *Network        `json:"network,omitempty"`
	Details  json.RawMessage `json:"details,omitempty"`
	At       time.Time       `json:"at,omitzero"`
}

// Verdict is an opinion about an observable.
type Verdict struct {
	Disposition sdk.Disposition `json:"disposition"`
	Score       int             `json:"score"`      // 0 to 100
	Confidence  int             `json:"confidence"` // 0 to 100
	Labels      []string        `json:"labels,omitempty"`
	Link        string          `json:"link,omitempty"`
}

// Asset is a thing that somebody owns.
type Asset struct {
	Name        string         `json:"name,omitempty"`
	FQDN        string         `json:"fqdn,omitempty"`
	IPs         []string       `json:"ips,omitempty"`
	MACs        []string       `json:"macs,omitempty"`
	OS          string         `json:"os,omitempty"`
	OSVersion   string         `json:"os_version,omitempty"`
	Roles       []string       `json:"roles,omitempty"`
	Owner       string         `json:"owner,omitempty"`
	Team        string         `json:"team,omitempty"`
	Criticality *int           `json:"criticality,omitempty"` // 0 to 100
	Tags        []string       `json:"tags,omitempty"`
	Patches     map[string]int `json:"patches,omitempty"`
	Protection  *Protection    `json:"protection,omitempty"`
	Managed     *bool          `json:"managed,omitempty"`
	SeenAt      time.Time      `json:"seen_at,omitzero"`
}

// Protection is the state of an asset's own protection; nil: not known.
type Protection struct {
	Installed *bool `json:"installed,omitempty"`
	Running   *bool `json:"running,omitempty"`
	Current   *bool `json:"current,omitempty"`
}

// Identity is a person or an account.
type Identity struct {
	Name        string    `json:"name,omitempty"`
	UPN         string    `json:"upn,omitempty"`
	Mail        string    `json:"mail,omitempty"`
	SID         string    `json:"sid,omitempty"`
	Title       string    `json:"title,omitempty"`
	Department  string    `json:"department,omitempty"`
	Manager     string    `json:"manager,omitempty"`
	Groups      []string  `json:"groups,omitempty"`
	Privileged  *bool     `json:"privileged,omitempty"`
	State       string    `json:"state,omitempty"`
	LastLogon   time.Time `json:"last_logon,omitzero"`
	PasswordSet time.Time `json:"password_set,omitzero"`
}

// Network is where an address belongs.
type Network struct {
	Country      string `json:"country,omitempty"`
	City         string `json:"city,omitempty"`
	ASN          int64  `json:"asn,omitempty"`
	Organisation string `json:"organisation,omitempty"`
	Kind         string `json:"kind,omitempty"`
}
