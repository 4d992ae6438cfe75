package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServers: what a server does that is none, or means ill.
func TestServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for text := bytes.Repeat([]byte("x"), 1<<16); ; {
				if _, err := w.Write(text); err != nil {
					return
				}
			}
		}, "more than the 4194304 bytes"},
		{"truncated", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "it ended too early"},
		{"slow", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "it did not come in time"},
		{"mute", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "it did not come in time"},
		{"broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the server answers 500"},
		{"away", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "there is no such file"},
		{"to another scheme", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host, http.StatusFound)
		}, "leads from http to https"},
		{"to another machine in clear", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "must begin with https://"},
		{"to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "again and again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.serve)
			defer server.Close()
			s := source(t, server.URL)
			if s.patience = time.Minute; strings.Contains(c.want, "in time") {
				s.patience = 50 * time.Millisecond
			}
			if _, err := s.Versions(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source(t, t.TempDir()).Versions(ctx, "acme"); err == nil {
		t.Error("a folder is read though nobody waits")
	}
}

func TestOpenSource(t *testing.T) {
	for where, want := range map[string]string{
		"https://plugins.example.org/kelpie": "", "http://127.0.0.1:8080": "", "http://[::1]/x": "", "http://localhost/": "", "plugins": "", "/srv/plugins": "",
		"":                              "empty",
		"http://plugins.example.org":    "must begin with https://",
		"http://localhost.example.org/": "must begin with https://",
		"ftp://plugins.example.org":     "must begin with https://",
		"file:///srv/plugins":           "no address",
		"https://a:b@example.org":       "no user",
		"https://example.org/?x=1":      "no user",
	} {
		if _, err := OpenSource(where, "/etc"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", where, err, want)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, IndexName), 0o755); err != nil {
		t.Fatal(err)
	}
	var wrong *FileError
	if _, err := source(t, dir).Versions(t.Context(), "acme"); !errors.As(err, &wrong) || wrong.Name != IndexName {
		t.Error(err)
	}
	if got := fmt.Sprint((&FileError{Where: "/srv/", Name: "a", Err: fs.ErrNotExist})); got != "/srv/a: there is no such file" {
		t.Error(got)
	}
}
