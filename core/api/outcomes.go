package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/store"
)

// RuleOutcomes is what became of the cases that a rule has reported, or all rules of an
// author. A case of several rules counts for each of them; of an author, it is looked at
// once.
type RuleOutcomes struct {
	Rule   string `json:"rule,omitempty"` // address; empty: of an author
	Author string `json:"author"`         // empty: none is known
	measure.Outcomes
}

// OutcomesReport is RuleOutcomes of a time.
type OutcomesReport struct {
	Since    time.Time      `json:"since,omitzero"`
	At       time.Time      `json:"at"`
	Outcomes []RuleOutcomes `json:"outcomes"`
}

// ForecastReport is what was forecast, against what happened in a time.
type ForecastReport struct {
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	measure.Calibrations
}

// timed is what is asked about the outcomes of rules.
type timed struct {
	since, at time.Time
	rules     []measure.Rule // with what they were asked about, sorted
	hours     []decide.Ledger
	sources   []decide.SourceState
}

// readTimed reads what is asked: since when, and about which rule.
func (s *Server) readTimed(r *http.Request) (t timed, err error) {
	t.at = s.Now().UTC()
	if text := r.URL.Query().Get("since"); text != "" {
		if t.since, err = time.Parse(time.RFC3339, text); err != nil {
			return t, bad("since must be a time as 2026-03-01T12:00:00Z")
		}
		t.since = store.Day(t.since)
	}
	if t.rules, err = s.Engine.Rules(r.Context()); err != nil {
		return t, err
	}
	reported, err := s.Store.ReportedBy(r.Context())
	if err != nil {
		return t, err
	}
	for _, address := range reported {
		if !slices.ContainsFunc(t.rules, func(k measure.Rule) bool { return k.Address == address }) {
			t.rules = append(t.rules, measure.Rule{Address: address})
		}
	}
	slices.SortFunc(t.rules, func(a, b measure.Rule) int { return cmp.Compare(a.Address, b.Address) })
	if name := r.URL.Query().Get("rule"); name != "" {
		t.rules = slices.DeleteFunc(t.rules, func(k measure.Rule) bool {
			_, short, _ := strings.Cut(k.Address, ".")
			return k.Address != name && short != name
		})
		if len(t.rules) == 0 {
			return t, &Error{http.StatusNotFound, "there is no rule " + name + ", and none has ever reported a case; \"kelpie rule list\" lists them"}
		}
	}
	a, err := s.Store.Account(r.Context(), t.since)
	t.hours, t.sources = a.Hours, a.Sources
	return t, err
}

// counted are the signals that rules have reported, and the lookups that these were the
// first to need.
func (t *timed) counted(rules []string) (signals, lookups uint64) {
	add := func(tally *decide.Tally) {
		for _, rule := range rules {
			signals += uint64(tally.Fired[rule])
			lookups += uint64(tally.Asked[rule])
		}
	}
	if t.since.IsZero() {
		for i := range t.sources {
			add(&t.sources[i].Sum)
		}
		return signals, lookups
	}
	for i := range t.hours {
		add(&t.hours[i].Tally)
	}
	return signals, lookups
}

// outcomesOf adds up what became of the cases of some rules.
func (s *Server) outcomesOf(r *http.Request, t *timed, rules []string) (measure.Outcomes, error) {
	o, err := s.Store.Outcomes(r.Context(), rules, t.since)
	if err == nil {
		o.Count(t.counted(rules))
	}
	return o, err
}

func addresses(rules []measure.Rule) []string {
	all := make([]string, len(rules))
	for i := range rules {
		all[i] = rules[i].Address
	}
	return all
}

func (s *Server) ruleOutcomes(r *http.Request) (any, error) {
	by, err := oneOf(r, "by", "rule", "author")
	if err != nil {
		return nil, err
	}
	t, err := s.readTimed(r)
	if err != nil {
		return nil, err
	}
	out := OutcomesReport{Since: t.since, At: t.at, Outcomes: []RuleOutcomes{}}
	for _, group := range groups(t.rules, by == "author") {
		o, err := s.outcomesOf(r, &t, addresses(group))
		if err != nil {
			return nil, err
		}
		one := RuleOutcomes{Author: group[0].Author, Outcomes: o}
		if by != "author" {
			one.Rule = group[0].Address
		}
		out.Outcomes = append(out.Outcomes, one)
	}
	return out, nil
}

// groups are the rules one by one, or by author.
func groups(rules []measure.Rule, byAuthor bool) [][]measure.Rule {
	var all [][]measure.Rule
	for _, k := range rules {
		at := -1
		if byAuthor {
			at = slices.IndexFunc(all, func(g []measure.Rule) bool { return g[0].Author == k.Author })
		}
		if at < 0 {
			all = append(all, []measure.Rule{k})
			continue
		}
		all[at] = append(all[at], k)
	}
	if byAuthor {
		slices.SortFunc(all, func(a, b []measure.Rule) int { return cmp.Compare(a[0].Author, b[0].Author) })
	}
	return all
}

// forecast holds forecasts against what happened, within the time that the rules were
// there for.
func (s *Server) forecast(r *http.Request) (any, error) {
	t, err := s.readTimed(r)
	if err != nil {
		return nil, err
	}
	begun, err := s.Store.Begun(r.Context())
	if err != nil {
		return nil, err
	}
	if begun.IsZero() {
		begun = t.at
	}
	if t.since.Before(begun) {
		t.since = begun // of the time before nothing is known
	}
	named := []measure.Named{}
	for _, k := range t.rules {
		if k.Forecast == nil {
			continue
		}
		o, err := s.outcomesOf(r, &t, []string{k.Address})
		if err != nil {
			return nil, err
		}
		named = append(named, measure.Named{
			Rule: k.Address, Author: k.Author, Calibration: measure.CalibrationOf(*k.Forecast, &o, t.at.Sub(t.since)),
		})
	}
	return ForecastReport{Since: t.since, At: t.at, Calibrations: measure.Together(named)}, nil
}
