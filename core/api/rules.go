package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/store"
)

// RuleActivity is what a rule, or a pipeline with alerts, has reported.
type RuleActivity struct {
	Rule    string `json:"rule"`    // address
	Signals uint64 `json:"signals"` // ever
	Week    uint64 `json:"week"`    // in the last seven days
	// LastHour is the beginning of the last hour with a signal, if that was within the
	// last ninety days.
	LastHour time.Time `json:"last_hour,omitzero"`
}

const (
	week    = 7 * 24 * time.Hour
	quarter = 90 * 24 * time.Hour
)

func (s *Server) rules(r *http.Request) (any, error) {
	now := s.Now()
	a, err := s.Store.Account(r.Context(), now.Add(-quarter))
	if err != nil {
		return nil, err
	}
	return list(activity(a.Sources, a.Hours, now)), nil
}

// activity adds up what rules have reported of all sources, by address.
func activity(sources []decide.SourceState, hours []decide.Ledger, now time.Time) []RuleActivity {
	rules := map[string]*RuleActivity{}
	of := func(rule string) *RuleActivity {
		if rules[rule] == nil {
			rules[rule] = &RuleActivity{Rule: rule}
		}
		return rules[rule]
	}
	for i := range sources {
		for rule, n := range sources[i].Sum.Fired {
			of(rule).Signals += uint64(n)
		}
	}
	for i := range hours {
		h := &hours[i]
		for rule, n := range h.Fired {
			a := of(rule)
			if now.Sub(h.Hour) < week {
				a.Week += uint64(n)
			}
			if h.Hour.After(a.LastHour) {
				a.LastHour = h.Hour
			}
		}
	}
	var all []RuleActivity
	for _, a := range rules {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b RuleActivity) int { return strings.Compare(a.Rule, b.Rule) })
	return all
}

// mostSignals of one list.
const mostSignals = 10_000

func (s *Server) signals(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 50, mostSignals)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Signals(r.Context(), store.SignalQuery{
		Rule: r.URL.Query().Get("rule"), Experimental: r.URL.Query().Has("experimental"), Limit: max(limit, 1),
	})
	return list(all), err
}
