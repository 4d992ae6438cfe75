package shadow

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Enrichment compares a shadow's answers with those that count.
type Enrichment struct {
	Shadow string `json:"shadow"`
	First  string `json:"first"`
	// Begin of the first hour that was counted; zero: none was. What is counted by the
	// hour begins with the hour.
	Begin time.Time `json:"begin,omitzero"`
	// Questions that the first was given; Asked are those that the shadow was given too,
	// the others it was not for the reasons of NotAsked.
	Questions uint64   `json:"questions"`
	Asked     uint64   `json:"asked"`
	NotAsked  NotAsked `json:"not_asked"`
	// Unkept answers were heard and not written down, since there was no room.
	Unkept uint64 `json:"unkept"`
	Sides  struct {
		First  Side `json:"first"`
		Shadow Side `json:"shadow"`
	} `json:"sides"`

	// Observables that both said something about. Of these Failed are those of which
	// either could not, Same those of which both said the same word.
	Observables int `json:"observables"`
	Failed      int `json:"failed"`
	Same        int `json:"same"`
	// Waiting observables the shadow has not answered yet.
	Waiting int  `json:"waiting"`
	Limited bool `json:"limited,omitempty"` // there were more
	// Words says how often which word stood against which.
	Words []Words `json:"words"`
	// Fields of assets, identities and networks, for answers that both have.
	Fields        []Field        `json:"fields"`
	Disagreements []Disagreement `json:"disagreements"`
	// Failures of the shadow by reason.
	Failures []Failure `json:"failures"`
	Cases    Cases     `json:"cases"`
}

// NotAsked says why a shadow was not asked what the first was.
type NotAsked struct {
	Kind uint64 `json:"kind"` // it does not take that kind of observable
	Own  uint64 `json:"own"`  // it must not be told the organisation's own names
	Room uint64 `json:"room"` // too many questions waited for it
}

// Side is what one of the two did.
type Side struct {
	Calls  uint64  `json:"calls"`
	Asked  uint64  `json:"asked"`  // observables in these calls
	Cached uint64  `json:"cached"` // questions answered from the cache
	Failed uint64  `json:"failed"`
	P50    float64 `json:"p50_seconds"` // of its calls, by answer
	P99    float64 `json:"p99_seconds"`
	// Minute and Day are what its own limits leave now; zero: there are none, or Kelpie
	// does not run.
	Minute enrich.Room `json:"minute,omitzero"`
	Day    enrich.Room `json:"day,omitzero"`
}

// The words for what is said of an observable.
const (
	Malicious  = "malicious"
	Suspicious = "suspicious"
	Undecided  = "undecided" // a verdict that is none
	Clean      = "clean"
	Known      = "known"   // an asset, an identity, a network
	Unknown    = "unknown" // it has nothing
	Failed     = "failed"
)

// AllWords in the order in which they are shown.
var AllWords = [...]string{Malicious, Suspicious, Undecided, Clean, Known, Unknown, Failed}

// Words are what both said of some observables.
type Words struct {
	First  string `json:"first"`
	Shadow string `json:"shadow"`
	Count  int    `json:"count"`
}

// Failure is a reason, and how many observables were not answered for it.
type Failure struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Disagreement is an observable of which the two do not say the same.
type Disagreement struct {
	Observable sdk.Observable `json:"observable"`
	First      enrich.Said    `json:"first"`
	Shadow     enrich.Said    `json:"shadow"`
	// Fields that differ, where both know an asset, an identity or a network.
	Fields []string `json:"fields,omitempty"`

	weight int
}

// mostDisagreements are shown, and mostFailures.
const (
	mostDisagreements = 10
	mostFailures      = 5
)

func (r *Reporter) enrichment(ctx context.Context, s *enrich.Source, since time.Time) (Enrichment, error) {
	e := Enrichment{Shadow: s.Address, First: s.Shadow}
	t, begin, err := r.Store.ShadowTally(ctx, s.Address, since)
	if err != nil {
		return e, err
	}
	e.Begin, e.Questions, e.Asked, e.Unkept = begin, t.Questions, t.Asked(), t.Unkept
	e.NotAsked = NotAsked{Kind: t.NotTaken, Own: t.Own, Room: t.NoRoom}
	e.Sides.First, e.Sides.Shadow = r.side(s.Shadow, &t.First), r.side(s.Address, &t.Shadow)
	pairs, err := r.Store.ShadowPairs(ctx, s.Address, since)
	if err != nil {
		return e, err
	}
	e.compare(pairs)
	e.Limited = len(pairs) == limitOfPairs
	e.Cases, err = r.cases(ctx, s, pairs, since)
	return e, err
}

