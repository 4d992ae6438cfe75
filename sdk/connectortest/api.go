// Package connectortest is the far end for the tests of a connector: small HTTP APIs with
// the troubles that vendors' have (paging, quotas, tokens that expire, slow, broken and
// lost answers), effects that are counted, recorded answers, and a clock.
//
// It serves plain HTTP on 127.0.0.1. Everything is safe for concurrent use, and ends with
// the test.
package connectortest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// API is a vendor's HTTP API. Make one with NewAPI, tell it what to answer with Handle,
// JSON and List, and what is to go wrong with Next, Quota and Require.
type API struct {
	// URL is its address, without a slash at the end.
	URL string

	mux *http.ServeMux

	mu     sync.Mutex
	calls  []Call
	faults []Fault
	token  string
	quota  int // requests left; less than 0: no limit
	retry  time.Duration
}

// Call is a request that came, whatever became of it.
type Call struct {
	Method string
	Path   string // with its query
	Header http.Header
	Body   []byte
	Status int // that was answered; 0: the connection was cut
}

// NewAPI serves an API until the test ends.
func NewAPI(t testing.TB) *API {
	t.Helper()
	a := &API{mux: http.NewServeMux(), quota: -1}
	server := httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(server.Close)
	a.URL = server.URL
	return a
}

// Handle answers requests that match a pattern, as http.ServeMux has them: "GET
// /v1/hosts/{name}".
func (a *API) Handle(pattern string, answer http.HandlerFunc) { a.mux.HandleFunc(pattern, answer) }

// JSON answers requests that match a pattern with a value.
func (a *API) JSON(pattern string, value any) {
	a.Handle(pattern, func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, value) })
}

// WriteJSON answers with a value. Texts stand in it as they are, < and & too.
func WriteJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // who does not read it any more has gone
}

// Require has requests refused with 401 that do not bear a token, in whatever header, alone
// or after a word such as Bearer; an empty one lets all come. To change it is how a token
// expires.
func (a *API) Require(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
}

// Quota lets so many more requests through, and answers those after them with 429 and
// Retry-After, until it is called again. Less than 0: no limit.
func (a *API) Quota(requests int, retryAfter time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quota, a.retry = requests, retryAfter
}

// Next has something go wrong with the next requests, one fault each.
func (a *API) Next(faults ...Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, faults...)
}

// Calls that came so far, in the order of their answers.
func (a *API) Calls() []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// Count says how many calls came to a path, its query left aside.
func (a *API) Count(path string) int {
	n := 0
	for _, c := range a.Calls() {
		if before, _, _ := strings.Cut(c.Path, "?"); before == path {
			n++
		}
	}
	return n
}

// maxBody bounds what is kept of a request.
const maxBody = 16 << 20

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // who sent it has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept := &answer{ResponseWriter: w, status: http.StatusOK}
	// A handler that cuts the connection panics with http.ErrAbortHandler.
	defer func() { a.note(Call{r.Method, r.URL.RequestURI(), r.Header.Clone(), body, kept.status}) }()
	if a.refuse(kept, r) {
		return
	}
	if fault, ok := a.fault(); ok {
		fault(kept, r, a.mux)
		return
	}
	a.mux.ServeHTTP(kept, r)
}

// refuse answers what has no token or is above the quota.
func (a *API) refuse(w http.ResponseWriter, r *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.token != "" && !bears(r.Header, a.token):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, `{"error": "the token is not valid"}`, http.StatusUnauthorized)
	case a.quota == 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(a.retry.Seconds())))
		http.Error(w, `{"error": "too many requests"}`, http.StatusTooManyRequests)
	default:
		a.quota = max(a.quota-1, -1)
		return false
	}
	return true
}

func bears(header http.Header, token string) bool {
	for _, values := range header {
		for _, value := range values {
			_, after, _ := strings.Cut(value, " ")
			if value == token || after == token {
				return true
			}
		}
	}
	return false
}

func (a *API) fault() (Fault, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.faults) == 0 {
		return nil, false
	}
	next := a.faults[0]
	a.faults = a.faults[1:]
	return next, true
}

func (a *API) note(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, c)
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
