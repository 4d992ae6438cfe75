package sdk

import (
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// lookupProfile maps a name as a resolver's client does (UTS 46). It is lenient
// about what a registrar would refuse: attackers own such names too.
var lookupProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

func canonicalDomain(s string) (string, string) {
	name, reason := dnsName(s)
	if reason != "" {
		return "", reason
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; isNumber(last) {
		if _, err := netip.ParseAddr(name); err == nil {
			return "", "is an address; use the kind ip"
		}
		return "", "ends in a number, as no domain does"
	}
	return name, ""
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// dnsName lower-cases a name, brings it into punycode and checks its labels:
// letters, digits, "-" and "_", of which one at least is a letter or digit.
func dnsName(s string) (string, string) {
	if len(s) > 4*MaxName {
		return "", tooLong(MaxName)
	}
	if !isASCII(s) {
		mapped, err := lookupProfile.ToASCII(s)
		if err != nil {
			return "", "is not a domain name that can be looked up"
		}
		s = mapped
	}
	s = lowerASCII(strings.TrimSuffix(s, "."))
	if len(s) > MaxName {
		return "", tooLong(MaxName)
	}
	size, named := 0, false
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			switch {
			case size == 0:
				return "", "has an empty label"
			case size > 63:
				return "", "has a label of more than 63 bytes"
			case !named:
				return "", "has a label without letter or digit"
			}
			size, named = 0, false
			continue
		}
		switch c := s[i]; {
		case isAlnum(c):
			named = true
		case c == ':' && strings.Count(s, ":") > 1:
			return "", "is no name; for an address use the kind ip"
		case c != '-' && c != '_':
			return "", "holds a character that no domain name has"
		}
		size++
	}
	return s, ""
}

func canonicalHost(s string) (string, string) {
	s = strings.TrimSuffix(s[strings.LastIndexByte(s, '\\')+1:], "$")
	if s = strings.TrimSpace(s); placeholder(s) {
		return "", "has no name"
	}
	if isASCII(s) && !strings.ContainsAny(s, displayMarks) || !strings.ContainsFunc(s, displayOnly) {
		name, reason := dnsName(s)
		if reason != "" {
			return "", reason
		}
		if i := strings.LastIndexByte(name, '.'); i >= 0 && isNumber(name[i+1:]) {
			if _, err := netip.ParseAddr(name); err == nil {
				return "", "is an address; use the kind ip"
			}
			return "", "ends in a number, as no name of a host with a domain does"
		}
		return name, ""
	}
	for _, r := range s {
		if !displayOnly(r) && !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) {
			return "", "holds a character that no name of a host has"
		}
	}
	return limited(lowerText(s), MaxName)
}

// displayOnly tells the characters that a device's display name may have and a
// name in the DNS may not ("Kim's laptop (2)").
func displayOnly(r rune) bool { return r == '’' || strings.ContainsRune(displayMarks, r) }

const displayMarks = " '()+&#,"

