package shadow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Cases says what the scores would have been with the shadow's answers in the place of
// those that counted.
type Cases struct {
	// Had an answer of the first, of the cases in which something happened.
	Had int `json:"had"`
	// Computed are those whose score could be worked out with the shadow's answers.
	Computed    int      `json:"computed"`
	NotComputed []Reason `json:"not_computed"`
	Same        int      `json:"same"` // not one hundredth apart
	// Moved by more than movedBy, the furthest first.
	Moved     int    `json:"moved"`
	MovedBy   string `json:"moved_by"`
	Furthest  []Move `json:"furthest"`
	Responses []Turn `json:"responses"`
	// Limited: only the newest cases were looked at, so many.
	Limited int `json:"limited,omitempty"`
}

// Reason why cases were not computed.
type Reason struct {
	Why   string `json:"why"`
	Count int    `json:"count"`
}

// Move is a case whose score would have been another.
type Move struct {
	Case   string `json:"case"`
	Title  string `json:"title"`
	Score  string `json:"score"`  // decimal text, "87.50"
	Shadow string `json:"shadow"` // with the shadow's answers

	distance model.Hundredths
}

// Turn counts cases of which a response's condition would have been another.
type Turn struct {
	Response string `json:"response"`
	More     int    `json:"more"`  // it would have been asked for
	Fewer    int    `json:"fewer"` // it would not
}

// Bounds of what is looked at and shown.
const (
	mostCases    = 1000
	mostSignals  = 2000 // of one case
	mostMoves    = 10
	movedBy      = 500 // hundredths
	limitOfPairs = store.MostPairs
)

// Why a case was not computed.
const (
	notAsked = "the shadow has not answered about all of it"
	notKept  = "an answer was too large to be kept"
	tooMany  = "it has too many signals"
	waits    = "an answer that counts is pending"
	notAgain = "its score can't be worked out again from what is stored"
)

// rescorer scores stored cases again.
type rescorer struct {
	r       *Reporter
	shadow  *enrich.Source
	said    map[sdk.Observable]*enrich.Said
	scorer  *score.Scorer
	scope   expr.Scope
	reasons map[string]int
	turns   map[string]*Turn
	out     Cases
}

func (r *Reporter) cases(ctx context.Context, s *enrich.Source, pairs []enrich.Pair, since time.Time) (Cases, error) {
	scorer, err := score.New(r.Decide.Score)
	if err != nil {
		return Cases{}, err
	}
	c := &rescorer{
		r: r, shadow: s, scorer: scorer, said: map[sdk.Observable]*enrich.Said{},
		reasons: map[string]int{}, turns: map[string]*Turn{},
	}
	for i := range pairs {
		if said := pairs[i].Shadow; said != nil {
			c.said[pairs[i].Observable] = said
		}
	}
	all, err := r.Store.NewestCases(ctx, mostCases)
	if err != nil {
		return Cases{}, err
	}
	if len(all) == mostCases {
		c.out.Limited = mostCases
	}
	for i := range all {
		if all[i].UpdatedAt.Before(since) {
			continue
		}
		if err := c.one(ctx, &all[i]); err != nil {
			return Cases{}, err
		}
	}
	return c.finish(), nil
}

// one compares the scores of a case.
func (c *rescorer) one(ctx context.Context, row *model.Case) error {
	if row.Size > mostSignals {
		c.out.Had++
		c.reasons[tooMany]++
		return nil
	}
	signals, err := c.r.Store.CaseSignals(ctx, row.ID, false)
	if err != nil {
		return err
	}
	lookups, err := c.r.Store.Lookups(ctx, row.Observables(signals))
	if err != nil {
		return err
	}
	now := decide.Stored{Case: *row, Signals: signals}
	for _, l := range lookups {
		now.Lookups = append(now.Lookups, decide.StoredLookup(l))
	}
	then, had, why := c.inPlace(now)
	if !had {
		return nil
	}
	c.out.Had++
	if why == "" && row.Pending > 0 {
		why = waits
	}
	if why == "" && c.total(&now) != row.Score.Total {
		why = notAgain
	}
	if why != "" {
		c.reasons[why]++
		return nil
	}
	c.compare(row, &now, &then)
	return nil
}

