package sdk

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many accents may follow one another; more of them paint over the
// lines around.
const maxMarks = 3

// Visible makes a text safe to look at in one line: control characters, invalid
// UTF-8, line breaks, heaps of accents, and the invisible characters that turn the
// direction of a text or hide in it are written as ⟨U+202E⟩ (bytes that are no UTF-8
// as ⟨FF⟩). It escapes nothing for HTML.
func Visible(text string) string {
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	marks := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "⟨%02X⟩", text[i])
		case hidden(r) || marks > maxMarks:
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// isPlain tells printable ASCII.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// hidden tells the runes that are not seen as what they are.
func hidden(r rune) bool {
	switch r {
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u2800', '\u3164', '\uffa0':
		return true // blank, whatever their category says
	case '\u2028', '\u2029':
		return true
	}
	return !unicode.IsGraphic(r)
}

// Defanged writes an attacker's name, address or URL so that no mail program or chat
// makes a link of it: hxxps://evil[.]example[.]org. Canonical reads it back.
func Defanged(value string) string {
	scheme, rest, found := strings.Cut(value, "://")
	if !found {
		scheme, rest = "", value
	} else {
		scheme = strings.Replace(scheme, "http", "hxxp", 1) + "://"
		if !strings.HasPrefix(scheme, "hxxp") {
			scheme = strings.TrimSuffix(scheme, "://") + "[:]//"
		}
	}
	return scheme + strings.NewReplacer(".", "[.]", "@", "[@]").Replace(rest)
}

var (
	linked = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://`)
	named  = regexp.MustCompile(`[\p{L}\p{N}]\.\p{L}{2}|(?i:www\.|mailto:)`)
)

// DefangedText does the same to what looks like a link or a name in a running text,
// as lightly as it can, and once only: hxxp://a[.]example[.]org/, shell[.]php.
func DefangedText(text string) string {
	if !strings.ContainsAny(text, ".:") {
		return text
	}
	text = linked.ReplaceAllStringFunc(text, func(scheme string) string {
		switch lower := strings.ToLower(scheme); {
		case strings.HasPrefix(lower, "http"):
			return "hxxp" + lower[4:]
		case strings.HasPrefix(lower, "hxxp"):
			return scheme
		}
		return strings.TrimSuffix(scheme, "://") + "[:]//"
	})
	return named.ReplaceAllStringFunc(text, func(found string) string {
		return strings.NewReplacer(".", "[.]", ":", "[:]").Replace(found)
	})
}
