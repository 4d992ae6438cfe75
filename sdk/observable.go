package sdk

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Observable is a typed value. Kind is one of Kinds; Value is canonical when it
// comes from Canonical.
type Observable struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
	Role  Role   `json:"role,omitempty"`
}

// Role of an observable in an event.
type Role string

// The roles.
const (
	NoRole    Role = ""
	Subject   Role = "subject"   // who is affected
	Indicator Role = "indicator" // evidence
)

// The kinds of observables.
const (
	Host     = "host"
	User     = "user"
	Account  = "account"
	IP       = "ip"
	MAC      = "mac"
	Domain   = "domain"
	URL      = "url"
	Email    = "email"
	Hash     = "hash"
	Process  = "process"
	File     = "file"
	Resource = "resource"
)

// Longest canonical values, in bytes. Nothing is shortened: what is longer is
// refused.
const (
	MaxName  = 253     // host, domain
	MaxUser  = 512     // user, account
	MaxEmail = 254     // email
	MaxURL   = 8 << 10 // url
	MaxText  = 4 << 10 // process, file, resource
)

// Kinds lists the kinds of observables.
func Kinds() []string {
	return slices.Clone(kinds[:])
}

var kinds = [...]string{Host, User, Account, IP, MAC, Domain, URL, Email, Hash, Process, File, Resource}

// ObservableError says why a value is no observable of a kind.
type ObservableError struct {
	Kind   string
	Value  string
	Reason string
}

// Error shows the beginning of the value, quoted; of a URL nothing, since it may
// hold a password.
func (e *ObservableError) Error() string {
	kind := e.Kind
	if !slices.Contains(kinds[:], kind) {
		return quoted(kind) + " " + e.Reason
	}
	if e.Value == "" || kind == URL {
		return kind + ": " + e.Reason
	}
	return kind + " " + quoted(e.Value) + ": " + e.Reason
}

