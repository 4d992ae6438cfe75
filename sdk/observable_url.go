package sdk

import (
	"encoding/binary"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// schemes that browsers treat alike (WHATWG calls them special), with their ports.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}

// defangedSchemes are what people write so that nobody clicks.
var defangedSchemes = map[string]string{
	"hxxp": "http", "hxxps": "https", "hxtp": "http", "hxtps": "https", "htxp": "http", "htxps": "https",
	"hxxxp": "http", "hxxxps": "https", "fxp": "ftp",
}

// canonicalURL is tolerant where browsers are, since a URL that a browser would
// open is an indicator however odd its spelling.
func canonicalURL(s string) (string, string) {
	if strings.ContainsAny(s, "\t\r\n") { // which browsers ignore
		s = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(s)
	}
	scheme, rest, defanged, reason := cutScheme(s)
	if reason != "" {
		return "", reason
	}
	_, special := defaultPorts[scheme]
	if special {
		query := strings.IndexAny(rest, "?#")
		if query < 0 {
			query = len(rest)
		}
		rest = strings.ReplaceAll(rest[:query], `\`, "/") + rest[query:]
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if plain := refang(authority); plain != authority {
		authority, defanged = plain, true
	}
	if defanged {
		path, query = refang(path), refang(query)
	}
	host, port, reason := canonicalAuthority(authority, special)
	if reason != "" {
		return "", reason
	}
	var out strings.Builder
	out.Grow(len(s) + 8)
	out.WriteString(scheme + "://" + host)
	if port != "" && port != defaultPorts[scheme] {
		out.WriteString(":" + port)
	}
	out.WriteString(removeDotSegments(normalEscapes(path)))
	if query != "" {
		out.WriteString("?" + normalEscapes(query))
	}
	return limited(out.String(), MaxURL)
}

// cutScheme returns what stands before and after "://", however it is defanged.
func cutScheme(s string) (scheme, rest string, defanged bool, reason string) {
	end := 0
	for end < len(s) && (isAlnum(s[end]) || strings.IndexByte("+-.", s[end]) >= 0) {
		end++
	}
	scheme, rest = lowerASCII(s[:end]), s[end:]
	if scheme == "" || scheme[0] < 'a' {
		return "", "", false, "has no scheme, such as https://"
	}
	if plain, ok := defangedSchemes[scheme]; ok {
		scheme, defanged = plain, true
	}
	for i, mark := range []string{"://", `:\\`, `:\/`, `:/\`, "[://]", "[:]//", "(://)", "[:][/][/]", ":[//]", "[:/]/", "(:)//", "{://}", "{:}//"} {
		if after, ok := strings.CutPrefix(rest, mark); ok {
			if i >= 1 && i <= 3 && defaultPorts[scheme] == "" {
				break
			}
			return scheme, after, defanged || i > 3, ""
		}
	}
	return "", "", false, "has no scheme, such as https://"
}

// canonicalAuthority drops the user-info, which may hold a password.
func canonicalAuthority(authority string, special bool) (host, port, reason string) {
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.HasPrefix(authority, "[") {
		inner, after, ok := strings.Cut(authority[1:], "]")
		zoned, _, _ := strings.Cut(inner, "%")
		addr, err := netip.ParseAddr(zoned)
		if !ok || err != nil || !addr.Is6() {
			return "", "", "its host is not an IPv6 address"
		}
		port, reason = canonicalPort(after)
		return bracketed(addr.Unmap()), port, reason
	}
	host, after := authority, ""
	if i := strings.IndexByte(authority, ':'); i >= 0 {
		host, after = authority[:i], authority[i:]
	}
	if port, reason = canonicalPort(after); reason != "" {
		return "", "", reason
	}
	if strings.Contains(host, "%") {
		plain, err := url.PathUnescape(host)
		if err != nil {
			return "", "", "its host has an escape that is none"
		}
		host = plain
	}
	if reason := refuseBytes(host); reason != "" {
		return "", "", "its host " + reason
	}
	if host == "" {
		return "", "", "has no host"
	}
	host, reason = dnsName(host)
	if reason != "" {
		return "", "", "its host " + reason
	}
	if special {
		addr, numeric, ok := numericIPv4(host)
		switch {
		case numeric && !ok:
			return "", "", "its host is not an IPv4 address"
		case numeric:
			host = addr.String()
		}
	}
	return host, port, ""
}

func bracketed(addr netip.Addr) string {
	if addr.Is4() {
		return addr.String()
	}
	return "[" + addr.String() + "]"
}

func canonicalPort(s string) (port, reason string) {
	if s == "" || s == ":" {
		return "", ""
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, ":"), 10, 16)
	if s[0] != ':' || err != nil {
		return "", "its port is not a number up to 65535"
	}
	return strconv.FormatUint(n, 10), ""
}

// numericIPv4 reads the notations of an IPv4 address that browsers take and
// attackers hide behind: 2130706433, 0x7f.1, 0177.0.0.1 (WHATWG URL, host
// parsing). numeric tells that a host ends in a number and so can be nothing else.
func numericIPv4(host string) (addr netip.Addr, numeric, ok bool) {
	parts := strings.Split(host, ".")
	if last := parts[len(parts)-1]; strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x") {
		return netip.Addr{}, false, false
	} else if _, err := ipv4Number(last); err != nil && strings.Trim(last, "0123456789") != "" {
		return netip.Addr{}, false, false
	}
	if len(parts) > 4 {
		return netip.Addr{}, true, false
	}
	var value uint64
	for i, part := range parts {
		n, err := ipv4Number(part)
		width := 1 // bytes that this part fills
		if i == len(parts)-1 {
			width = 4 - i
		}
		if err != nil || n >= 1<<(8*width) {
			return netip.Addr{}, true, false
		}
		value = value<<(8*width) | n
	}
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], uint32(value))
	return netip.AddrFrom4(bytes), true, true
}

func ipv4Number(s string) (uint64, error) {
	switch {
	case s == "0x":
		return 0, nil
	case strings.HasPrefix(s, "0x"):
		return strconv.ParseUint(s[2:], 16, 33)
	case len(s) > 1 && s[0] == '0':
		return strconv.ParseUint(s[1:], 8, 33)
	}
	return strconv.ParseUint(s, 10, 33)
}

const upperHex = "0123456789ABCDEF"

// normalEscapes decodes what needs no escape, escapes what may not stand plainly,
// and writes escapes in upper-case.
func normalEscapes(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '%' || mustEscape(byte(min(r, 0x80))) }) {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && isHex(lowerByte(s[i+1])) && isHex(lowerByte(s[i+2])) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
			if isAlnum(c) || strings.IndexByte("-._~", c) >= 0 {
				out = append(out, c)
			} else {
				out = append(out, '%', upperHex[c>>4], upperHex[c&15])
			}
			continue
		}
		if c == '%' || mustEscape(c) {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func mustEscape(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0
}

func unhex(c byte) byte {
	if c = lowerByte(c); c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// removeDotSegments is RFC 3986, 5.2.4. The result begins with a slash.
func removeDotSegments(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}
