package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	w := newWorld(t)
	handler := WithProfiles(w.handler)
	ask := func(h http.Handler, method, path string) *http.Response {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return r.Result()
	}
	for _, path := range []string{"heap", "allocs", "goroutine", "cpu?seconds=1"} {
		res := ask(handler, "GET", "/debug/profile/"+path)
		z, err := gzip.NewReader(res.Body)
		if res.StatusCode != http.StatusOK || err != nil {
			t.Fatalf("%s: %s, %v", path, res.Status, err)
		}
		if data, err := io.ReadAll(z); err != nil || len(data) < 100 {
			t.Errorf("%s: a profile of %d bytes, %v", path, len(data), err)
		}
	}
	for path, want := range map[string]string{
		"GET /debug/profile/cpu":             `400 {"error":"seconds must be`,
		"GET /debug/profile/cpu?seconds=0":   `400 {"error":"seconds must be`,
		"GET /debug/profile/cpu?seconds=601": `400 {"error":"seconds must be`,
		"GET /debug/profile/cmdline":         `404 {"error":"there is no such profile`,
		"GET /debug/pprof/heap":              `404 {"error":"there is no such path`,
		"GET /v1/nothing":                    `404 {"error":"there is no such path`,
		"GET /v1/cases":                      `200 `,
	} {
		method, p, _ := strings.Cut(path, " ")
		res := ask(handler, method, p)
		body, _ := io.ReadAll(res.Body)
		if got := res.Status[:4] + string(body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	// What is served elsewhere than on the local socket has none of it.
	for _, path := range []string{"/debug/profile/heap", "/debug/profile/cpu?seconds=1", "/debug/pprof/"} {
		if res := ask(w.handler, "GET", path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s without profiles: %s", path, res.Status)
		}
	}
}
