// Package shadow compares what is tried beside something with what counts: the answers
// of enrichments, and the events of detectors.
package shadow

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Query says what to compare.
type Query struct {
	// Name of one shadow, or of what it is the shadow of, with or without its kind; empty: all.
	Name  string
	Since time.Time
	// Window is how far apart two detectors' events may be that are about the same.
	Window time.Duration
}

// DefaultWindow of a Query.
const DefaultWindow = 10 * time.Minute

// Report compares all that the query asks for.
type Report struct {
	At          time.Time    `json:"at"`
	Since       time.Time    `json:"since"`
	Enrichments []Enrichment `json:"enrichments"`
	Detectors   []Detector   `json:"detectors"`
}

// ErrNoShadow: there is no shadow of the name that was asked for.
var ErrNoShadow = errors.New("no such shadow")

// Reporter compares by one configuration.
type Reporter struct {
	Store  *store.Store
	Log    *eventlog.Log
	Enrich *enrich.Settings
	Decide *decide.Settings
	Match  *match.Settings
	// Shown gives the address of now for one by which a block is known: it may be renamed.
	Shown func(string) string
	// Stats of the enrichments that run; nil: Kelpie does not.
	Stats []enrich.Stat
	Now   time.Time
}

// Report compares. ErrNoShadow: nothing has the query's name.
func (r *Reporter) Report(ctx context.Context, q Query) (Report, error) {
	out := Report{At: r.Now, Since: q.Since, Enrichments: []Enrichment{}, Detectors: []Detector{}}
	for i := range r.Enrich.Shadows {
		s := &r.Enrich.Shadows[i]
		if !q.wants(r.Shown(s.Address), r.Shown(s.Shadow)) {
			continue
		}
		e, err := r.enrichment(ctx, s, q.Since)
		if err != nil {
			return out, err
		}
		out.Enrichments = append(out.Enrichments, e)
	}
	for i := range r.Match.Sources {
		s := &r.Match.Sources[i]
		if s.Shadow == "" || !q.wants(r.Shown(s.Detector), r.Shown(s.Shadow)) {
			continue
		}
		d, err := r.detector(ctx, s, q)
		if err != nil {
			return out, err
		}
		out.Detectors = append(out.Detectors, d)
	}
	if q.Name != "" && len(out.Enrichments)+len(out.Detectors) == 0 {
		return out, ErrNoShadow
	}
	return out, nil
}

// wants tells whether a shadow is asked for.
func (q *Query) wants(addresses ...string) bool {
	if q.Name == "" {
		return true
	}
	for _, a := range addresses {
		if _, name, _ := strings.Cut(a, "."); a == q.Name || name == q.Name {
			return true
		}
	}
	return false
}

// plain is an observable without its role.
func plain(o sdk.Observable) sdk.Observable {
	o.Role = sdk.NoRole
	return o
}
