package main

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestRequests sends one request each. Events are shown as id and payload, with ! for
// those that are set aside; a random id as "request-".
func TestRequests(t *testing.T) {
	key := []string{"Idempotency-Key", "k"}
	for _, test := range []struct {
		name    string
		body    string
		headers []string
		status  int
		want    []string
		answer  string // a part of the error
	}{
		{"object", ` {"a": 1} `, key, 200, []string{`k:0 {"a": 1}`}, ""},
		{"object over several lines", "{\n\"a\":\n{}\n}", key, 200, []string{"k:0 {\n\"a\":\n{}\n}"}, ""},
		{"array", `[ {"a":1} , {"a" :2}]`, key, 200, []string{`k:0 {"a":1}`, `k:1 {"a" :2}`}, ""},
		{"lines", "{\"a\":1}\r\n\n{\"a\":2}", append(key, "Content-Type", "application/x-ndjson"), 200, []string{`k:0 {"a":1}`, `k:1 {"a":2}`}, ""},
		{"lines as JSON", "{\"a\":1}\n{\"a\":2}\n", key, 200, []string{`k:0 {"a":1}`, `k:1 {"a":2}`}, ""},
		{"no content type", `[{"a":1}]`, append(key, "Content-Type", ""), 200, []string{`k:0 {"a":1}`}, ""},
		{"cloud event", `{"a":1}`, append(key, "Content-Type", "application/cloudevents+json; charset=utf-8"), 200, []string{`k:0 {"a":1}`}, ""},
		{"webhook id", `{"a":1}`, []string{"webhook-id", "msg_1"}, 200, []string{`msg_1:0 {"a":1}`}, ""},
		{"random id", `{"a":1}`, nil, 200, []string{`request- {"a":1}`}, ""},
		{"other path", `{}`, append(key, "path", "/events"), 404, nil, "nothing here"},
		{"gzip", zipped(t, `[{"a":1}]`), append(key, "Content-Encoding", "gzip"), 200, []string{`k:0 {"a":1}`}, ""},
		{"byte order mark", "\xef\xbb\xbf{}", key, 200, []string{`k:0 {}`}, ""},
		{"no JSON", "hello", key, 200, []string{"!k:0 hello"}, ""},
		{"half an object", `{"a":`, key, 200, []string{`!k:0 {"a":`}, ""},
		{"half an array", `[{"a":1},{`, key, 200, []string{`!k:0 [{"a":1},{`}, ""},
		{"more after the array", `[{"a":1}] {}`, key, 200, []string{`!k:0 [{"a":1}] {}`}, ""},
		{"elements that are no objects", `[1,"x",[{}],null,{}]`, key, 200, []string{"!k:0 1", `!k:1 "x"`, "!k:2 [{}]", "!k:3 null", "k:4 {}"}, ""},
		{"a line that is none", "{}\nx\n{}", append(key, "Content-Type", "application/x-ndjson"), 200, []string{"k:0 {}", "!k:1 x", "k:2 {}"}, ""},
		{"empty", " \n", key, 400, nil, "is empty"},
		{"empty array", "[]", key, 400, nil, "no event"},
		{"key with a control character", `{}`, []string{"Idempotency-Key", "a\tb"}, 400, nil, "printable"},
		{"long key", `{}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, nil, "255"},
		{"no token", `{}`, []string{"Authorization", ""}, 401, nil, "bearer token"},
		{"wrong token", `{}`, []string{"Authorization", "Bearer " + secret + "x"}, 401, nil, "bearer token"},
		{"other scheme", `{}`, []string{"Authorization", "Basic " + secret}, 401, nil, "bearer token"},
		{"browser", `{}`, []string{"Origin", "https://evil.example"}, 403, nil, "browsers"},
		{"GET", ``, []string{"method", "GET"}, 405, nil, "POST"},
		{"form", `a=1`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, nil, "x-www-form-urlencoded"},
		{"brotli", `{}`, []string{"Content-Encoding", "br"}, 415, nil, `"br"`},
		{"broken gzip", `{"this is":"no gzip"}`, []string{"Content-Encoding", "gzip"}, 400, nil, "no gzip"},
		{"half a gzip", zipped(t, "{}")[:15], []string{"Content-Encoding", "gzip"}, 400, nil, "to its end"},
		{"too large", `{"a":"` + strings.Repeat("x", 4096) + `"}`, nil, 413, nil, "more than 4096 bytes"},
		{"too large when decompressed", zipped(t, strings.Repeat(" ", 1<<20)), []string{"Content-Encoding", "gzip"}, 413, nil, "more than 4096 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &core{}
			r := run(t, c, func(c *config) { c.MaxBody = 4096 })
			status, header, answer := r.post([]byte(test.body), test.headers...)
			if status != test.status {
				t.Errorf("status %d %v, want %d", status, answer, test.status)
			}
			var got []string
			aside := 0
			for _, e := range c.seen() {
				mark := ""
				if e.Problem != "" {
					mark = "!"
					aside++
				}
				if strings.HasPrefix(e.ID, "request-") {
					e.ID = "request-"
				}
				got = append(got, mark+e.ID+" "+string(e.Raw))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			text, _ := answer["error"].(string)
			if !strings.Contains(text, test.answer) || (text == "") != (status == 200) {
				t.Errorf("answer %v, want %q", answer, test.answer)
			}
			if n, _ := answer["events"].(float64); status == 200 && int(n) != len(got) {
				t.Errorf("answer %v of %d events", answer, len(got))
			}
			if n, _ := answer["set_aside"].(float64); int(n) != aside {
				t.Errorf("answer %v with %d set aside", answer, aside)
			}
			if status == 401 && header.Get("WWW-Authenticate") == "" || status == 405 && header.Get("Allow") != "POST" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

func TestIDField(t *testing.T) {
	c := &core{}
	r := run(t, c, func(c *config) { c.IDField, c.Path = "meta.id", "/events" })
	if status, _, answer := r.post([]byte(`[{"meta":{"id":"x"}},{"meta":{"id":12345678901234567890}},{"meta":{"id":""}},{"meta":[]},{}]`), "Idempotency-Key", "k"); status != 200 {
		t.Fatal(answer)
	}
	var ids []string
	for _, e := range c.seen() {
		ids = append(ids, e.ID)
	}
	if diff := cmp.Diff([]string{"x", "12345678901234567890", "k:2", "k:3", "k:4"}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestManyEventsInOneRequest(t *testing.T) {
	c := &core{}
	r := run(t, c, nil)
	if status, _, answer := r.post([]byte("[" + strings.Repeat("{},", maxEvents-1) + "{}]")); status != 200 || len(c.seen()) != maxEvents {
		t.Errorf("%d %v with %d events", status, answer, len(c.seen()))
	}
	for _, body := range []string{"[" + strings.Repeat("{},", maxEvents) + "{}]", strings.Repeat("{}\n", maxEvents+1)} {
		if status, _, _ := r.post([]byte(body)); status != 413 {
			t.Errorf("status %d for too many events, want 413", status)
		}
	}
}

// Somebody who sends nothing, or without end, holds nobody up.
func TestHostileConnections(t *testing.T) {
	c := &core{}
	r := run(t, c, nil)
	for range 20 {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, answer := r.post([]byte(`{}`)); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nX-Long: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log(err) // it may be cut before all is written
	}
	answer, _ := io.ReadAll(conn)
	if len(answer) > 0 && !bytes.Contains(answer, []byte(" 431 ")) {
		t.Errorf("answer to a long header: %q", answer)
	}
	// A body that stops in the middle.
	conn, err = net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "+secret+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":1}"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _, answer := r.post([]byte(`{}`)); status != 200 || len(c.seen()) != 2 {
		t.Errorf("%d %v with %d events: half a body must not be one", status, answer, len(c.seen()))
	}
}

func TestConnectionLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner, 1)
	accepted := make(chan net.Conn)
	done := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- conn
		}
	}()
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Error("two connections at once")
	default:
	}
	_ = first.Close()
	_ = first.Close() // once more changes nothing
	second := <-accepted
	_ = l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_ = second.Close()
}

// A port that somebody else has is told, and taken as soon as it is free.
func TestPortIsTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &core{}
	go func() {
		for c.trouble() == nil {
			time.Sleep(time.Millisecond)
		}
		_ = other.Close()
	}()
	r := run(t, c, func(c *config) { c.Listen = other.Addr().String() })
	if status, _, _ := r.post([]byte(`{}`)); status != 200 || c.trouble() != nil {
		t.Errorf("status %d, trouble %v", status, c.trouble())
	}
}

func TestOnceTakesNothing(t *testing.T) {
	i := &intake{}
	if err := i.Detect(t.Context(), sdk.Start{Once: true}, &core{}); err != nil {
		t.Error(err)
	}
}

// selfSigned writes a certificate for 127.0.0.1.
func selfSigned(t *testing.T, dir string, serial int64) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "kelpie"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, roots
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := selfSigned(t, dir, 1)
	c := &core{}
	r := run(t, c, func(c *config) { c.CertFile, c.KeyFile = sdk.Path(cert), sdk.Path(key) })
	r.url = "https://" + r.addr + "/"
	r.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	if status, _, answer := r.post([]byte(`{}`)); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
	old := &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if conn, err := tls.Dial("tcp", r.addr, old); err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.1")
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := selfSigned(t, dir, 1)
	pair := &certificate{cert: cert, key: key}
	if err := pair.load(time.Now()); err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		pair.looked = time.Time{}
		got, err := pair.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	write := func(at time.Time) {
		if err := os.Chtimes(cert, at, at); err != nil {
			t.Fatal(err)
		}
	}
	selfSigned(t, dir, 2)
	write(time.Now().Add(time.Minute))
	if n := serial(); n != 2 {
		t.Errorf("serial %d after it was replaced, want 2", n)
	}
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(time.Now().Add(2 * time.Minute))
	if n := serial(); n != 2 {
		t.Errorf("serial %d while the file is broken, want 2", n)
	}
}
