package sdk

import (
	"slices"
	"strconv"
	"strings"
)

func canonicalMAC(s string) (string, string) {
	digits := make([]byte, 0, 16)
	for i := range len(s) {
		switch c := lowerByte(s[i]); {
		case isHex(c):
			digits = append(digits, c)
		case c == ':' || c == '-' || c == '.':
		default:
			return "", "is not a MAC address"
		}
	}
	if n := len(digits); n != 12 && n != 16 || !evenGroups(s, n) {
		return "", "is not a MAC address"
	}
	switch strings.Trim(string(digits), "0") {
	case "":
		return "", "the zero address is nobody's"
	case "ffffffffffff", "ffffffffffffffff":
		return "", "is the broadcast address"
	}
	out := make([]byte, 0, 23)
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[i], digits[i+1])
	}
	return string(out), ""
}

// evenGroups tells whether s is written in one of the usual ways: bare, in pairs
// by ":" or "-", in fours by "." or ":" or "-".
func evenGroups(s string, digits int) bool {
	if len(s) == digits {
		return true
	}
	for _, separator := range []string{":", "-", "."} {
		groups := strings.Split(s, separator)
		size := digits / len(groups)
		if len(groups) == 1 || size != 2 && size != 4 || separator == "." && size != 4 {
			continue
		}
		if !slices.ContainsFunc(groups, func(g string) bool { return len(g) != size || strings.ContainsAny(g, ":-.") }) {
			return true
		}
	}
	return false
}

// HashKind names the algorithm of a canonical hash by its length: "md5", "sha1",
// "sha224", "sha256", "sha384" or "sha512"; "" if it is none.
func HashKind(value string) string {
	switch len(value) {
	case 32:
		return "md5"
	case 40:
		return "sha1"
	case 56:
		return "sha224"
	case 64:
		return "sha256"
	case 96:
		return "sha384"
	case 128:
		return "sha512"
	}
	return ""
}

func canonicalHash(s string) (string, string) {
	name := ""
	if i := strings.IndexAny(s, ":="); i >= 0 {
		name, s = strings.ToLower(strings.ReplaceAll(s[:i], "-", "")), strings.TrimSpace(s[i+1:])
		if strings.ContainsAny(s, ":=,") {
			return "", "is several hashes; give each by itself"
		}
	}
	s = lowerASCII(s)
	for i := range len(s) {
		if !isHex(s[i]) {
			return "", "is not hexadecimal"
		}
	}
	kind := HashKind(s)
	switch {
	case name != "" && !slices.Contains([]string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}, name):
		return "", "is of a kind that is not known here: " + strconv.Quote(name)
	case kind == "":
		return "", "has " + strconv.Itoa(len(s)) + " digits, which is no known kind of hash"
	case name != "" && name != kind:
		return "", "has the length of " + kind + ", not " + name
	case strings.Trim(s, "0") == "":
		return "", "is all zeros, which stands for no hash"
	}
	return s, ""
}
