package eventlog

import (
	"encoding/hex"
	"strings"
)

// The streams, which are also the first token of their subjects.
const (
	events   = "EVENTS"
	inputs   = "INPUTS"
	rejected = "REJECTED"
)

// token makes any name one token of a subject: letters, digits, '-' and '_'
// stay, every other byte becomes '=' and two hex digits. The empty name is "=".
func token(name string) string {
	if name == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			const digits = "0123456789abcdef"
			b.Write([]byte{'=', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// untoken is token's inverse.
func untoken(tok string) string {
	if tok == "=" || !strings.Contains(tok, "=") {
		return strings.TrimSuffix(tok, "=")
	}
	var b strings.Builder
	for i := 0; i < len(tok); i++ {
		if tok[i] == '=' && i+2 < len(tok) {
			if c, err := hex.DecodeString(tok[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(tok[i])
	}
	return b.String()
}

// nameOf returns the name in a subject's second token.
func nameOf(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	tok, _, _ := strings.Cut(rest, ".")
	return untoken(tok)
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
