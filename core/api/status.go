package api

import (
	"fmt"
	"net/http"
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
	// SetAside is what no rule has seen, by source.
	SetAside []SetAside   `json:"set_aside"`
	Counts   store.Counts `json:"counts"`
	Log      LogState     `json:"log"`
}

// Trouble is something that a person should know.
type Trouble struct {
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
	Waits string    `json:"waits,omitempty"`
	Do    string    `json:"do,omitempty"`
}

// SetAside counts the events of one source that could not be processed. Who can have
// an event set aside can hide it, so that this is shown whether or not it is many.
type SetAside struct {
	Source   string `json:"source"`
	Received uint64 `json:"received"` // all that came of the source
	Events   uint64 `json:"events"`   // set aside of them
	// Reasons, with how many events each has.
	Reasons map[string]int `json:"reasons"`
	// First and Last are the hours in which events were set aside.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Day and DayReceived are the same counts over the last 24 hours.
	Day         uint64 `json:"day"`
	DayReceived uint64 `json:"day_received"`
}

// tooMany tells that something must be wrong with the source, or with how it is read:
// of the last day's events more than one in ten was set aside.
func (a SetAside) tooMany() bool { return a.Day*10 > a.DayReceived }

// setAside adds up the ledger, which is by source, then hour.
func setAside(ledger []decide.Ledger, now time.Time) []SetAside {
	all := []SetAside{}
	a := SetAside{}
	end := func() {
		if a.Events > 0 {
			all = append(all, a)
		}
	}
	for _, l := range ledger {
		if l.Source != a.Source {
			end()
			a = SetAside{Source: l.Source, Reasons: map[string]int{}}
		}
		n := uint64(0)
		for reason, k := range l.Rejected {
			a.Reasons[reason] += k
			n += uint64(k)
		}
		a.Received += l.Received
		a.Events += n
		if now.Sub(l.Hour) < 24*time.Hour {
			a.DayReceived += l.Received
			a.Day += n
		}
		if n > 0 {
			if a.First.IsZero() {
				a.First = l.Hour
			}
			a.Last = l.Hour
		}
	}
	end()
	return all
}

func (s *Server) status(r *http.Request) (any, error) {
	st, err := s.Engine.Status(r.Context())
	if err != nil {
		return nil, err
	}
	ledger, err := s.Store.Ledger(r.Context())
	if err != nil {
		return nil, err
	}
	st.SetAside = setAside(ledger, st.At)
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

// LogState is how much the log holds and how far it is worked off.
type LogState struct {
	EventsBytes   uint64 `json:"events_bytes"`
	InputsBytes   uint64 `json:"inputs_bytes"`
	RejectedBytes uint64 `json:"rejected_bytes"`
	// Unmatched EVENTS messages and undecided INPUTS messages.
	Unmatched uint64 `json:"unmatched"`
	Undecided uint64 `json:"undecided"`
}
