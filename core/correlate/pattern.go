package correlate

import (
	"net/netip"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Pattern stands for many values of one kind.
type Pattern struct {
	Kind string
	// Network has the addresses, of kind ip; else it is the zero Prefix.
	Network netip.Prefix
	// Like is the value with "*" for any text.
	Like string
}

// String is the pattern as the configuration has it.
func (p Pattern) String() string {
	if p.Network.IsValid() {
		return p.Kind + ":" + p.Network.String()
	}
	return p.Kind + ":" + p.Like
}

// matches tells whether a canonical value is one of the pattern's.
func (p Pattern) matches(o sdk.Observable) bool {
	if o.Kind != p.Kind {
		return false
	}
	if !p.Network.IsValid() {
		return like(p.Like, o.Value)
	}
	addr, err := netip.ParseAddr(o.Value)
	return err == nil && p.Network.Contains(addr.WithZone(""))
}

// like matches a text with a pattern in which "*" is any text.
func like(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return text == pattern
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		next, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, rest)
		}
		at := strings.Index(text, next)
		if at < 0 {
			return false
		}
		text, rest = text[at+len(next):], after
	}
}
