package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk/connectortest"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// far is Acme as far as the tests need it: they fill it, trouble it, and look at what became
// of it. It has to do what the real one does.
type far struct {
	*connectortest.API
	sdktest.Trouble

	mu       sync.Mutex
	alerts   []json.RawMessage
	keys     map[string]bool // that came with an order
	isolated map[string]int  // how often each host is
}

const token = "a-token-that-turns-up-nowhere"

func newFar(t testing.TB) *far {
	t.Helper()
	f := &far{API: connectortest.NewAPI(t), keys: map[string]bool{}, isolated: map[string]int{}}
	f.Require(token)
	f.route("GET /v1/alerts", f.list)
	f.route("GET /v1/hosts", f.host)
	f.route("POST /v1/isolations", f.order)
	f.route("GET /v1/isolations", f.outcome)
	return f
}

// route answers one request after another, with the troubles of the conformance suite.
func (f *far) route(pattern string, answer http.HandlerFunc) {
	f.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		if f.Limited() {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "{}", http.StatusTooManyRequests)
			return
		}
		f.Hold()
		f.mu.Lock()
		defer f.mu.Unlock()
		answer(w, r)
	})
}

// list answers a page of alerts.
func (f *far) list(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("after")) // the first time there is none
	from = min(from, len(f.alerts))
	to := min(from+100, len(f.alerts))
	connectortest.WriteJSON(w, map[string]any{"items": append([]json.RawMessage{}, f.alerts[from:to]...), "next": strconv.Itoa(to), "more": to < len(f.alerts)})
}

// host knows every host but one.
func (f *far) host(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "nobody" {
		http.NotFound(w, r)
		return
	}
	connectortest.WriteJSON(w, map[string]any{"name": name, "owner": "kim@example.org", "roles": []string{"workstation"}})
}

// order isolates or releases a host, once for a key.
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

// outcome says what became of an order.
func (f *far) outcome(w http.ResponseWriter, r *http.Request) {
	connectortest.WriteJSON(w, map[string]any{"id": "r-1", "state": map[bool]string{true: "done", false: "none"}[f.keys[r.URL.Query().Get("key")]]})
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

// state is what the orders came to.
func (f *far) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.isolated)
}
