package sdk

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func client(t *testing.T, o HTTPOptions) *http.Client {
	t.Helper()
	c, err := NewHTTPClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestHTTPClientVerifiesTLS(t *testing.T) {
	var agent string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agent = r.UserAgent() }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is to fail
	server.StartTLS()
	defer server.Close()
	if _, err := get(t, client(t, HTTPOptions{}), server.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown CA: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, client(t, HTTPOptions{CAFile: ca, UserAgent: "kelpie-x/1"}), server.URL); err != nil {
		t.Errorf("with ca_file: %v", err)
	}
	if agent != "kelpie-x/1" {
		t.Errorf("user agent %q", agent)
	}
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{ca, ca + ".absent"} {
		if _, err := NewHTTPClient(HTTPOptions{CAFile: file}); err == nil || !strings.Contains(err.Error(), "ca_file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestHTTPClientFollowsRedirectsWithinAHost(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked, with key %q", r.Header.Get("X-Key"))
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	}))
	defer server.Close()
	c := client(t, HTTPOptions{})
	if _, err := get(t, c, server.URL+"/near"); err != nil {
		t.Errorf("within the host: %v", err)
	}
	if _, err := get(t, c, server.URL+"/away"); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("to another host: %v", err)
	}
	if _, err := get(t, c, server.URL+"/loop"); err == nil || !strings.Contains(err.Error(), "too many redirects") {
		t.Errorf("for ever: %v", err)
	}
}

func TestHTTPClientTimesOut(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	_, err := get(t, client(t, HTTPOptions{Timeout: 20 * time.Millisecond}), server.URL)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestReadBody(t *testing.T) {
	body := func(text string) *http.Response {
		return &http.Response{Body: io.NopCloser(strings.NewReader(text))}
	}
	if got, err := ReadBody(body("12345"), 5); err != nil || string(got) != "12345" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ReadBody(body("123456"), 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
}
