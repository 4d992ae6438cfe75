package decide

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Own tells whether an observable says something about the organisation: one of
// its addresses or names, whatever it is part of, and what only ever names things
// inside, such as a host without a domain or an account. It is not told to a
// source that is not internal.
func (s *Settings) Own(o sdk.Observable) bool {
	switch o.Kind {
	case sdk.Hash:
		return false
	case sdk.IP:
		addr, err := netip.ParseAddr(o.Value)
		return err != nil || s.ownAddress(addr)
	case sdk.Domain:
		return s.ownName(o.Value)
	case sdk.Host:
		return !strings.Contains(o.Value, ".") || s.holdsOwn(o.Value)
	case sdk.Email:
		_, domain, _ := strings.Cut(o.Value, "@")
		return s.ownName(domain) || s.holdsOwn(o.Value)
	case sdk.URL:
		return s.ownURL(o.Value)
	}
	// user, account, mac, process, file, resource: names that mean something inside.
	return true
}

func (s *Settings) ownAddress(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() {
		return true
	}
	return slices.ContainsFunc(s.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ownName tells whether a name is one of the organisation's domains or below one.
func (s *Settings) ownName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return slices.ContainsFunc(s.Domains, func(domain string) bool {
		domain = strings.Trim(strings.ToLower(domain), ".")
		return domain != "" && (name == domain || strings.HasSuffix(name, "."+domain))
	})
}

// maxDecoding is how often a text is unescaped in search of names: a redirect may
// hold a redirect.
const maxDecoding = 4

func (s *Settings) ownURL(text string) bool {
	if u, err := url.Parse(text); err != nil || u.Hostname() != "" && !strings.Contains(u.Hostname(), ".") && !strings.Contains(u.Hostname(), ":") {
		return true // what cannot be read, or a host without a domain
	}
	for range maxDecoding {
		if s.holdsOwn(text) {
			return true
		}
		decoded := unescape(text)
		if decoded == text {
			return false
		}
		text = decoded
	}
	return true // too deeply escaped to tell
}

// holdsOwn tells whether one of the organisation's names or addresses occurs
// anywhere in a text.
func (s *Settings) holdsOwn(text string) bool {
	text = strings.ToLower(text)
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !nameRune(r) }) {
		if s.ownName(strings.Trim(word, ".-_")) || s.ownIn(word, ".") {
			return true
		}
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef:.", r) }) {
		if strings.Count(word, ":") >= 2 && s.ownIn(word, ":") {
			return true
		}
	}
	return false
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r > 0x7f
}

// ownIn tells whether a word is one of the organisation's addresses, also where
// something hangs on to it, such as a port.
func (s *Settings) ownIn(word, separator string) bool {
	parts := strings.Split(word, separator)
	lengths := []int{4}
	if separator == ":" {
		lengths = []int{3, 4, 5, 6, 7, 8, 9} // of parts; two colons make an empty one
	}
	for _, n := range lengths {
		for i := 0; i+n <= len(parts); i++ {
			if addr, err := netip.ParseAddr(strings.Join(parts[i:i+n], separator)); err == nil && s.ownAddress(addr) {
				return true
			}
		}
	}
	return false
}

// unescape undoes percent-encoding wherever it is well formed.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if s, err := url.PathUnescape(text[i : i+3]); err == nil {
				b.WriteString(s)
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
