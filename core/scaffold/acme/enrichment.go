package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func enrichment() sdk.Connector {
	return sdk.Connector{
		Kind:       sdk.KindEnrichment,
		Summary:    "What Acme knows of hosts.",
		Takes:      []string{sdk.Host},
		BatchLimit: 20,
		DefaultTTL: time.Hour,
		Local:      true, // the organisation's own data: it may be asked about everything
		New:        func() sdk.Instance { return &hosts{} },
	}
}

// hosts is the enrichment: what Acme knows of a host.
type hosts struct{ client }

func (h *hosts) Config() any { return nil } // its block has no attributes of its own

// Enrich answers each question by itself: one that fails fails alone.
func (h *hosts) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	replies := make([]sdk.Reply, len(questions))
	for i, q := range questions {
		replies[i] = h.about(ctx, q.Observable.Value)
	}
	return replies, nil
}

func (h *hosts) about(ctx context.Context, name string) sdk.Reply {
	var host struct {
		Name  string   `json:"name"`
		Owner string   `json:"owner"`
		Roles []string `json:"roles"`
	}
	err := h.call(ctx, http.MethodGet, "/v1/hosts?name="+url.QueryEscape(name), "", nil, &host)
	if told := (*sdk.Error)(nil); errors.Is(err, errNotThere) || errors.As(err, &told) && told.Reason == sdk.Invalid {
		return sdk.Reply{} // asked, and it has nothing, or cannot have it
	}
	if err != nil {
		return sdk.Reply{Err: err}
	}
	return sdk.Reply{Answers: []sdk.Answer{{Asset: &sdk.Asset{Name: host.Name, Owner: host.Owner, Roles: host.Roles}}}}
}
