package model

import "time"

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
