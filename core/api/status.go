package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
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
	// Generation is nil if Kelpie does not run.
	Generation *Generation `json:"generation,omitempty"`
	// Troubles are what is broken, since when, what waits, and what to do.
	Troubles []Trouble     `json:"troubles"`
	Paused   *decide.Flags `json:"paused,omitempty"`
	// Pauses of rules, pipelines and responses.
	Pauses    []decide.Pause  `json:"pauses,omitempty"`
	Detectors []detect.Report `json:"detectors"`
	// Feeds by detector: a quiet one is not a blind one.
	Feeds       map[string]Feed `json:"feeds"`
	Enrichments []enrich.Stat   `json:"enrichments"`
	Tables      []Table         `json:"tables,omitempty"`
	Plugins     []host.Status   `json:"plugins"`
	// Pending counts the questions and steps that wait, by enrichment and action.
	Pending map[string]int `json:"pending"`
	// Acting is how the actions that have had something to do are doing.
	Acting  []respond.Stat       `json:"acting"`
	Sources []decide.SourceState `json:"sources"`
	// SetAside is what no rule has seen, by source.
	SetAside []SetAside   `json:"set_aside"`
	Counts   store.Counts `json:"counts"`
	// Held counts what is contained, by state.
	Held map[model.HoldState]int `json:"held"`
	Log  LogState                `json:"log"`
	// Rules are the rules over several, as they were a minute ago at most.
	Rules []decide.RuleStat `json:"rules,omitempty"`
}

// Trouble is something that a person should know.
type Trouble struct {
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
	Waits string    `json:"waits,omitempty"`
	Do    string    `json:"do,omitempty"`
}

// Table is the version of a table that decisions are made by.
type Table struct {
	Table   string    `json:"table"`
	Rows    int       `json:"rows"`
	Version string    `json:"version"` // SHA-256 of its file
	Since   time.Time `json:"since"`
}

// SetAside counts the events of one source that could not be processed. Who can have
// an event set aside can hide it, so that this is shown whether or not it is many.
type SetAside struct {
	Source   string `json:"source"`
	Received uint64 `json:"received"` // all that came of the source
	Events   uint64 `json:"events"`   // set aside of them
	// Reasons, with how many events each has.
	Reasons map[string]int `json:"reasons"`
	// First and Last are when events were set aside.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Day and DayReceived are the same counts over the last 24 hours.
	Day         uint64 `json:"day"`
	DayReceived uint64 `json:"day_received"`
}

// tooMany tells that something must be wrong with the source, or with how it is read:
// of the last day's events more than one in ten was set aside.
func (a SetAside) tooMany() bool { return a.Day*10 > a.DayReceived }

// setAside are the sources that events were set aside of; hours are those of the last
// day.
func setAside(sources []decide.SourceState, hours []decide.Ledger, now time.Time) []SetAside {
	all := []SetAside{}
	for i := range sources {
		s := &sources[i]
		n := decide.Total(s.Sum.Rejected)
		if n == 0 {
			continue
		}
		a := SetAside{
			Source: s.Source, Received: s.Sum.Received, Events: n, Reasons: s.Sum.Rejected,
			First: s.RejectedFirst, Last: s.RejectedLast,
		}
		for j := range hours {
			if h := &hours[j]; h.Source == s.Source && now.Sub(h.Hour) < 24*time.Hour {
				a.DayReceived += h.Received
				a.Day += decide.Total(h.Rejected)
			}
		}
		all = append(all, a)
	}
	return all
}

func (s *Server) status(r *http.Request) (any, error) {
	st, err := s.Engine.Status(r.Context())
	if err != nil {
		return nil, err
	}
	a, err := s.Store.Account(r.Context(), st.At.Add(-24*time.Hour))
	if err != nil {
		return nil, err
	}
	st.SetAside = setAside(a.Sources, a.Hours, st.At)
	st.Feeds = feedsOf(a.Sources, st)
	st.Troubles = append(st.Troubles, s.gone(r.Context(), st, a)...)
	for _, a := range st.SetAside {
		if a.tooMany() {
			st.Troubles = append(st.Troubles, Trouble{
				What: fmt.Sprintf("%s: %d of %d events of the last 24 hours were set aside, and no rule has seen them", a.Source, a.Day, a.DayReceived),
				Do:   fmt.Sprintf("look at \"kelpie event rejected --source %s\": has the format changed?", a.Source),
			})
		}
	}
	return st, nil
}

// gone tells of messages that are missing in the log and that something waits for, or
// the next start needs. A sick log can't be asked, which status tells by itself.
func (s *Server) gone(ctx context.Context, st Status, a store.Account) []Trouble {
	e := &evidence{status: st, Account: a}
	var err error
	e.log.events, e.log.inputs, err = s.Log.Missing(ctx)
	if err != nil || e.log.events.Messages+e.log.inputs.Messages == 0 {
		return nil
	}
	if err := s.ends(ctx, &e.log); err != nil {
		return nil
	}
	if err := s.missing(ctx, e); err != nil {
		return nil
	}
	var all []Trouble
	for i := range e.missing {
		if m := &e.missing[i]; !m.Accepted && (!m.Decided || m.Needed) && len(all) < mostMissing {
			all = append(all, Trouble{
				What: m.text(), Do: "\"kelpie ledger\" says what is missing; put back a backup of the data folder, or go on without it: \"kelpie run --accept-loss\"",
			})
		}
	}
	return all
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