func quoted(s string) string {
	if len(s) > 64 {
		return strconv.QuoteToASCII(s[:64]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// Canonical brings a value into the one form in which it is compared, joined and
// stored, or says with an *ObservableError why it is no observable of its kind.
// It is a pure function, safe for concurrent use, and idempotent: a canonical
// value is its own canonical value. White space around a value does not count.
//
//   - ip: as net/netip prints it. An IPv4 address inside IPv6 is IPv4; brackets,
//     zones and a length that leaves one address are dropped; leading zeros, ports, networks and the unspecified
//     address are refused.
//   - mac: lower-case, with colons; 6 or 8 bytes; not zero, not broadcast.
//   - domain: lower-case, punycode (IDNA 2008, mapped for lookup), no final dot.
//   - host: a domain, or a device's display name in lower-case. The domain before
//     a backslash and the $ of a machine account are dropped.
//   - user, account: lower-case "name", "domain\name", "name@domain", or a SID or
//     an Amazon resource name, whose case is kept.
//   - email: lower-case, domain as above; a display name and "mailto:" are dropped.
//   - url: scheme and host lower-case, with default port, user-info and fragment
//     dropped, dot segments removed and escapes normalised (RFC 3986, 6.2.2).
//   - hash: plain lower-case hex; its length tells md5, sha1, sha224, sha256,
//     sha384 and sha512 apart (HashKind).
//   - process, file: as they are; Windows paths in lower-case with backslashes.
//   - resource: as it is.
//
// Defanged values (hxxp, [.], (dot), [at], [:] …) are refanged where the kind has
// such a part. Control characters and invalid UTF-8 are refused, except in a URL,
// where they are escaped. What systems write when they know nothing ("-", "N/A",
// "unknown" …) is refused for the kinds that would take it for a name.
func Canonical(kind, value string) (Observable, error) {
	if kind == IP { // by far the most frequent
		if canonical, ok := plainIP(value); ok {
			return Observable{Kind: IP, Value: canonical}, nil
		}
	}
	canonical, reason := canonicalValue(kind, value)
	if reason != "" {
		return Observable{}, &ObservableError{Kind: kind, Value: value, Reason: reason}
	}
	return Observable{Kind: kind, Value: canonical}, nil
}

// Key is the observable as "kind:value".
func (o Observable) Key() string { return o.Kind + ":" + o.Value }

// ParseKey reads "kind:value" and makes it canonical.
func ParseKey(key string) (Observable, error) {
	kind, value, ok := strings.Cut(key, ":")
	if !ok {
		return Observable{}, &ObservableError{Kind: key, Reason: `is not written kind:value, such as "ip:10.0.0.1"`}
	}
	return Canonical(kind, value)
}

// canonicalValue returns the canonical value or the reason why there is none.
func canonicalValue(kind, value string) (canonical, reason string) {
	if !slices.Contains(kinds[:], kind) {
		return "", "is no kind of observable; there are " + strings.Join(kinds[:], ", ")
	}
	if len(value) > 4*MaxURL {
		return "", tooLong(MaxURL)
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return "", "is empty"
	}
	if kind == URL {
		return canonicalURL(value)
	}
	if reason := refuseBytes(value); reason != "" {
		return "", reason
	}
	switch kind {
	case IP:
		return canonicalIP(value)
	case MAC:
		return canonicalMAC(value)
	case Hash:
		return canonicalHash(value)
	case Email:
		return canonicalEmail(value)
	}
	if placeholder(value) {
		return "", "stands for an unknown value"
	}
	switch kind {
	case Domain:
		return canonicalDomain(refang(value))
	case Host:
		return canonicalHost(refang(value))
	case User, Account:
		return canonicalUser(value)
	case Process, File:
		return canonicalPath(value)
	default:
		return canonicalResource(value)
	}
}

func tooLong(limit int) string {
	return "is longer than " + strconv.Itoa(limit) + " bytes"
}

func refuseBytes(s string) string {
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	for _, r := range s {
		if r < 0x20 || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return "holds a control character"
		}
	}
	return ""
}

// placeholder tells whether s is what logs hold where they have no value. To join
// cases by it would join everything.
func placeholder(s string) bool {
	if strings.Trim(s, "-?*.") == "" {
		return true
	}
	if len(s) > 11 {
		return false
	}
	switch strings.ToLower(s) {
	case "n/a", "null", "(null)", "<null>", "nil", "<nil>", "none", "(none)", "<none>",
		"unknown", "(unknown)", "<unknown>", "undefined":
		return true
	}
	return false
}

// plainIP is the fast path: an address as most systems write it. It allocates only
// where the canonical text differs.
func plainIP(s string) (string, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.IsUnspecified() || addr.Zone() != "" {
		return "", false
	}
	addr = addr.Unmap()
	if addr.IsUnspecified() {
		return "", false
	}
	var buf [64]byte
	text := addr.AppendTo(buf[:0])
	if string(text) == s {
		return s, true
	}
	return string(text), true
}

func canonicalIP(s string) (string, string) {
	s = refang(s)
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(s)
	if network, wrong := netip.ParsePrefix(s); wrong == nil && network.IsSingleIP() {
		addr, err = network.Addr(), nil // as databases write an address
	}
	if err != nil {
		return "", ipReason(s)
	}
	// A zone names an interface of whoever saw the address, not the address.
	addr = addr.WithZone("").Unmap()
	if addr.IsUnspecified() {
		return "", "the unspecified address is nobody's"
	}
	return addr.String(), ""
}

func ipReason(s string) string {
	if _, err := netip.ParsePrefix(s); err == nil {
		return "is a network, not an address"
	}
	if _, err := netip.ParseAddrPort(s); err == nil {
		return "has a port; give the address alone"
	}
	if octets := strings.Split(s, "."); len(octets) == 4 {
		for _, o := range octets {
			if len(o) > 1 && o[0] == '0' && strings.Trim(o, "0123456789") == "" {
				return "has leading zeros, which some read as octal"
			}
		}
	}
	return "is not an IP address"
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lowerASCII allocates only where there is something to lower.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, s)
		}
	}
	return s
}
