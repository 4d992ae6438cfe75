package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestService(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body, key string
		code                          int
		want                          string
	}{
		{"no key", "GET", "/v1/alerts", "", "", 401, "not one of ours"},
		{"first page", "GET", "/v1/alerts", "", "k", 200, `"page":1,"pages":3`},
		{"last page", "GET", "/v1/alerts?page=3", "", "k", 200, `"id":"a-5"`},
		{"since one", "GET", "/v1/alerts?since=a-4", "", "k", 200, `"page":1,"pages":1`},
		{"nothing new", "GET", "/v1/alerts?since=a-5", "", "k", 200, `"alerts":[]`},
		{"no such page", "GET", "/v1/alerts?page=0", "", "k", 400, "from 1"},
		{"since nothing", "GET", "/v1/alerts?since=b", "", "k", 400, "not the id"},
		{"known", "GET", "/v1/reputation?ip=203.0.113.10", "", "k", 200, `"score":95`},
		{"unknown", "GET", "/v1/reputation?ip=192.0.2.200", "", "k", 404, "nobody"},
		{"no address", "GET", "/v1/reputation?ip=mara", "", "k", 400, "not an address"},
		{"block", "POST", "/v1/blocks", `{"ip": "192.0.2.5"}`, "k", 201, `"id":"b-1"`},
		{"block nothing", "POST", "/v1/blocks", `{}`, "k", 400, "the body is"},
		{"no such block", "DELETE", "/v1/blocks/b-9", "", "k", 404, "no such block"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(newService("k", 10, time.Now), c.method, c.path, c.body, c.key)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
				t.Fatalf("%d %s, want %d and %q", w.Code, w.Body, c.code, c.want)
			}
		})
	}
}

func TestOneKeyBlocksOnce(t *testing.T) {
	s := newService("k", 10, time.Now)
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if w := ask(s, "POST", "/v1/blocks", `{"ip": "192.0.2.5"}`, "k"); w.Code != want {
			t.Fatalf("%d, want %d", w.Code, want)
		}
	}
	if w := ask(s, "DELETE", "/v1/blocks/b-1", "", "k"); w.Code != http.StatusNoContent {
		t.Fatalf("not taken back: %d", w.Code)
	}
	if w := ask(s, "GET", "/v1/blocks", "", "k"); w.Body.String() != "{\"blocks\":[]}\n" {
		t.Fatalf("still there: %s", w.Body)
	}
}

func TestQuota(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 50, 0, time.UTC)
	s := newService("k", 1, func() time.Time { return now })
	ask(s, "GET", "/v1/alerts", "", "k")
	w := ask(s, "GET", "/v1/alerts", "", "k")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "11" {
		t.Fatalf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	now = now.Add(11 * time.Second)
	if w := ask(s, "GET", "/v1/alerts", "", "k"); w.Code != http.StatusOK {
		t.Fatalf("the next minute has no quota: %d", w.Code)
	}
}

func ask(s *service, method, path, body, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Idempotency-Key", "once")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}
