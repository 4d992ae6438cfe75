package decide

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func TestOwn(t *testing.T) {
	s := &Settings{
		Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/48")},
		Domains:  []string{"example.org", ".Corp.Test."},
	}
	for _, c := range []struct {
		kind, value string
		own         bool
	}{
		{sdk.IP, "198.51.100.7", true},
		{sdk.IP, "198.51.101.7", false},
		{sdk.IP, "2001:db8:1::7", true},
		{sdk.IP, "2001:db8:2::7", false},
		{sdk.IP, "10.1.2.3", true}, // nobody outside can know it
		{sdk.IP, "127.0.0.1", true},
		{sdk.IP, "fe80::1", true},
		{sdk.IP, "fd00::1", true},
		{sdk.IP, "8.8.8.8", false},
		{sdk.Domain, "example.org", true},
		{sdk.Domain, "vpn.a.example.org", true},
		{sdk.Domain, "notexample.org", false},
		{sdk.Domain, "example.org.evil.test", false},
		{sdk.Domain, "host.corp.test", true},
		{sdk.Host, "ws-17", true},
		{sdk.Host, "ws-17.example.org", true},
		{sdk.Host, "c2.evil.test", false},
		{sdk.Email, "kim@example.org", true},
		{sdk.Email, "kim@mail.example.org", true},
		{sdk.Email, "someone@evil.test", false},
		{sdk.User, `corp\kim`, true},
		{sdk.Account, "kim", true},
		{sdk.MAC, "00:11:22:33:44:55", true},
		{sdk.File, `c:\users\kim\x.exe`, true},
		{sdk.Process, "x.exe", true},
		{sdk.Resource, "arn:aws:s3:::secret", true},
		{sdk.Hash, strings.Repeat("a", 64), false},
		{sdk.URL, "http://evil.test/x?y=1", false},
		{sdk.URL, "http://198.51.100.7/", true},
		{sdk.URL, "http://intranet/", true},
		{sdk.URL, "http://[2001:db8:1::7]:8080/", true},
		{sdk.URL, "http://[2001:db8:2::7]:8080/", false},
		{sdk.URL, "https://evil.test/login?for=kim@example.org", true},
		{sdk.URL, "https://evil.test/login?for=kim%40example%2Eorg", true},
		{sdk.URL, "https://evil.test/r?u=https%253A%252F%252Fwiki%252Eexample%252Eorg%252F", true},
		{sdk.URL, "https://evil.test/10.1.2.3/x", true},
		{sdk.URL, "https://evil.test/?from=fd00::17", true},
		{sdk.URL, "https://wiki.example.org.evil.test/", false},
		{sdk.URL, "https://evil.test/EXAMPLE.ORG", true},
		{sdk.URL, "https://evil.test/a/%" + strings.Repeat("25", 10) + "41", true}, // too deeply escaped to tell
	} {
		if got := s.Own(sdk.Observable{Kind: c.kind, Value: c.value}); got != c.own {
			t.Errorf("%s %s: own = %t, want %t", c.kind, c.value, got, c.own)
		}
	}
}

// TestOwnOfAHostileURL: the longest URL is not much work.
func TestOwnOfAHostileURL(t *testing.T) {
	s := &Settings{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Domains: []string{"example.org"}}
	for _, part := range []string{"a:", "1.", "%25", "%3a", "::", ".-"} {
		text := "http://evil.test/" + strings.Repeat(part, sdk.MaxURL/len(part))
		before := time.Now()
		s.Own(sdk.Observable{Kind: sdk.URL, Value: text})
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("%q…: %v", part, took)
		}
	}
}

func FuzzOwn(f *testing.F) {
	s := &Settings{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Domains: []string{"example.org"}}
	f.Add("http://evil.test/?q=", "&x=1")
	f.Add("http://evil.test/%2", "%41")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, name := range []string{"wiki.example.org", "198.51.100.9"} {
			// Delimited, so that it is a name by itself.
			if text := before + "/" + name + "/" + after; !s.Own(sdk.Observable{Kind: sdk.URL, Value: text}) {
				t.Errorf("%q goes out", text)
			}
		}
	})
}
