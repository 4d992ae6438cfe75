package web

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certify writes a certificate for a name.
func certify(t *testing.T, dir, name string, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	as := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: now.Add(-time.Hour), NotAfter: until}
	cert, err := x509.CreateCertificate(rand.Reader, as, as, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, s Settings) *Listener {
	t.Helper()
	l, err := Open(s, slog.New(slog.DiscardHandler), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	l.Serve(newSite(t).Page)
	t.Cleanup(func() { l.Close() })
	return l
}

func (l *Listener) shows(t *testing.T) string {
	t.Helper()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("it speaks %q", p)
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// TestCertificate: files that have changed are read again; while they make no sense, the
// certificate of before is shown, and that is told.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Listen: "127.0.0.1:0", Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	clock := now
	if _, err := Open(s, slog.Default(), time.Now); err == nil || !strings.Contains(err.Error(), "there is no ") {
		t.Errorf("without files: %v", err)
	}
	certify(t, dir, "first.example.org", now.Add(90*24*time.Hour))
	l := open(t, s)
	l.now, l.cert.Load().now = func() time.Time { return clock }, func() time.Time { return clock }
	if got := l.shows(t); got != "first.example.org" || l.Trouble() != "" {
		t.Errorf("%s, trouble %q", got, l.Trouble())
	}
	certify(t, dir, "second.example.org", now.Add(24*time.Hour))
	clock = clock.Add(lookAgain)
	if got := l.shows(t); got != "second.example.org" || !strings.Contains(l.Trouble(), "expires on 2027-01-03") {
		t.Errorf("%s, trouble %q", got, l.Trouble())
	}
	if err := os.WriteFile(s.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(lookAgain)
	if got := l.shows(t); got != "second.example.org" || !strings.Contains(l.Trouble(), "can't be read again") {
		t.Errorf("%s, trouble %q", got, l.Trouble())
	}
	certify(t, dir, "third.example.org", now.Add(90*24*time.Hour))
	clock = clock.Add(lookAgain)
	if got := l.shows(t); got != "third.example.org" || l.Trouble() != "" {
		t.Errorf("%s, trouble %q", got, l.Trouble())
	}
	// Other settings with the same address.
	other := t.TempDir()
	certify(t, other, "fourth.example.org", now.Add(90*24*time.Hour))
	s.Cert, s.Key = filepath.Join(other, "cert"), filepath.Join(dir, "key")
	if _, err := l.Become(s); err == nil {
		t.Error("a certificate with another's key")
	}
	s.Key = filepath.Join(other, "key")
	keep, err := l.Become(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.shows(t); got != "third.example.org" {
		t.Errorf("too early: %s", got)
	}
	if keep(); l.shows(t) != "fourth.example.org" {
		t.Error("the certificate is the one of before")
	}
}

func TestInUse(t *testing.T) {
	l := open(t, Settings{Listen: "127.0.0.1:0"})
	_, err := Open(Settings{Listen: l.Addr().String()}, slog.Default(), time.Now)
	if err == nil || !strings.Contains(err.Error(), "another program listens there already") {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Settings{Listen: l.Addr().String()}, slog.Default(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestFloods: connections that say nothing, too much, or come in masses keep nobody else
// from an answer.
func TestFloods(t *testing.T) {
	l := open(t, Settings{Listen: "127.0.0.1:0"})
	get := func() error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		r, err := c.Get("http://" + l.Addr().String() + "/a/x")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != 404 {
			return fmt.Errorf("status %d", r.StatusCode)
		}
		return nil
	}
	var slow []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /a/x HTTP/1.1\r\nHost: a\r\nX-")
		slow = append(slow, c)
	}
	if err := get(); err != nil {
		t.Errorf("beside slow ones: %v", err)
	}
	big, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	fmt.Fprintf(big, "GET /a/x HTTP/1.1\r\nHost: a\r\nX-Long: %s\r\n\r\n", strings.Repeat("a", maxHeader+8<<10))
	line, err := bufio.NewReader(big).ReadString('\n')
	if !strings.Contains(line, "431") {
		t.Errorf("a huge header: %q %v", line, err)
	}
	// Who says nothing is hung up on.
	for _, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(2 * headerTimeout))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("a slow connection stays open: %v", err)
		}
	}
	if err := get(); err != nil {
		t.Errorf("after slow ones: %v", err)
	}
}

// TestBound: of one address and in all only so many connections are open.
func TestBound(t *testing.T) {
	b := &bound{of: map[netip.Addr]int{}}
	one, in := netip.MustParseAddr("192.0.2.1"), 0
	for range 2 * mostOfOne {
		if b.enter(one) {
			in++
		}
	}
	if in != mostOfOne {
		t.Errorf("%d of one address", in)
	}
	for i := range 2 * mostOpen {
		if b.enter(netip.MustParseAddr(fmt.Sprintf("198.51.%d.%d", i/250, i%250))) {
			in++
		}
	}
	if in != mostOpen || len(b.of) > mostOpen {
		t.Errorf("%d in all, %d addresses", in, len(b.of))
	}
	b.leave(one)
	if !b.enter(one) || b.enter(one) {
		t.Error("who leaves makes room for one")
	}
}
