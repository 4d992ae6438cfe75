package sdk

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const (
	md5Hex    = "d41d8cd98f00b204e9800998ecf8427e"
	sha1Hex   = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	sha256Hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// canonicalCases holds what each value becomes; with a want that begins with "!",
// the reason for which it is refused.
var canonicalCases = []struct{ kind, value, want string }{
	{IP, "10.0.0.1", "10.0.0.1"},
	{IP, "  10.0.0.1\n", "10.0.0.1"},
	{IP, "10[.]0[.]0[.]1", "10.0.0.1"},
	{IP, "10(dot)0.0{.}1", "10.0.0.1"},
	{IP, "::ffff:10.0.0.1", "10.0.0.1"},
	{IP, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
	{IP, "[2001:db8::1]", "2001:db8::1"},
	{IP, "2001:db8[:]:1", "2001:db8::1"},
	{IP, "fe80::1%eth0", "fe80::1"},
	{IP, "10.0.0.01", "!leading zeros"},
	{IP, "10.0.0.1:443", "!port"},
	{IP, "10.0.0.0/8", "!network"},
	{IP, "10.0.0.1/32", "10.0.0.1"},
	{IP, "2001:db8::1/128", "2001:db8::1"},
	{IP, "0.0.0.0", "!unspecified"},
	{IP, "::", "!unspecified"},
	{IP, "::ffff:0.0.0.0", "!unspecified"},
	{IP, "999.1.1.1", "!not an IP address"},
	{IP, "ws-17", "!not an IP address"},
	{IP, "", "!empty"},
	{IP, "10.0.0.1\x00", "!control character"},
	{IP, "10.0.0.\xff", "!UTF-8"},

	{MAC, "00:1A:2B:3C:4D:5E", "00:1a:2b:3c:4d:5e"},
	{MAC, "00-1a-2b-3c-4d-5e", "00:1a:2b:3c:4d:5e"},
	{MAC, "001a.2b3c.4d5e", "00:1a:2b:3c:4d:5e"},
	{MAC, "001A2B3C4D5E", "00:1a:2b:3c:4d:5e"},
	{MAC, "02:00:5e:10:00:00:00:01", "02:00:5e:10:00:00:00:01"},
	{MAC, "00:00:00:00:00:00", "!zero"},
	{MAC, "ff:ff:ff:ff:ff:ff", "!broadcast"},
	{MAC, "0:01a:2b:3c:4d:5e", "!not a MAC"},
	{MAC, "00:1a-2b:3c:4d:5e", "!not a MAC"},
	{MAC, "00:1a:2b:3c:4d", "!not a MAC"},

	{Domain, "Example.ORG.", "example.org"},
	{Domain, "evil[.]example[dot]org", "evil.example.org"},
	{Domain, "_dmarc.example.org", "_dmarc.example.org"},
	{Domain, "bücher.example", "xn--bcher-kva.example"},
	{Domain, "BÜCHER。example", "xn--bcher-kva.example"},
	{Domain, "straße.de", "xn--strae-oqa.de"},
	{Domain, "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
	{Domain, "r3---sn-4g5e.example.com", "r3---sn-4g5e.example.com"},
	{Domain, "10.0.0.1", "!use the kind ip"},
	{Domain, "１０.０.０.１", "!use the kind ip"},
	{Domain, "1.2.3.4.5", "!ends in a number"},
	{Domain, "a..b", "!empty label"},
	{Domain, "a.-.b", "!without letter or digit"},
	{Domain, strings.Repeat("a", 64) + ".org", "!63 bytes"},
	{Domain, strings.Repeat("abc.", 70) + "org", "!longer than 253"},
	{Domain, "*.example.org", "!character"},
	{Domain, "http://example.org", "!character"},
	{Domain, "℀.org", "!character"}, // maps to "a/c"
	{Domain, "-", "!unknown value"},

	{Host, "WS-17", "ws-17"},
	{Host, "WS-17.corp.example.org.", "ws-17.corp.example.org"},
	{Host, "WS-17$", "ws-17"},
	{Host, `CORP\WS-17`, "ws-17"},
	{Host, `\\ws-17`, "ws-17"},
	{Host, "Kim’s MacBook Pro (2)", "kim’s macbook pro (2)"},
	{Host, "7c9e1f204abd", "7c9e1f204abd"},
	{Host, "10.0.0.1", "!use the kind ip"},
	{Host, "2001:db8::1", "!use the kind ip"},
	{Host, "999.1.1.1", "!ends in a number"},
	{Host, "web:8080", "!character"},
	{Host, "<b>ws</b>", "!character"},
	{Host, "N/A", "!unknown value"},
	{Host, "$", "!no name"},

	{User, "Kim", "kim"},
	{User, `CORP\Kim`, `corp\kim`},
	{User, `CORP\\Kim`, `corp\kim`},
	{User, `.\Kim`, "kim"},
	{User, `NT AUTHORITY\SYSTEM`, `nt authority\system`},
	{User, "Kim@Example.ORG.", "kim@example.org"},
	{User, "kim@BÜCHER.example", "kim@xn--bcher-kva.example"},
	{User, "s-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-500"},
	{Account, "arn:aws:iam::123456789012:user/Kim", "arn:aws:iam::123456789012:user/Kim"},
	{User, "Jose\u0301", "jos\u00e9"},
	{User, `CORP\`, "!domain\\name"},
	{User, "@example.org", "!before the @"},
	{User, "kim@", "!its domain"},
	{User, "ki\u202em", "!invisible"},
	{User, "ki\x1bm", "!control character"},
	{User, "(null)", "!unknown value"},
	{Account, strings.Repeat("a", MaxUser+1), "!longer than"},

	{Email, "Kim.Li+x@Example.ORG", "kim.li+x@example.org"},
	{Email, `"Kim Li" <kim@example.org>`, "kim@example.org"},
	{Email, "mailto:kim@example.org", "kim@example.org"},
	{Email, "kim[at]example[.]org", "kim@example.org"},
	{Email, "kim@bücher.example", "kim@xn--bcher-kva.example"},
	{Email, "kim", "!no @"},
	{Email, "a b@example.org", "!quotes"},
	{Email, "a@b@example.org", "!quotes"},
	{Email, "kim@10.0.0.1", "!its domain"},
	{Email, strings.Repeat("a", 65) + "@example.org", "!64 bytes"},
	{Email, "kim@example.org\r\nBcc: x@example.org", "!control character"},

	{Hash, strings.ToUpper(md5Hex), md5Hex},
	{Hash, "SHA256=" + strings.ToUpper(sha256Hex), sha256Hex},
	{Hash, "sha-1: " + sha1Hex, sha1Hex},
	{Hash, "sha1:" + md5Hex, "!length of md5"},
	{Hash, "IMPHASH=" + md5Hex, "!not known here"},
	{Hash, "MD5=" + md5Hex + ",SHA1=" + sha1Hex, "!several hashes"},
	{Hash, strings.Repeat("0", 64), "!all zeros"},
	{Hash, "abc", "!3 digits"},
	{Hash, strings.Repeat("g", 64), "!hexadecimal"},

	{URL, "HTTP://Example.ORG", "http://example.org/"},
	{URL, "hxxps[://]evil[.]example[.]org:443/a[.]php?q=1#top", "https://evil.example.org/a.php?q=1"},
	{URL, "hXXp://evil(.)example.org/", "http://evil.example.org/"},
	{URL, "https://kim:secret@example.org:8443/", "https://example.org:8443/"},
	{URL, "http://example.org:080/", "http://example.org/"},
	{URL, "http://example.org/a[0]?b[]=1", "http://example.org/a[0]?b[]=1"},
	{URL, "http://example.org/a/./b/../%2e%2e/c", "http://example.org/c"},
	{URL, "http://example.org/../../etc/passwd", "http://example.org/etc/passwd"},
	{URL, "http://example.org/%7euser/%c3%a4?x=%2f", "http://example.org/~user/%C3%A4?x=%2F"},
	{URL, "http://example.org/ä b\"<>", "http://example.org/%C3%A4%20b%22%3C%3E"},
	{URL, "http://example.org/%zz%", "http://example.org/%25zz%25"},
	{URL, "http://example.org/\xff\x00", "http://example.org/%FF%00"},
	{URL, "ht\ntp://example\t.org/", "http://example.org/"},
	{URL, `http:\\example.org\a?b\c`, `http://example.org/a?b%5Cc`},
	{URL, "http://bücher.example/", "http://xn--bcher-kva.example/"},
	{URL, "http://ex%61mple.org/", "http://example.org/"},
	{URL, "http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"},
	{URL, "http://[::ffff:10.0.0.1]/", "http://10.0.0.1/"},
	{URL, "http://[fe80::1%25eth0]/", "http://[fe80::1]/"},
	{URL, "http://2130706433/", "http://127.0.0.1/"},
	{URL, "http://0x7f.1/", "http://127.0.0.1/"},
	{URL, "http://0177.0.0.01/", "http://127.0.0.1/"},
	{URL, "http://１２７.0.0.1/", "http://127.0.0.1/"},
	{URL, "ldap://evil.example.org:1389/a", "ldap://evil.example.org:1389/a"},
	{URL, "http://256.1.1.1/", "!not an IPv4"},
	{URL, "http://1.2.3.4.5/", "!not an IPv4"},
	{URL, "example.org/path", "!no scheme"},
	{URL, "javascript:alert(1)", "!no scheme"},
	{URL, "http:///path", "!no host"},
	{URL, "http://example.org:99999/", "!port"},
	{URL, "http://a b/", "!character"},
	{URL, "http://[::1/", "!IPv6"},
	{URL, "http://example.org/" + strings.Repeat("a", MaxURL), "!longer than"},

	{Process, `"C:/Windows/System32/CMD.exe"`, `c:\windows\system32\cmd.exe`},
	{Process, "CMD.EXE", "cmd.exe"},
	{Process, "/usr/bin/Xorg", "/usr/bin/Xorg"},
	{File, `\\?\C:\Temp\A.dll`, `c:\temp\a.dll`},
	{File, "Makefile", "Makefile"},
	{File, "/tmp/a\nb", "!control character"},
	{File, "-", "!unknown value"},
	{Resource, " arn:aws:s3:::Bucket ", "arn:aws:s3:::Bucket"},
	{Resource, strings.Repeat("r", MaxText+1), "!longer than"},

	{"address", "x", "!no kind of observable"},
}

func TestCanonical(t *testing.T) {
	for _, test := range canonicalCases {
		got, err := Canonical(test.kind, test.value)
		if reason, refused := strings.CutPrefix(test.want, "!"); refused {
			var failure *ObservableError
			if !errors.As(err, &failure) || failure.Kind != test.kind || !strings.Contains(failure.Reason, reason) {
				t.Errorf("Canonical(%s, %q) = %q, %v; want an error about %q", test.kind, test.value, got.Value, err, reason)
			}
			continue
		}
		if err != nil || got != (Observable{Kind: test.kind, Value: test.want}) {
			t.Errorf("Canonical(%s, %q) = %q, %v; want %q", test.kind, test.value, got.Value, err, test.want)
		}
	}
}

func TestCanonicalErrorText(t *testing.T) {
	_, err := Canonical(IP, "999.1.1.1\x1b[2J")
	if got, want := err.Error(), `ip "999.1.1.1\x1b[2J": holds a control character`; got != want {
		t.Errorf("error = %s, want %s", got, want)
	}
	_, err = Canonical(URL, "https://kim:hunter2@:1/")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %q shows the password", err)
	}
}

func TestParseKey(t *testing.T) {
	for key, want := range map[string]Observable{
		"ip:10.0.0.1":             {Kind: IP, Value: "10.0.0.1"},
		"ip:2001:DB8::1":          {Kind: IP, Value: "2001:db8::1"},
		"url:HTTPS://Example.ORG": {Kind: URL, Value: "https://example.org/"},
	} {
		if got, err := ParseKey(key); err != nil || got != want {
			t.Errorf("ParseKey(%q) = %v, %v; want %v", key, got, err, want)
		}
	}
	for _, key := range []string{"", "10.0.0.1", "ip:", "ips:10.0.0.1", "ip:ws-17"} {
		if got, err := ParseKey(key); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", key, got)
		}
	}
}

func TestHashKind(t *testing.T) {
	for size, want := range map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512", 31: ""} {
		if got := HashKind(strings.Repeat("a", size)); got != want {
			t.Errorf("HashKind of %d digits = %q, want %q", size, got, want)
		}
	}
}

// checkCanonical holds what every canonical value promises.
func checkCanonical(t interface{ Fatalf(string, ...any) }, kind, value string) {
	got, err := Canonical(kind, value)
	if err != nil {
		if got != (Observable{}) || err.Error() == "" || !utf8.ValidString(err.Error()) && utf8.ValidString(value) {
			t.Fatalf("Canonical(%s, %q) = %v with error %q", kind, value, got, err)
		}
		return
	}
	if got.Value == "" || len(got.Value) > MaxURL || refuseBytes(got.Value) != "" || got.Kind != kind {
		t.Fatalf("Canonical(%s, %q) = %q", kind, value, got.Value)
	}
	if again, err := Canonical(kind, got.Value); err != nil || again != got {
		t.Fatalf("Canonical(%s, %q) = %q, and of that %q, %v", kind, value, got.Value, again.Value, err)
	}
	if back, err := ParseKey(got.Key()); err != nil || back != got {
		t.Fatalf("ParseKey(%q) = %v, %v", got.Key(), back, err)
	}
}

func TestCanonicalIsIdempotent(t *testing.T) {
	pieces := []string{
		"a", "B", "ü", "ß", "ſ", "K", "İ", "\u0301", "0", "1", "255", "10", "ff", "0x", ".", "..", "。", "[.]", "(dot)", "[:]", "[", "]", "(", ")", "{",
		":", "/", `\`, "@", "[at]", "-", "_", "$", "%", "%41", "%2e", "%2F", "%zz", "?", "#", " ", "=", ",", "<", ">", "\"", "xn--", "S-1-5", "arn:",
		"hxxp", "http", "https", "://", "[://]", "::", "::ffff:", ".exe", "C:", "\t", "\n", "\x00", "\xff", "\u202e", "\u200d", "mailto:", md5Hex,
	}
	for _, test := range canonicalCases {
		pieces = append(pieces, test.value)
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(Kinds()).Draw(t, "kind")
		value := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), "")
		checkCanonical(t, kind, value)
	})
}

func FuzzCanonical(f *testing.F) {
	for _, test := range canonicalCases {
		f.Add(test.kind, test.value)
	}
	f.Fuzz(func(t *testing.T, kind, value string) {
		checkCanonical(t, kind, value)
		for _, kind := range kinds {
			checkCanonical(t, kind, value)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	for _, bench := range []struct{ name, kind, value string }{
		{"ip4", IP, "10.1.2.3"},
		{"ip6", IP, "2001:db8::1:2"},
		{"ip6_long", IP, "2001:0DB8:0000:0000:0000:0000:0001:0002"},
		{"domain", Domain, "www.example.org"},
		{"domain_idn", Domain, "www.bücher.example"},
		{"host", Host, "WS-17.corp.example.org"},
		{"user", User, `CORP\Kim`},
		{"hash", Hash, sha256Hex},
		{"url", URL, "https://www.example.org/a/b?c=d"},
		{"file", File, "/usr/bin/sshd"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Canonical(bench.kind, bench.value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
