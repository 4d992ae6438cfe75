package model

import (
	"slices"
	"time"
)

// Schedule is who is on call, as of when it was read. Its address is "schedule.netsec".
type Schedule struct {
	Address string `json:"address"`
	// Shifts by From. Where two overlap, all of their people are on call.
	Shifts []Shift `json:"shifts"`
	// Until is up to when it is known; after that nobody is on call by it.
	Until time.Time `json:"until"`
	// Problem says why it could not be read; the shifts are those of before.
	Problem string `json:"problem,omitempty"`
}

// Shift is a time in which people are on call: From is in it, To is not.
type Shift struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// To whom: addresses, or names of users.
	People []string `json:"people"`
}

// Now says who is on call at a time, each once.
func (s *Schedule) Now(at time.Time) (people []string) {
	people, _ = s.OnCall(at)
	return people
}

// OnCall says who is on call at a time, each once, and until when that holds; zero: that
// is not known.
func (s *Schedule) OnCall(at time.Time) (people []string, until time.Time) {
	if !at.Before(s.Until) {
		return nil, time.Time{}
	}
	until = s.Until
	for _, shift := range s.Shifts {
		switch {
		case !at.Before(shift.To):
		case at.Before(shift.From):
			if shift.From.Before(until) {
				until = shift.From
			}
		default:
			if shift.To.Before(until) {
				until = shift.To
			}
			for _, p := range shift.People {
				if !slices.Contains(people, p) {
					people = append(people, p)
				}
			}
		}
	}
	return people, until
}
