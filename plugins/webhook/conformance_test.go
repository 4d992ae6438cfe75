package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// standard is a receiver that takes a webhook-id once, as Standard Webhooks wants it.
type standard struct {
	sdktest.Trouble
	mu    sync.Mutex
	taken map[string]bool
}

func (s *standard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if s.Limited() {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.Hold()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[r.Header.Get("Webhook-Id")] = true
}

func (s *standard) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d: %s", len(s.taken), strings.Join(slices.Sorted(maps.Keys(s.taken)), " "))
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	receiver := &standard{taken: map[string]bool{}}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	const bearer = "Bearer of-these-tidings"
	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."),
		Instances: []conformance.Instance{{
			Name: "action.hook", Kind: sdk.KindAction,
			Config:  map[string]any{"url": server.URL + "/hook?tenant=soc", "secret": secret, "previous_secret": older, "authorization": bearer},
			Secrets: []string{secret, older, bearer},
			Acts: []conformance.Act{
				{Verb: "notify", Target: sdk.Target{Kind: "address", Value: "soc@example.org"}, Parameters: map[string]any{"text": "look at ws-17"}, State: receiver.state},
				{Verb: "run", Target: sdk.Target{Kind: sdk.Host, Value: "ws-17"}, Parameters: map[string]any{"name": "open_ticket"}, State: receiver.state},
			},
			Limit: receiver.Limit, Stall: receiver.Stall,
		}},
	})
}
