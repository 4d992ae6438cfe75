package expr

import (
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/unicode/norm"
)

// view is the bytes as a string without a copy. Whoever calls it promises what [Value] asks for: that the bytes do not
// change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func normal(s string) string {
	if isASCII(s) {
		return s
	}
	return norm.NFC.String(s)
}

// noLimit lets a text become as long as its value makes it.
const noLimit = math.MaxInt

// Text is the value as a template writes it: null reads "unknown", a list or an object is its JSON.
func (v Value) Text() string {
	switch v.kind {
	case NullKind:
		return "unknown"
	case StringKind:
		s, _ := v.Str()
		return s
	case NumberKind:
		return v.decimal().String()
	}
	return string(v.appendJSON(nil, noLimit))
}

func (v Value) appendText(b []byte, limit int) []byte {
	switch v.kind {
	case NullKind:
		return append(b, "unknown"...)
	case StringKind:
		return append(b, v.str...)
	}
	return v.appendJSON(b, limit)
}

// appendJSON stops soon after b has become longer than limit.
func (v Value) appendJSON(b []byte, limit int) []byte {
	if len(b) > limit {
		return b
	}
	switch v.kind {
	case BoolKind:
		if v.num == 1 {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case NumberKind:
		return append(b, v.decimal().String()...)
	case StringKind:
		return appendQuoted(b, v.str)
	case ListKind:
		b = append(b, '[')
		first := true
		for item := range v.Items() {
			if !first {
				b = append(b, ',')
			}
			first = false
			if b = item.appendJSON(b, limit); len(b) > limit {
				break
			}
		}
		return append(b, ']')
	case ObjectKind:
		b = append(b, '{')
		first := true
		for key, field := range v.Fields() {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(appendQuoted(b, key), ':')
			if b = field.appendJSON(b, limit); len(b) > limit {
				break
			}
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// parseString makes a string of what stands between the quotes.
func parseString(text string) Value {
	if isPlain(text) {
		return Value{kind: StringKind, form: borrowed, str: text}
	}
	return Value{kind: StringKind, str: unquote(text)}
}

// isPlain is true of ASCII without escapes, which means what it says. It looks at eight bytes at once.
func isPlain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		slashes := x ^ ones*'\\' // a byte that is 0 was a backslash
		if (x|(slashes-ones)&^slashes)&tops != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || s[i] == '\\' {
			return false
		}
	}
	return true
}

// unquote decodes the inside of a JSON string as encoding/json does: what is not UTF-8 and every lone surrogate becomes
// U+FFFD.
func unquote(text string) string {
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			var r rune
			r, i = unescape(text, i+1)
			b = utf8.AppendRune(b, r)
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return normal(view(b))
}

// unescape reads the escape whose letter is at i, and where it ends.
func unescape(text string, i int) (rune, int) {
	switch c := text[i]; c {
	case 'b':
		return '\b', i + 1
	case 'f':
		return '\f', i + 1
	case 'n':
		return '\n', i + 1
	case 'r':
		return '\r', i + 1
	case 't':
		return '\t', i + 1
	case 'u':
		r := hex4(text, i+1)
		if r < 0 {
			return utf8.RuneError, i + 1
		}
		i += 5
		if !utf16.IsSurrogate(r) {
			return r, i
		}
		if strings.HasPrefix(text[i:], `\u`) {
			if pair := utf16.DecodeRune(r, hex4(text, i+2)); pair != utf8.RuneError {
				return pair, i + 6
			}
		}
		return utf8.RuneError, i
	default:
		r, size := utf8.DecodeRuneInString(text[i:])
		return r, i + size
	}
}

func hex4(text string, i int) rune {
	if i+4 > len(text) {
		return -1
	}
	var r rune
	for _, c := range []byte(text[i : i+4]) {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}
