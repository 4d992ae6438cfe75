package api

import (
	"net/http"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// OnCall is a schedule, and who is on call by it now and next.
type OnCall struct {
	model.Schedule
	At time.Time `json:"at"`
	// Now are who is on call, up to NowUntil; empty: nobody is.
	Now      []string  `json:"now"`
	NowUntil time.Time `json:"now_until,omitzero"`
	// Next are who is on call from then on, up to NextUntil.
	Next      []string  `json:"next"`
	NextUntil time.Time `json:"next_until,omitzero"`
}

// schedules lists who is on call.
func (s *Server) schedules(r *http.Request) (any, error) {
	all, err := s.Store.Schedules(r.Context())
	if err != nil {
		return nil, err
	}
	at := s.Now()
	shown := make([]OnCall, len(all))
	for i := range all {
		o := OnCall{Schedule: all[i], At: at, Now: []string{}, Next: []string{}}
		var people []string
		if people, o.NowUntil = all[i].OnCall(at); people != nil {
			o.Now = people
		}
		if !o.NowUntil.IsZero() {
			if people, o.NextUntil = all[i].OnCall(o.NowUntil); people != nil {
				o.Next = people
			}
		}
		shown[i] = o
	}
	return shown, nil
}
