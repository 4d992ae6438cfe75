package proposal

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// Quote writes a text as one of the configuration's, whatever it holds: what could end it
// or begin a template is escaped, and what can't be seen or would turn the line around is
// written by its number.
func Quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	var before rune
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '{' && (before == '$' || before == '%'):
			b.WriteString(`\u007b`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		before = r
	}
	b.WriteByte('"')
	return b.String()
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// pathText writes a path of an event.
func pathText(path []string) string {
	text := path[0]
	for _, name := range path[1:] {
		if plainName.MatchString(name) {
			text += "." + name
		} else {
			text += "[" + Quote(name) + "]"
		}
	}
	return text
}

var plainNumber = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,9})?$`)

// literal writes a value; empty: it is none that a condition is made of.
func literal(v expr.Value) string {
	switch v.Kind() {
	case expr.StringKind:
		if text, ok := v.Str(); ok && text != "" && len(text) <= maxValue {
			return Quote(text)
		}
	case expr.NumberKind:
		if text := v.Text(); plainNumber.MatchString(text) {
			return text
		}
	}
	return "" // true and false tell little
}
