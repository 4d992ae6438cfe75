package api

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Status is how a Kelpie is doing: one screen.
type Status struct {
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	// Running is false if what is shown was read from the data folder.
	Running bool      `json:"running"`
	Since   time.Time `json:"since,omitzero"`
	Config  string    `json:"config,omitempty"` // hash
	Actions string    `json:"actions,omitempty"`
	// Troubles are what is broken, since when, what waits, and what to do.
	Troubles    []Trouble            `json:"troubles"`
	Paused      *decide.Flags        `json:"paused,omitempty"`
	Detectors   []detect.Report      `json:"detectors"`
	Enrichments []enrich.Stat        `json:"enrichments"`
	Plugins     []host.Status        `json:"plugins"`
	Sources     []decide.SourceState `json:"sources"`
	Counts      store.Counts         `json:"counts"`
	Log         LogState             `json:"log"`
}

// Trouble is something that a person should know.
type Trouble struct {
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
	Waits string    `json:"waits,omitempty"`
	Do    string    `json:"do,omitempty"`
}

// LogState is how much the log holds and how far it is worked off.
type LogState struct {
	EventsBytes   uint64 `json:"events_bytes"`
	InputsBytes   uint64 `json:"inputs_bytes"`
	RejectedBytes uint64 `json:"rejected_bytes"`
	// Unmatched EVENTS messages and undecided INPUTS messages.
	Unmatched uint64 `json:"unmatched"`
	Undecided uint64 `json:"undecided"`
}
