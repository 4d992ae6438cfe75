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
		Summary:    "What Reputation knows of addresses.",
		Takes:      []string{sdk.IP},
		BatchLimit: 20,
		DefaultTTL: time.Hour,
		New:        func() sdk.Instance { return &addresses{} },
	}
}

// addresses is the enrichment: what Reputation knows of an address.
type addresses struct{ client }

func (a *addresses) Config() any { return nil } // its block has no attributes of its own

// Enrich answers each question by itself: one that fails fails alone.
func (a *addresses) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	replies := make([]sdk.Reply, len(questions))
	for i, q := range questions {
		replies[i] = a.about(ctx, q.Observable.Value)
	}
	return replies, nil
}

func (a *addresses) about(ctx context.Context, ip string) sdk.Reply {
	var known struct {
		Score    int    `json:"score"`
		Category string `json:"category"`
		Reports  int    `json:"reports"`
	}
	err := a.call(ctx, http.MethodGet, "/v1/reputation?ip="+url.QueryEscape(ip), "", nil, &known)
	if told := (*sdk.Error)(nil); errors.Is(err, errNotThere) || errors.As(err, &told) && told.Reason == sdk.Invalid {
		return sdk.Reply{} // asked, and it has nothing, or cannot have it
	}
	if err != nil {
		return sdk.Reply{Err: err}
	}
	verdict := &sdk.Verdict{Disposition: sdk.Benign, Score: known.Score, Confidence: min(50+known.Reports, 100), Labels: []string{known.Category}}
	switch {
	case known.Score >= 80:
		verdict.Disposition = sdk.Malicious
	case known.Score >= 40:
		verdict.Disposition = sdk.Suspicious
	}
	return sdk.Reply{Answers: []sdk.Answer{{Verdict: verdict}}}
}
