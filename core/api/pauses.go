package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// longest is the most that a pause or an extension of a hold may be: what is meant to last
// longer has no end.
const longest = 366 * 24 * time.Hour

// long reads For; 0: without an end.
func (o *Order) long() (time.Duration, error) {
	if o.For == "" {
		return 0, nil
	}
	d, err := sdk.ParseDuration(o.For)
	if err != nil || d <= 0 || d > longest {
		return 0, bad(`a time is written as "30m" or "2h", and is at most a year`)
	}
	return d, nil
}

// identity is the address under which everything durable knows what is called so now.
func (s *Server) identity(r *http.Request, now string) (string, error) {
	all, err := s.Engine.Names(r.Context())
	if err != nil {
		return "", err
	}
	for _, identity := range slices.Sorted(maps.Keys(all)) {
		if all[identity] == now {
			return identity, nil
		}
	}
	return now, nil
}

// pause holds a rule, pipeline or response back.
func (s *Server) pause(r *http.Request) (any, error) {
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Because) == "" {
		return nil, bad("a pause says why")
	}
	long, err := o.long()
	if err != nil {
		return nil, err
	}
	of, err := s.identity(r, o.Of)
	if err != nil {
		return nil, err
	}
	f, err := s.orderOf(r, model.Command{Kind: model.PauseOf, By: o.By, Because: o.Because, Of: of, For: long})
	if err != nil {
		return nil, err
	}
	if !pausedIn(f, of) {
		return nil, &Error{http.StatusNotFound, "the configuration in force has no " + o.Of + ", or it asks for no response: there is nothing to hold back"}
	}
	return f, nil
}

// resume ends that.
func (s *Server) resume(r *http.Request) (any, error) {
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	of, err := s.identity(r, o.Of)
	if err != nil {
		return nil, err
	}
	f, err := s.Store.Flags(r.Context())
	if err != nil {
		return nil, err
	}
	if !pausedIn(f, of) {
		return nil, &Error{http.StatusNotFound, o.Of + ` is not paused; "kelpie status" lists what is`}
	}
	return s.orderOf(r, model.Command{Kind: model.ResumeOf, By: o.By, Because: o.Because, Of: of})
}

func (s *Server) orderOf(r *http.Request, c model.Command) (decide.Flags, error) {
	if err := s.Engine.Order(r.Context(), c); err != nil {
		return decide.Flags{}, err
	}
	return s.Store.Flags(r.Context())
}

func pausedIn(f decide.Flags, of string) bool {
	return slices.ContainsFunc(f.Pauses, func(p decide.Pause) bool { return p.Of == of })
}
