package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk/connectortest"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// far is Reputation as far as the tests need it: they fill it, trouble it, and look at what became
// of it. It has to do what the real one does.
type far struct {
	*connectortest.API
	sdktest.Trouble

	mu     sync.Mutex
	alerts []json.RawMessage
	blocks []block
	made   int
}

const token = "a-token-that-turns-up-nowhere"

func newFar(t testing.TB) *far {
	t.Helper()
	f := &far{API: connectortest.NewAPI(t)}
	f.Require(token)
	f.route("GET /v1/alerts", f.list)
	f.route("GET /v1/reputation", f.reputation)
	f.route("GET /v1/blocks", f.listBlocks)
	f.route("POST /v1/blocks", f.addBlock)
	f.route("DELETE /v1/blocks/{id}", f.removeBlock)
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

// list answers the first page of the alerts after one.
func (f *far) list(w http.ResponseWriter, r *http.Request) {
	const size = 100
	all := f.alerts
	if since := r.URL.Query().Get("since"); since != "" {
		for all = f.alerts; len(all) > 0; all = all[1:] {
			if event(all[0]).ID == since {
				all = all[1:]
				break
			}
		}
	}
	pages := (len(all) + size - 1) / size
	connectortest.WriteJSON(w, map[string]any{"alerts": append([]json.RawMessage{}, all[:min(size, len(all))]...), "page": 1, "pages": pages})
}

// reputation knows every address but one.
func (f *far) reputation(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("ip") == "192.0.2.200" {
		http.NotFound(w, r)
		return
	}
	connectortest.WriteJSON(w, map[string]any{"score": 95, "category": "scanner", "reports": 7})
}

func (f *far) listBlocks(w http.ResponseWriter, _ *http.Request) {
	connectortest.WriteJSON(w, map[string]any{"blocks": append([]block{}, f.blocks...)})
}

// addBlock makes one block for a key.
func (f *far) addBlock(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	i := slices.IndexFunc(f.blocks, func(b block) bool { return b.Key == key })
	if i < 0 {
		f.made++
		f.blocks = append(f.blocks, block{ID: "b-" + strconv.Itoa(f.made), Key: key})
		i = len(f.blocks) - 1
	}
	connectortest.WriteJSON(w, f.blocks[i])
}

func (f *far) removeBlock(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(f.blocks, func(b block) bool { return b.ID == r.PathValue("id") })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	f.blocks = slices.Delete(f.blocks, i, i+1)
	w.WriteHeader(http.StatusNoContent)
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

// state is how many blocks there are.
func (f *far) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(len(f.blocks))
}
