package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/kelpie-sec/kelpie/core/shadow"
)

// Bounds of what is compared.
const (
	defaultShadowSince = 24 * time.Hour
	maxShadowWindow    = 24 * time.Hour
)

// shadow compares shadows with what counts.
func (s *Server) shadow(r *http.Request) (any, error) {
	v := r.URL.Query()
	q := shadow.Query{Name: v.Get("name"), Since: s.Now().Add(-defaultShadowSince), Window: shadow.DefaultWindow}
	if text := v.Get("since"); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, bad("since must be a time, as 2026-03-01T12:00:00Z")
		}
		q.Since = t.UTC()
	}
	if text := v.Get("window"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > maxShadowWindow {
			return nil, bad("window must be a duration from 0s to 24h, as 10m")
		}
		q.Window = d
	}
	report, err := s.Engine.Shadow(r.Context(), q)
	if errors.Is(err, shadow.ErrNoShadow) {
		return nil, &Error{http.StatusNotFound, "there is no shadow " + q.Name + ", nor one of it; \"kelpie shadow report\" without a name reports on all"}
	}
	return report, err
}
