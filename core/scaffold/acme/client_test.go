package main

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
)

// clientOf is a client of an API of the test.
func clientOf(t *testing.T, api *connectortest.API) client {
	t.Helper()
	c := client{connection: connection{URL: api.URL, Token: token}}
	if complaints := c.Validate(); len(complaints) > 0 {
		t.Fatal(complaints)
	}
	if err := c.Open(t.Context(), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestDescribed: what the plugin says of itself is what it does.
func TestDescribed(t *testing.T) {
	if _, err := sdk.NewServer(plugin()); err != nil {
		t.Error(err)
	}
}

// TestErrors: each trouble says whose fault it is, and when to ask again.
func TestErrors(t *testing.T) {
	f := newFar(t)
	c := clientOf(t, f.API)
	for name, want := range map[string]struct {
		fault  connectortest.Fault
		reason sdk.Reason
		wait   time.Duration
	}{
		"a limit":       {connectortest.RetryAfter(7 * time.Second), sdk.Retry, 7 * time.Second},
		"no rights":     {connectortest.Status(http.StatusForbidden), sdk.Denied, 0},
		"not there":     {connectortest.Cut(), sdk.Retry, 0},
		"cut off":       {connectortest.Half(), sdk.Retry, 0},
		"broken":        {connectortest.Status(http.StatusInternalServerError), sdk.Failed, 0},
		"a login page":  {connectortest.Page(), sdk.Failed, 0},
		"another shape": {connectortest.Body(`{"next": {"deep": []}}`), sdk.Failed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var answer struct {
				Next string `json:"next"`
			}
			f.Next(want.fault)
			err := c.call(t.Context(), http.MethodGet, "/v1/alerts", "", nil, &answer)
			var told *sdk.Error
			if !errors.As(err, &told) || told.Reason != want.reason || told.RetryAfter != want.wait || told.Fault != sdk.FaultVendor {
				t.Errorf("%+v", err)
			}
		})
	}
	f.Require("another-token") // ours has expired
	var told *sdk.Error
	if err := c.call(t.Context(), http.MethodGet, "/v1/alerts", "", nil, &struct{}{}); !errors.As(err, &told) || told.Reason != sdk.Denied {
		t.Errorf("a token that has expired: %v", err)
	}
}

// TestAddress: a token is not sent in the clear.
func TestAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://acme.example.org": true, "http://127.0.0.1:8080": true, "http://acme.example.org": false, "acme.example.org": false, "": false,
	} {
		c := client{connection: connection{URL: address}}
		if complaints := c.Validate(); (len(complaints) == 0) != good {
			t.Errorf("%q: %v", address, complaints)
		}
	}
}
