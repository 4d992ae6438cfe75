package expr

import (
	"math/bits"
	"unicode/utf8"
)

// The scanner reads JSON text that is taken to be valid. Of text that is not, it gives something, always the same, in
// time linear in its length; [CheckJSON] is what tells.

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func skipSpace(text string, i int) int {
	for i < len(text) && text[i] <= ' ' && isSpace(text[i]) {
		i++
	}
	return i
}

// plainUntil returns the place of the first byte from i on that is not simply a character of a string: a quote, a
// backslash, a control character, or not ASCII. It looks at eight bytes at once.
func plainUntil(text string, i int) int {
	for ; i+8 <= len(text); i += 8 {
		if odd := oddBytes(load8(text[i : i+8])); odd != 0 {
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// oddBytes has the top bit of the lowest byte that is not simply a character of a string; what is above it says nothing.
func oddBytes(x uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	// A byte that is looked for becomes 0, or less than ' ', and the subtraction takes it below 0.
	quotes, slashes, controls := (x^ones*'"')-ones, (x^ones*'\\')-ones, x-ones*' '
	return (quotes | slashes | controls | x) & tops
}

// load8 is the first eight bytes of s, which must have them.
func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// skipString returns the place after the closing quote of the string that opens at i.
func skipString(text string, i int) int {
	for i = plainUntil(text, i+1); i < len(text); i = plainUntil(text, i+1) {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(text)
}

// skipValue returns the place after the value that starts at i.
func skipValue(text string, i int) int {
	if i >= len(text) {
		return i
	}
	switch text[i] {
	case '"':
		return skipString(text, i)
	case '{', '[':
		return skipNested(text, i, 0)
	}
	for i < len(text) {
		switch text[i] {
		case ',', ']', '}', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// skipNested returns the place after the list or object that is closed when depth, at i, comes down to 0.
func skipNested(text string, i, depth int) int {
	for i < len(text) {
		switch text[i] {
		case '"':
			i = skipString(text, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return i
}

// nesting is how deep lists and objects are nested in text.
func nesting(text string) int {
	deepest, depth := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// parseValue reads the value that text starts with, and says where it ends.
func parseValue(text string) (Value, int) {
	start := skipSpace(text, 0)
	end := skipValue(text, start)
	return parseSpan(text[start:end]), end
}

// parseSpan makes a value of exactly its text.
func parseSpan(text string) Value {
	if text == "" {
		return Value{}
	}
	last := text[len(text)-1]
	switch text[0] {
	case '{':
		if last == '}' && len(text) > 1 {
			return Value{kind: ObjectKind, form: raw, str: text}
		}
	case '[':
		if last == ']' && len(text) > 1 {
			return Value{kind: ListKind, form: raw, str: text}
		}
	case '"':
		if last == '"' && len(text) > 1 {
			return parseString(text[1 : len(text)-1])
		}
	case 't':
		if text == "true" {
			return Bool(true)
		}
	case 'f':
		if text == "false" {
			return Bool(false)
		}
	case 'n':
	default:
		return number(parseDecimal(text))
	}
	return Value{}
}

// member is one key with its value inside an object's text: places without the quotes of the key.
type member struct {
	keyStart, keyEnd, start, end int32
	plain                        bool // the key is ASCII without escapes
}

// nextMember reads the member at or after i, which is behind the opening brace or a member.
func nextMember(text string, i int) (m member, ok bool) {
	key, ok := nextKey(text, i)
	if ok {
		m.set(key)
		m.end = int32(skipValue(text, key.value))
	}
	return m, m.end > m.start
}

// memberKey is where a member's key and the start of its value are.
type memberKey struct {
	start, end, value int
	plain             bool
}

func (m *member) set(key memberKey) {
	m.keyStart, m.keyEnd, m.start, m.plain = int32(key.start), int32(key.end), int32(key.value), key.plain
}

// nextKey reads a member as far as the start of its value; false says that there is no more.
func nextKey(text string, i int) (key memberKey, ok bool) {
	for i < len(text) && (text[i] == ',' || isSpace(text[i])) {
		i++
	}
	if i >= len(text) || text[i] != '"' {
		return key, false
	}
	i++
	key.start = i
	key.plain = true
	for i = plainUntil(text, i); i < len(text) && text[i] != '"'; i = plainUntil(text, i+1) {
		key.plain = false
		if text[i] == '\\' {
			i++
		}
	}
	key.end = i
	i = skipSpace(text, i+1)
	if i >= len(text) || text[i] != ':' {
		return key, false
	}
	i = skipSpace(text, i+1)
	key.value = i
	return key, i < len(text)
}

func (m *member) hasKey(text, name string) bool {
	key := text[m.keyStart:m.keyEnd]
	if m.plain {
		return key == name
	}
	return unquote(key) == name
}

func (m *member) key(text string) string {
	key := text[m.keyStart:m.keyEnd]
	if m.plain {
		return key
	}
	return unquote(key)
}

func (m *member) value(text string) Value { return parseSpan(text[m.start:m.end]) }

func rawAttr(text, name string) (Value, int) {
	i := 1
	for {
		m, ok := nextMember(text, i)
		if !ok {
			return Value{}, len(text)
		}
		i = int(m.end)
		if m.hasKey(text, name) {
			found := m.value(text)
			return found, i + found.decodeCost()
		}
	}
}

func rawFields(text string, each func(string, Value)) {
	i := 1
	for {
		m, ok := nextMember(text, i)
		if !ok {
			return
		}
		i = int(m.end)
		each(m.key(text), m.value(text))
	}
}

// rawIndex also says how many bytes it has passed over.
func rawIndex(text string, n int) (Value, int) {
	i := 1
	for i < len(text) {
		for i < len(text) && (isSpace(text[i]) || text[i] == ',') {
			i++
		}
		end := skipValue(text, i)
		if end <= i {
			break
		}
		if n == 0 {
			found := parseSpan(text[i:end])
			return found, end + found.decodeCost()
		}
		n--
		i = end
	}
	return Value{}, i
}

func rawItems(text string, yield func(Value) bool) {
	i := 1
	for i < len(text) {
		for i < len(text) && (isSpace(text[i]) || text[i] == ',') {
			i++
		}
		end := skipValue(text, i)
		if end <= i || !yield(parseSpan(text[i:end])) {
			return
		}
		i = end
	}
}
