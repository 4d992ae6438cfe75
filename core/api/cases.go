package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// CaseLine is a case in a list. It holds only what depends on the signals and the
// answers, so that the same input gives the same bytes.
type CaseLine struct {
	ID       string          `json:"id"`
	State    model.CaseState `json:"state"`
	Score    string          `json:"score"` // decimal text, "87.50"
	Upper    string          `json:"upper"`
	Title    string          `json:"title"`
	Severity int             `json:"severity"`
	Stopped  *bool           `json:"stopped"`
	Signals  int             `json:"signals"`
	Rules    []string        `json:"rules"`
	// Of Subjects the first Reported are those that detectors named.
	Subjects   []sdk.Observable `json:"subjects"`
	Reported   int              `json:"reported"`
	Indicators []sdk.Observable `json:"indicators"`
	FirstAt    time.Time        `json:"first_at"`
	LastAt     time.Time        `json:"last_at"`
}

// Line makes a list's line of a case.
func Line(c model.Case) CaseLine {
	return CaseLine{
		ID: c.ID, State: c.State, Score: c.Score.Total.String(), Upper: c.Score.Upper.String(),
		Title: c.Title, Severity: c.Severity, Stopped: c.Stopped, Signals: c.Size, Rules: list(c.Rules),
		Subjects: list(c.Subjects), Reported: c.Reported, Indicators: list(c.Indicators), FirstAt: c.FirstAt, LastAt: c.LastAt,
	}
}

func (s *Server) cases(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 0, 1_000_000)
	if err != nil {
		return nil, err
	}
	least, err := number(r, "min_score", 0, 100)
	if err != nil {
		return nil, err
	}
	state, err := oneOf(r, "state", model.CaseOpen, model.CaseClosed)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Cases(r.Context(), store.CaseQuery{
		State: state, MinScore: model.Hundredths(least * 100), Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	lines := make([]CaseLine, len(all))
	for i, c := range all {
		lines[i] = Line(c)
	}
	return lines, nil
}

// Explanation is all that is known about a case.
type Explanation struct {
	Case    model.Case     `json:"case"`
	Signals []model.Signal `json:"signals"`
	// Lookups are by enrichment and observable.
	Lookups []store.Lookup `json:"lookups"`
	Intents []model.Intent `json:"intents"`
	// Questions that people were asked about it, in the order in which they were.
	Questions []model.Question `json:"questions"`
	// Events are those behind signals of rules over several, by "SEQ/INDEX": as far as
	// they are listed and the log still has them.
	Events map[string]EventLine `json:"events,omitempty"`
	// Weighing says which responses it asks for and what would decide it otherwise, if
	// that was asked.
	Weighing *decide.Weighing `json:"weighing,omitempty"`
	// At is when this was read: the answers' ages count from it.
	At time.Time `json:"at"`
}

// explain answers with a case by its id, an older id, or the beginning of one.
func (s *Server) explain(r *http.Request) (any, error) {
	ctx := r.Context()
	c, err := s.findCase(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	e := Explanation{Case: c, At: s.Now()}
	if e.Signals, err = s.Store.CaseSignals(ctx, c.ID, r.URL.Query().Has("raw")); err != nil {
		return nil, err
	}
	if e.Lookups, err = s.Store.Lookups(ctx, c.Observables(e.Signals)); err != nil {
		return nil, err
	}
	ids := append([]string{c.ID, c.FirstID}, c.Aliases...)
	if e.Intents, err = s.Store.CaseIntents(ctx, ids); err != nil {
		return nil, err
	}
	if e.Questions, err = s.caseQuestions(ctx, c); err != nil {
		return nil, err
	}
	if e.Events, err = s.behind(ctx, e.Signals); err != nil {
		return nil, err
	}
	if r.URL.Query().Has("weighing") {
		stored := decide.Stored{Case: c, Signals: e.Signals}
		for _, l := range e.Lookups {
			stored.Lookups = append(stored.Lookups, decide.StoredLookup(l))
		}
		d, err := s.Engine.Weighing(ctx, stored)
		if err != nil {
			return nil, err
		}
		e.Weighing = &d
	}
	e.Signals, e.Lookups, e.Intents = list(e.Signals), list(e.Lookups), list(e.Intents)
	e.Questions = list(e.Questions)
	return e, nil
}

// findCase finds a case by its id, an older id, or the beginning of one.
func (s *Server) findCase(ctx context.Context, id string) (model.Case, error) {
	if !strings.HasPrefix(id, "c-") {
		id = "c-" + id
	}
	found, err := s.Store.FindCases(ctx, id, 8)
	switch {
	case err != nil:
		return model.Case{}, err
	case len(found) == 0:
		return model.Case{}, &Error{http.StatusNotFound, "there is no case " + id + "; \"kelpie case list\" lists them"}
	case len(found) > 1 && !slices.Contains(found, id):
		return model.Case{}, &Error{http.StatusConflict, "more than one case begins with " + id + ": " + strings.Join(found, ", ")}
	case !slices.Contains(found, id):
		id = found[0]
	}
	return s.Store.Case(ctx, id)
}