func (r *Reporter) side(address string, s *enrich.Side) Side {
	out := Side{Calls: s.Calls, Asked: s.Asked, Cached: s.Cached, Failed: s.Failed, P50: s.Took.Quantile(0.5).Seconds(), P99: s.Took.Quantile(0.99).Seconds()}
	for i := range r.Stats {
		if st := &r.Stats[i]; st.Enrichment == address {
			out.Minute, out.Day = st.Minute, st.Day
		}
	}
	return out
}

// compare counts what both said.
func (e *Enrichment) compare(pairs []enrich.Pair) {
	words, failures := map[[2]string]int{}, map[string]int{}
	fields := fields{}
	for i := range pairs {
		p := &pairs[i]
		if p.First == nil || p.Shadow == nil {
			if p.Shadow == nil {
				e.Waiting++
			}
			continue
		}
		e.Observables++
		first, shadow := word(p.First), word(p.Shadow)
		words[[2]string{first, shadow}]++
		if shadow == Failed {
			failures[p.Shadow.Reason]++
		}
		switch {
		case first == Failed || shadow == Failed:
			e.Failed++
			continue
		case first == shadow:
			e.Same++
		}
		differ := fields.count(p)
		if weight := apart(first, shadow)*100 + len(differ); weight > 0 {
			e.Disagreements = append(e.Disagreements, Disagreement{
				Observable: p.Observable, First: brief(*p.First), Shadow: brief(*p.Shadow), Fields: differ, weight: weight,
			})
		}
	}
	e.Words, e.Fields = sortedWords(words), fields.sorted()
	for reason, n := range failures {
		e.Failures = append(e.Failures, Failure{reason, n})
	}
	slices.SortFunc(e.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	e.Failures = append([]Failure{}, e.Failures[:min(len(e.Failures), mostFailures)]...)
	slices.SortFunc(e.Disagreements, func(a, b Disagreement) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.Observable.Key(), b.Observable.Key()))
	})
	e.Disagreements = telling(e.Disagreements)
}

// telling are the first of these, of a few kinds rather than all of one: at most so many
// where the same stands against the same, as long as there are others.
func telling(all []Disagreement) []Disagreement {
	const ofKind = 3
	kinds := map[[2]string]int{}
	var some, rest []Disagreement
	for _, d := range all {
		kind := [2]string{word(&d.First), word(&d.Shadow)}
		if kinds[kind]++; kinds[kind] <= ofKind {
			some = append(some, d)
		} else {
			rest = append(rest, d)
		}
	}
	some = append(append([]Disagreement{}, some...), rest...)
	some = some[:min(len(some), mostDisagreements)]
	slices.SortStableFunc(some, func(a, b Disagreement) int { return cmp.Compare(b.weight, a.weight) })
	return some
}

func sortedWords(counts map[[2]string]int) []Words {
	all := []Words{}
	for _, first := range AllWords {
		for _, shadow := range AllWords {
			if n := counts[[2]string{first, shadow}]; n > 0 {
				all = append(all, Words{first, shadow, n})
			}
		}
	}
	return all
}

// brief is what a source said, without what only expressions read.
func brief(s enrich.Said) enrich.Said {
	s.Answers = slices.Clone(s.Answers)
	for i := range s.Answers {
		s.Answers[i].Details = nil
	}
	return s
}

// word is what a source said, by the worst of its verdicts.
func word(s *enrich.Said) string {
	switch s.State {
	case model.Failed:
		return Failed
	case model.Unknown:
		return Unknown
	case model.Clean:
		return Clean
	}
	worst, verdict := Clean, false
	for i := range s.Answers {
		v := s.Answers[i].Verdict
		if v == nil {
			continue
		}
		verdict = true
		next := Undecided
		switch v.Disposition {
		case sdk.Malicious:
			next = Malicious
		case sdk.Suspicious:
			next = Suspicious
		case sdk.Benign:
			next = Clean
		}
		if badness(next) > badness(worst) {
			worst = next
		}
	}
	if verdict {
		return worst
	}
	return Known
}

func badness(word string) int {
	switch word {
	case Malicious:
		return 6
	case Suspicious:
		return 4
	case Undecided, Unknown, Known:
		return 1
	}
	return 0
}

// apart is how much it tells that one says this and the other that.
func apart(a, b string) int {
	if a == b {
		return 0
	}
	return 1 + max(badness(a)-badness(b), badness(b)-badness(a))
}
