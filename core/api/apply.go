package api

import (
	"encoding/json"
	"net/http"
	"time"
)

// What came of an order to apply the configuration.
const (
	Applied   = "applied"
	Unchanged = "unchanged" // it is in force already
	Planned   = "planned"   // it would be applied
	Refused   = "refused"   // the one before it holds
)

// ApplyOrder is the body of an order to apply the configuration. Which one that is, the
// running Kelpie knows.
type ApplyOrder struct {
	// DryRun: everything is checked and started as it would be, and ended again.
	DryRun bool `json:"dry_run,omitempty"`
}

// Application is what came of an order to apply the configuration.
type Application struct {
	Outcome string `json:"outcome"`
	// Config and Before are the hashes of the configuration that was read, if it could
	// be, and of the one that was in force.
	Config string    `json:"config,omitempty"`
	Before string    `json:"before"`
	At     time.Time `json:"at"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Instances are all of both, by address.
	Instances []InstanceChange `json:"instances"`
	// Parts of the configuration that differ, by kind and address; those of instances
	// are among them.
	Parts []PartChange `json:"parts"`
	// Diagnostics as "kelpie validate --json" prints them.
	Diagnostics json.RawMessage `json:"diagnostics,omitempty"`
	// Error is why it was refused, in one line.
	Error string `json:"error,omitempty"`
}

// InstanceChange is what becomes of one connector.
type InstanceChange struct {
	Address string `json:"address"`
	Plugin  string `json:"plugin"`
	// What is "added", "changed", "replaced" (by a process of another executable or
	// environment), "moved" (it has another name, and is what it was), "removed" or "kept".
	What string `json:"what"`
	// From is the address that it had before, if it got another one.
	From string `json:"from,omitempty"`
	// Because, for people; empty where What says all.
	Because string `json:"because,omitempty"`
}

// PartChange is what becomes of one part of the configuration.
type PartChange struct {
	Kind    string `json:"kind"`
	Address string `json:"address"`
	What    string `json:"what"` // "added", "changed", "moved", "removed"
	From    string `json:"from,omitempty"`
}

// Generation is the configuration in force.
type Generation struct {
	Config string    `json:"config"` // hash
	Since  time.Time `json:"since"`
	// Number counts from 1, the one that Kelpie was started with.
	Number int `json:"number"`
	// RefusedAt is when another one was last refused, RefusedBecause why; both are gone
	// when one is applied.
	RefusedAt      time.Time `json:"refused_at,omitzero"`
	RefusedBecause string    `json:"refused_because,omitempty"`
	// Leaving are actions that are not in force any more, and stay until what they are
	// needed for is over.
	Leaving []LeavingAction `json:"leaving,omitempty"`
}

// LeavingAction is an action that was removed or changed.
type LeavingAction struct {
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	// Because, for people.
	Because string `json:"because"`
}

// patient lifts the deadline of a request whose answer takes as long as plugins do.
func patient(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// What has no deadline needs none lifted.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		next(w, r)
	}
}

func (s *Server) apply(r *http.Request) (any, error) {
	var o ApplyOrder
	if err := readBody(r, &o); err != nil {
		return nil, err
	}
	a, err := s.Engine.Apply(r.Context(), o.DryRun)
	if err != nil {
		return nil, err
	}
	return a, nil
}