// inPlace puts the shadow's answers in the place of the first's, and tells whether there
// were any, and why it can't be done. What the shadow would not be asked has no answer.
func (c *rescorer) inPlace(now decide.Stored) (then decide.Stored, had bool, why string) {
	then = now
	then.Lookups = slices.Clone(now.Lookups)
	for i := range then.Lookups {
		l := &then.Lookups[i]
		if l.Ask.Enrichment != c.shadow.Shadow || l.Reply == nil {
			continue
		}
		had = true
		switch said := c.said[plain(l.Ask.Observable)]; {
		case !c.askable(l.Ask.Observable):
			l.Reply = nil
		case said == nil:
			why = notAsked
		case said.Cut:
			why = notKept
		default:
			l.Reply = &model.Reply{Ask: l.Ask.ID, State: said.State, Answers: said.Answers, Reason: said.Reason, AnsweredAt: said.At}
		}
	}
	return then, had, why
}

func (c *rescorer) askable(o sdk.Observable) bool {
	return slices.Contains(c.shadow.Takes, o.Kind) && (c.shadow.Internal || !c.r.Decide.Own(o))
}

func (c *rescorer) total(s *decide.Stored) model.Hundredths {
	return c.scorer.Score(s.Value(c.r.Decide), nil, 0).Total
}

func (c *rescorer) compare(row *model.Case, now, then *decide.Stored) {
	c.out.Computed++
	then.Case.Score.Total = c.total(then)
	was, is := row.Score.Total, then.Case.Score.Total
	m := Move{Case: row.ID, Title: row.Title, Score: was.String(), Shadow: is.String(), distance: max(was-is, is-was)}
	switch {
	case m.distance == 0:
		c.out.Same++
	case m.distance > movedBy:
		c.out.Moved++
	}
	if m.distance > 0 {
		c.out.Furthest = append(c.out.Furthest, m)
	}
	c.respond(row, now, then)
}

// respond holds the conditions of the responses that the case's rules ask for against
// both.
func (c *rescorer) respond(row *model.Case, now, then *decide.Stored) {
	plan := &c.r.Decide.Plan
	var asked []string
	for _, rule := range row.Rules {
		asked = append(asked, plan.Rules[rule]...)
	}
	for i := range plan.Responses {
		resp := &plan.Responses[i]
		if resp.When == nil || !slices.Contains(asked, resp.Address) {
			continue
		}
		was, is := c.truth(resp.When, now), c.truth(resp.When, then)
		if was == is {
			continue
		}
		t := c.turns[resp.Address]
		if t == nil {
			t = &Turn{Response: resp.Address}
			c.turns[resp.Address] = t
		}
		if is {
			t.More++
		} else {
			t.Fewer++
		}
	}
}

func (c *rescorer) truth(when *expr.Program, s *decide.Stored) bool {
	c.scope.Set("case", s.Value(c.r.Decide))
	return when.Truth(&c.scope) == expr.True
}

func (c *rescorer) finish() Cases {
	out := c.out
	out.MovedBy = fmt.Sprint(movedBy / 100)
	out.NotComputed, out.Responses = []Reason{}, []Turn{}
	for why, n := range c.reasons {
		out.NotComputed = append(out.NotComputed, Reason{why, n})
	}
	slices.SortFunc(out.NotComputed, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Why, b.Why))
	})
	for _, t := range c.turns {
		out.Responses = append(out.Responses, *t)
	}
	slices.SortFunc(out.Responses, func(a, b Turn) int { return cmp.Compare(a.Response, b.Response) })
	slices.SortFunc(out.Furthest, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.distance, a.distance), cmp.Compare(a.Case, b.Case))
	})
	out.Furthest = append([]Move{}, out.Furthest[:min(len(out.Furthest), mostMoves)]...)
	return out
}
