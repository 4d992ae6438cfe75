package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	key = []byte("0123456789abcdef0123456789abcdef")
	now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func signed(id string, at time.Time, body string) *http.Request {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

func post(s *sink, r *http.Request) int {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func entries(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(content)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.ID, " ", e.Number, " ", string(e.Payload)))
	}
	return got
}

func TestSinkKeepsWhatIsSigned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.ndjson")
	journal, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{key: key, journal: journal, now: func() time.Time { return now }}
	for _, id := range []string{"i-1", "i-2", "i-1"} {
		if code := post(s, signed(id, now, `{"a":1}`)); code != http.StatusNoContent {
			t.Errorf("%s: %d", id, code)
		}
	}
	rotated := signed("i-3", now, `{}`)
	rotated.Header.Set("Webhook-Signature", "v1,AAAA v2,x "+rotated.Header.Get("Webhook-Signature"))
	if code := post(s, rotated); code != http.StatusNoContent {
		t.Errorf("with several signatures: %d", code)
	}
	if err := journal.close(); err != nil {
		t.Fatal(err)
	}

	// A crash leaves half a line; the ids are remembered.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.WriteString(`{"at":"2026-`)
	_ = file.Close()
	if s.journal, err = openJournal(path); err != nil {
		t.Fatal(err)
	}
	defer s.journal.close()
	if code := post(s, signed("i-1", now, `{}`)); code != http.StatusNoContent {
		t.Errorf("after a crash: %d", code)
	}
	want := []string{`i-1 1 {"a":1}`, `i-2 1 {"a":1}`, `i-1 2 {"a":1}`, `i-3 1 {}`, `i-1 3 {}`}
	if got := entries(t, path); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestSinkRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.ndjson")
	journal, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer journal.close()
	s := &sink{key: key, journal: journal, now: func() time.Time { return now }}
	for name, test := range map[string]struct {
		change func(*http.Request)
		at     time.Time
		body   string
		want   int
	}{
		"method":    {func(r *http.Request) { r.Method = http.MethodGet }, now, "{}", http.StatusMethodNotAllowed},
		"id":        {func(r *http.Request) { r.Header.Set("Webhook-Id", "other") }, now, "{}", http.StatusUnauthorized},
		"no id":     {func(r *http.Request) { r.Header.Del("Webhook-Id") }, now, "{}", http.StatusUnauthorized},
		"signature": {func(r *http.Request) { r.Header.Set("Webhook-Signature", "v1,AAAA") }, now, "{}", http.StatusUnauthorized},
		"version": {func(r *http.Request) {
			r.Header.Set("Webhook-Signature", strings.TrimPrefix(r.Header.Get("Webhook-Signature"), "v1,"))
		}, now, "{}", http.StatusUnauthorized},
		"replayed":  {func(*http.Request) {}, now.Add(-6 * time.Minute), "{}", http.StatusUnauthorized},
		"future":    {func(*http.Request) {}, now.Add(6 * time.Minute), "{}", http.StatusUnauthorized},
		"no JSON":   {func(*http.Request) {}, now, "{", http.StatusBadRequest},
		"too large": {func(*http.Request) {}, now, `"` + strings.Repeat("x", maxBody) + `"`, http.StatusBadRequest},
	} {
		r := signed("i-1", test.at, test.body)
		test.change(r)
		if code := post(s, r); code != test.want {
			t.Errorf("%s: %d, want %d", name, code, test.want)
		}
	}
	if got := entries(t, path); len(got) > 0 {
		t.Errorf("kept %q", got)
	}
}
