package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/store"
)

// RuleActivity is what a rule, or a pipeline with alerts, has reported.
type RuleActivity struct {
	Rule    string `json:"rule"`    // address
	Signals uint64 `json:"signals"` // ever
	Week    uint64 `json:"week"`    // in the last seven days
	// Lookups that its signals were the first to need, ever. What answers name in turn is
	// not among them.
	Lookups uint64 `json:"lookups"`
	// LastHour is the beginning of the last hour with a signal, if that was within the
	// last ninety days.
	LastHour time.Time `json:"last_hour,omitzero"`
	// Use is what it has taken in matching since the start; nil: nothing was measured.
	Use *match.Use `json:"use,omitempty"`
	// Memory is what its windows hold now; nil: it has none.
	Memory *RuleMemory `json:"memory,omitempty"`
}

// RuleMemory is what the windows of a rule over several events hold.
type RuleMemory struct {
	Groups  int    `json:"groups"`
	Facts   int    `json:"facts"`
	Bytes   int64  `json:"bytes"` // about
	Evicted uint64 `json:"evicted"`
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
	st, err := s.Engine.Status(r.Context())
	if err != nil {
		return nil, err
	}
	return list(activity(a.Sources, a.Hours, s.Engine.Uses(), st.Rules, now)), nil
}

// activity adds up what rules have reported of all sources and what they take, by address.
func activity(sources []decide.SourceState, hours []decide.Ledger, uses []match.Use, held []decide.RuleStat, now time.Time) []RuleActivity {
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
		for rule, n := range sources[i].Sum.Asked {
			of(rule).Lookups += uint64(n)
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
	for i := range uses {
		of(uses[i].Of).Use = &uses[i]
	}
	for _, h := range held {
		of(h.Rule).Memory = &RuleMemory{Groups: h.Groups, Facts: h.Facts, Bytes: h.Bytes, Evicted: h.Evicted}
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
