package connectortest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask gives the status of an answer and its body, or what kept it from coming.
func ask(t *testing.T, a *API, method, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		return resp.StatusCode, "after " + after
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

func TestPages(t *testing.T) {
	a := NewAPI(t)
	l := &List{Size: 2, Items: "alerts"}
	l.Add("a", "b", "c")
	a.List("GET /alerts", l)
	page := func(after string) (items []string, next string, more bool) {
		_, body := ask(t, a, "GET", "/alerts?after="+after)
		var got struct {
			Alerts []string
			Next   string
			More   bool
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return got.Alerts, got.Next, got.More
	}
	var all []string
	cursor, more := "", true
	for more {
		var items []string
		items, cursor, more = page(cursor)
		all = append(all, items...)
	}
	l.Add("d")
	items, _, _ := page(cursor)
	if got := fmt.Sprint(append(all, items...)); got != "[a b c d]" {
		t.Errorf("got %s", got)
	}
	if again, _, _ := page("1"); fmt.Sprint(again) != "[b c]" {
		t.Errorf("an older cursor gives %v", again)
	}
	if status, _ := ask(t, a, "GET", "/alerts?after=x"); status != http.StatusBadRequest {
		t.Errorf("a cursor that is none: %d", status)
	}
	if one, _ := ask(t, a, "GET", "/alerts?limit=1"); one != 200 || a.Count("/alerts") != 6 {
		t.Errorf("%d, %d calls", one, a.Count("/alerts"))
	}
}

func TestTroubles(t *testing.T) {
	a := NewAPI(t)
	var effects Effects
	a.Handle("POST /act", func(w http.ResponseWriter, r *http.Request) {
		effects.Do(r.Header.Get("Key"), "acted")
		WriteJSON(w, map[string]string{"state": "done"})
	})
	for _, c := range []struct {
		name   string
		fault  Fault
		status int
		body   string // a part of it
		acts   int
	}{
		{"status", Status(503), 503, "Service Unavailable", 0},
		{"retry after", RetryAfter(7 * time.Second), 429, "after 7", 0},
		{"slow", Slow(time.Millisecond), 200, "done", 1},
		{"cut", Cut(), 0, "EOF", 0},
		{"lost", Lost(), 0, "EOF", 1},
		{"half", Half(), 0, "unexpected EOF", 1},
		{"page", Page(), 200, "<html>", 0},
		{"body", Body(`{"state": 7}`), 200, `"state": 7`, 0},
		{"none", nil, 200, "done", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(effects.Done())
			if c.fault != nil {
				a.Next(c.fault)
			}
			status, body := ask(t, a, "POST", "/act")
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %s", status, body)
			}
			if n := len(effects.Done()) - before; n != c.acts {
				t.Errorf("%d effects, want %d", n, c.acts)
			}
		})
	}
	// Over a connection that was used before, as a connector's are.
	used := &http.Client{}
	defer used.CloseIdleConnections()
	for _, fault := range []Fault{nil, Cut(), nil, Lost()} {
		before := len(effects.Done())
		if fault != nil {
			a.Next(fault)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", a.URL+"/act", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "k")
		resp, err := used.Do(req)
		if (err == nil) != (fault == nil) || len(effects.Done())-before > 1 {
			t.Errorf("%v, %v, %d effects", resp, err, len(effects.Done())-before)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	a.Next(Hang())
	client := http.Client{Timeout: 20 * time.Millisecond}
	if resp, err := client.Post(a.URL+"/act", "", nil); !os.IsTimeout(err) {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestTokenAndQuota(t *testing.T) {
	a := NewAPI(t)
	a.JSON("GET /x", "x")
	a.Require("one")
	status := func(token string) int {
		s, _ := ask(t, a, "GET", "/x", "Authorization", "Bearer "+token)
		return s
	}
	if status("") != 401 || status("one") != 200 {
		t.Error("the token is not required")
	}
	a.Require("two") // it has expired
	if status("one") != 401 || status("two") != 200 {
		t.Error("the older token is good")
	}
	for header, value := range map[string]string{"X-API-Key": "two", "Authorization": "ApiKey two"} {
		if s, _ := ask(t, a, "GET", "/x", header, value); s != 200 {
			t.Errorf("the token in %s: %s is not taken", header, value)
		}
	}
	if s, _ := ask(t, a, "GET", "/x", "X-API-Key", "two of them"); s != 401 {
		t.Error("a text with the token in it is taken")
	}
	a.Quota(1, 9*time.Second)
	if status("two") != 200 {
		t.Error("the quota is less than 1")
	}
	if s, after := ask(t, a, "GET", "/x", "Authorization", "Bearer two"); s != 429 || after != "after 9" {
		t.Errorf("above the quota: %d %s", s, after)
	}
	a.Quota(-1, 0)
	if status("two") != 200 {
		t.Error("there is a quota")
	}
	var got []int
	for _, c := range a.Calls() {
		got = append(got, c.Status)
	}
	if fmt.Sprint(got) != "[401 200 401 200 200 200 401 200 429 200]" {
		t.Errorf("calls %v", got)
	}
}

func TestEffectsAndClock(t *testing.T) {
	var e Effects
	got := []bool{e.Do("k", "a"), e.Do("k", "a"), e.Do("", "b"), e.Do("", "b"), e.Had("k"), e.Had("l")}
	if fmt.Sprint(got, e.Done()) != "[true false true true true false] [a b b]" {
		t.Errorf("%v %v", got, e.Done())
	}
	c := NewClock(time.Unix(0, 0))
	c.Advance(time.Hour)
	if c.Now() != time.Unix(3600, 0) {
		t.Errorf("it is %v", c.Now())
	}
}

// TestRecording: what was recorded is played again, and holds no key.
func TestRecording(t *testing.T) {
	real := NewAPI(t)
	real.Require("s3cret-token")
	n := 0
	real.Handle("GET /alerts", func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Set-Cookie", "id=s3cret-cookie")
		WriteJSON(w, map[string]any{"n": n, "after": r.URL.Query().Get("after")})
	})
	folder := filepath.Join(t.TempDir(), "api")
	play := func(t *testing.T, a *API) string {
		var all []string
		for _, path := range []string{"/alerts?after=", "/alerts?after=1", "/alerts?after=1", "/missing"} {
			status, body := ask(t, a, "GET", path, "Authorization", "Bearer s3cret-token")
			all = append(all, fmt.Sprint(status, " ", body))
		}
		return strings.Join(all, "\n")
	}
	t.Setenv(RecordEnv, real.URL)
	want := play(t, Recorded(t, folder))
	if !strings.Contains(want, `200 {"after":"1","n":3}`) || !strings.Contains(want, "404") {
		t.Fatal(want)
	}
	t.Setenv(RecordEnv, "")
	if got := play(t, Recorded(t, folder)); got != want {
		t.Errorf("recorded\n%s\nplayed\n%s", want, got)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.http"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(text), "s3cret") {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
}

func TestRecordingsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "no request",
		"alerts\n\nHTTP/1.1 200 OK\n\n":  "no request",
		"GET /a\n\nHTTP/1.1 200 OK":      "no empty line",
		"GET /a\n\nhello\n\n{}":          "head",
		"GET /a\n\nHTTP/1.1 200 OK\n\nx": "",
	} {
		_, a, err := parseRecording([]byte(text))
		if want == "" {
			if err != nil || a.status != 200 || string(a.body) != "x" {
				t.Errorf("%q: %+v, %v", text, a, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := readRecording(t.TempDir()); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

// failing is a test that is to fail.
type failing struct {
	testing.TB
	said []string
}

func (f *failing) Helper()                   {}
func (f *failing) Errorf(s string, a ...any) { f.said = append(f.said, fmt.Sprintf(s, a...)) }

// TestNotRecorded: a request that nobody recorded fails the test that makes it.
func TestNotRecorded(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.http"), []byte("GET /a\n\nHTTP/1.1 204 No Content\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	answers, err := readRecording(folder)
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{TB: t}
	a := NewAPI(t)
	a.Handle("/", (&player{t: f, folder: folder, answers: answers}).serve)
	if status, _ := ask(t, a, "GET", "/a"); status != 204 || len(f.said) != 0 {
		t.Errorf("%d, %q", status, f.said)
	}
	if status, _ := ask(t, a, "GET", "/b"); status != 501 || len(f.said) != 1 || !strings.Contains(f.said[0], "GET /b is answered by no file") {
		t.Errorf("%d, %q", status, f.said)
	}
}
