package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCertified: a certificate that can't be used is complained about at the line that
// names the file; one that browsers would warn of is warned about.
func TestCertified(t *testing.T) {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	certify := func(name string, until time.Time) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		as := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: now.Add(-time.Hour), NotAfter: until}
		cert, err := x509.CreateCertificate(rand.Reader, as, as, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, diags := Parse(&Source{Dir: dir, Files: []File{{Name: "config.hcl", Text: `kelpie {
  listen     = "0.0.0.0:8443"
  public_url = "https://kelpie.example.org/"
  tls {
    cert = "cert.pem"
    key  = "key.pem"
  }
}
`}}})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if c.Web.PublicURL != "https://kelpie.example.org" || c.Web.Cert != filepath.Join(dir, "cert.pem") {
		t.Errorf("%+v", c.Web)
	}
	says := func(what string, line int, text string) {
		t.Helper()
		m := Messages(c.Certified(now), nil)
		if text == "" && len(m) == 0 {
			return
		}
		if len(m) != 1 || m[0].Severity != what || m[0].Line != line || !strings.Contains(m[0].Summary+" "+m[0].Detail, text) {
			t.Errorf("want %s in line %d: %q, got %+v", what, line, text, m)
		}
	}
	says("error", 5, "There is no ")
	certify("kelpie.example.org", now.Add(time.Hour))
	says("", 0, "")
	certify("other.example.org", now.Add(time.Hour))
	says("warning", 5, "not for kelpie.example.org")
	certify("kelpie.example.org", now.Add(-time.Minute))
	says("warning", 5, "Expired certificate")
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	says("error", 5, "no certificate and its key")
	if err := os.Remove(filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	says("error", 6, "key.pem")
}

// TestLocalListen: where only this machine reaches the page, its address is where people do.
func TestLocalListen(t *testing.T) {
	for text, want := range map[string]string{
		`listen = "127.0.0.1:8420"`: "http://127.0.0.1:8420", `listen = "[::1]:8420"`: "http://[::1]:8420",
		`listen = "localhost:8420"`: "http://localhost:8420", ``: "",
	} {
		c, diags := Parse(&Source{Files: []File{{Name: "config.hcl", Text: "kelpie {\n  " + text + "\n}\n"}}})
		if len(diags) > 0 || c.Web.PublicURL != want {
			t.Errorf("%s: %q %v", text, c.Web.PublicURL, diags)
		}
	}
}