func canonicalUser(s string) (string, string) {
	if reason := refuseInvisible(s); reason != "" {
		return "", reason
	}
	if len(s) > 2 && lowerByte(s[0]) == 's' && s[1] == '-' {
		if sid := strings.ToUpper(s); isSID(sid) {
			return limited(sid, MaxUser)
		}
	}
	if strings.HasPrefix(s, "arn:") {
		return limited(s, MaxUser)
	}
	s = lowerText(s)
	if i := strings.IndexByte(s, '\\'); i >= 0 {
		domain, name := strings.TrimSpace(s[:i]), strings.TrimSpace(strings.TrimLeft(s[i:], `\`))
		switch {
		case placeholder(name) || strings.Contains(name, `\`):
			return "", `is not domain\name`
		case domain == "" || domain == ".": // this machine's own
			return canonicalUser(name)
		}
		if i+1+len(name) == len(s) && len(domain) == i {
			return limited(s, MaxUser)
		}
		return limited(domain+`\`+name, MaxUser)
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		domain, reason := dnsName(s[i+1:])
		switch {
		case strings.TrimSpace(s[:i]) == "":
			return "", "has no name before the @"
		case reason != "":
			return "", "its domain " + reason
		}
		return limited(s[:i+1]+domain, MaxUser)
	}
	return limited(s, MaxUser)
}

// isSID tells whether s is a security identifier: S-1-5-21-…
func isSID(s string) bool {
	rest, ok := strings.CutPrefix(s, "S-1-")
	if !ok || rest == "" {
		return false
	}
	for part := range strings.SplitSeq(rest, "-") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

func canonicalEmail(s string) (string, string) {
	s = refangAddress(s)
	if end := strings.LastIndexByte(s, '>'); end == len(s)-1 && end > 0 {
		if start := strings.LastIndexByte(s, '<'); start >= 0 {
			s = strings.TrimSpace(s[start+1 : end])
		}
	}
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s = s[7:]
	}
	if reason := refuseInvisible(s); reason != "" {
		return "", reason
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", "has no @"
	}
	// The standard lets a mailbox's name depend on case; no operator of mail does.
	local := lowerText(s[:i])
	switch {
	case local == "":
		return "", "has no name before the @"
	case len(local) > 64:
		return "", "its name before the @ " + tooLong(64)
	case strings.ContainsAny(local, " <>()[],;:\\\"@"):
		return "", "its name before the @ holds a character that would need quotes"
	}
	domain, reason := canonicalDomain(s[i+1:])
	if reason != "" {
		return "", "its domain " + reason
	}
	return limited(local+"@"+domain, MaxEmail)
}

// canonicalPath keeps the case of a path unless it is plainly of Windows, where
// case means nothing.
func canonicalPath(s string) (string, string) {
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		if s = strings.TrimSpace(s[1 : len(s)-1]); s == "" {
			return "", "is empty"
		}
	}
	s = normal(s)
	drive := len(s) > 2 && isAlnum(s[0]) && s[0] > '9' && s[1] == ':' && (s[2] == '\\' || s[2] == '/')
	switch {
	case drive || strings.HasPrefix(s, `\`):
		s = strings.TrimPrefix(strings.ReplaceAll(s, "/", `\`), `\\?\`)
		s = lowerText(s)
	case len(s) > 4 && strings.EqualFold(s[len(s)-4:], ".exe"):
		s = lowerText(s)
	}
	return limited(s, MaxText)
}

func canonicalResource(s string) (string, string) { return limited(normal(s), MaxText) }

func limited(s string, limit int) (string, string) {
	if s == "" {
		return "", "is empty"
	}
	if len(s) > limit {
		return "", tooLong(limit)
	}
	return s, ""
}

// normal composes what Unicode writes in two ways (NFC).
func normal(s string) string {
	if isASCII(s) {
		return s
	}
	return norm.NFC.String(s)
}

func lowerText(s string) string {
	if isASCII(s) {
		return lowerASCII(s)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// refuseInvisible refuses characters that are not seen, with which one name is
// made to look like another.
func refuseInvisible(s string) string {
	if isASCII(s) {
		return ""
	}
	for _, r := range s {
		if unicode.Is(unicode.Cf, r) {
			return "holds an invisible character"
		}
	}
	return ""
}

var (
	refangDots    = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "{dot}", ".", "[DOT]", ".", "(DOT)", ".", "{DOT}", ".", "[:]", ":", "(:)", ":", "{:}", ":")
	refangAtSigns = strings.NewReplacer("[@]", "@", "(@)", "@", "{@}", "@", "[at]", "@", "(at)", "@", "{at}", "@", "[AT]", "@", "(AT)", "@", "{AT}", "@")
)

// refang takes out what people put around dots and colons so that nobody clicks.
func refang(s string) string {
	for strings.ContainsAny(s, "[({") {
		next := refangDots.Replace(s)
		if next == s {
			break
		}
		s = next
	}
	return s
}

func refangAddress(s string) string {
	for strings.ContainsAny(s, "[({") {
		next := refangAtSigns.Replace(refangDots.Replace(s))
		if next == s {
			break
		}
		s = next
	}
	return s
}
