package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/connectortest"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// far is Acme as far as the suite needs it, which looks at what became of it.
type far struct {
	sdktest.Trouble
	mu       sync.Mutex
	alerts   []json.RawMessage
	keys     map[string]bool
	isolated map[string]int // how often each host is
}

const token = "a-token-that-turns-up-nowhere"

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, "{}", http.StatusUnauthorized)
		return
	}
	if f.Limited() {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "{}", http.StatusTooManyRequests)
		return
	}
	f.Hold()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch query := r.URL.Query(); r.Method + " " + r.URL.Path {
	case "GET /v1/alerts":
		from, _ := strconv.Atoi(query.Get("after")) // the first time there is none
		from = min(from, len(f.alerts))
		to := min(from+100, len(f.alerts))
		connectortest.WriteJSON(w, map[string]any{"items": append([]json.RawMessage{}, f.alerts[from:to]...), "next": strconv.Itoa(to), "more": to < len(f.alerts)})
	case "GET /v1/hosts":
		connectortest.WriteJSON(w, map[string]any{"name": query.Get("name"), "owner": "kim@example.org"})
	case "POST /v1/isolations":
		f.order(w, r)
	case "GET /v1/isolations":
		connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": map[bool]string{true: "done", false: "none"}[f.keys[query.Get("key")]]})
	default:
		http.NotFound(w, r)
	}
}

func (f *far) order(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Host     string `json:"host"`
		Isolated bool   `json:"isolated"`
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if f.keys[key] {
		connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": "already", "same_key": true})
		return
	}
	f.keys[key] = true
	if f.isolated[order.Host]++; !order.Isolated {
		f.isolated[order.Host] -= 2
	}
	connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": "done"})
}

// fill makes these the alerts that there are.
func (f *far) fill(payloads [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alerts = nil
	for _, p := range payloads {
		f.alerts = append(f.alerts, p)
	}
	return nil
}

func (f *far) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.isolated) // by host
}

// conform runs the suite that every plugin has to pass.
func conform(t *testing.T, binary string) {
	t.Helper()
	f := &far{keys: map[string]bool{}, isolated: map[string]int{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	settings := conformance.Settings{Binary: binary}
	for _, c := range plugin().Connectors {
		in := conformance.Instance{
			Name: fmt.Sprintf("%s.acme", c.Kind), Kind: c.Kind,
			Connection: map[string]any{"url": server.URL, "token": token}, Secrets: []string{token},
			Limit: f.Limit, Stall: f.Stall,
		}
		switch c.Kind {
		case sdk.KindDetector:
			in.Config, in.Fill = map[string]any{"every": "1s"}, f.fill
		case sdk.KindAction:
			in.Acts = []conformance.Act{{Verb: "isolate_host", Target: sdk.Target{Kind: sdk.Host, Value: "ws-17"}, State: f.state}}
		}
		settings.Instances = append(settings.Instances, in)
	}
	sdktest.Conform(t, settings)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	conform(t, sdktest.Build(t, "."))
}
