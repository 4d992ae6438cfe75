package expr

import (
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep lists and objects may be nested in a JSON text.
const maxDepth = 128

// CheckJSON says why text may not be an event: it is not one JSON value, a key comes twice in an object, it is not
// UTF-8, or it is nested deeper than 128. The error names the place, counted in bytes from 0.
func CheckJSON(text []byte) error {
	r := reader{text: view(text), keys: make([]key, 0, 64)} // enough for most events
	return r.read(nil)
}

// reader passes once over a JSON text: it holds it against what an event may be, and tells its document the places of
// what a plan asks for. Its methods take a place in the text and return the one behind what they have read, or failed.
type reader struct {
	text string
	keys []key     // of the objects that are open, outermost first
	err  error     // after failed
	doc  *Document // nil: nothing is asked for
}

const failed = -1

// key of an object, without its quotes.
type key struct {
	start, end int32
	hash       uint32
	plain      bool // ASCII without escapes
}

func (r *reader) read(root *planNode) error {
	r.keys, r.err = r.keys[:0], nil
	start := skipSpace(r.text, 0)
	end := r.value(start, 0, root)
	if end == failed {
		return r.err
	}
	if i := skipSpace(r.text, end); i < len(r.text) {
		r.fail(i, "more after the end of the JSON value")
		return r.err
	}
	if r.doc != nil {
		r.doc.start, r.doc.end = int32(start), int32(end)
	}
	return nil
}

func (r *reader) fail(i int, format string, args ...any) int {
	r.err = fmt.Errorf("byte %d: %s", i, fmt.Sprintf(format, args...))
	return failed
}

// value reads the one at i, which is not space. What lies below node is noted.
func (r *reader) value(i, depth int, node *planNode) int {
	if i >= len(r.text) {
		return r.fail(i, "the JSON ends too early")
	}
	if depth > maxDepth {
		return r.fail(i, "nested deeper than %d", maxDepth)
	}
	start := i
	switch b := r.text[i]; b {
	case '"':
		var plain bool
		if i, plain = r.str(i); i == failed {
			return failed
		}
		if node != nil {
			r.doc.note(node, start, i, plain)
		}
		return i
	case '{':
		i = r.object(i, depth, node)
	case '[':
		i = r.list(i, depth)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		i = r.number(i)
	default:
		i = r.word(i)
	}
	if node != nil && i != failed {
		r.doc.note(node, start, i, false)
	}
	return i
}

func (r *reader) word(i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(r.text)-i >= len(word) && r.text[i:i+len(word)] == word {
			return i + len(word)
		}
	}
	_, size := utf8.DecodeRuneInString(r.text[i:])
	return r.fail(i, "no JSON value starts with %q", r.text[i:i+size])
}

func (r *reader) list(i, depth int) int {
	i = skipSpace(r.text, i+1)
	if i < len(r.text) && r.text[i] == ']' {
		return i + 1
	}
	for {
		if i = r.value(i, depth+1, nil); i == failed {
			return failed
		}
		if i = skipSpace(r.text, i); i >= len(r.text) {
			return r.fail(i, "expected , or ] in a list")
		}
		switch r.text[i] {
		case ']':
			return i + 1
		case ',':
			i = skipSpace(r.text, i+1)
		default:
			return r.fail(i, "expected , or ] in a list")
		}
	}
}

func (r *reader) object(i, depth int, node *planNode) int {
	i = skipSpace(r.text, i+1)
	if i < len(r.text) && r.text[i] == '}' {
		return i + 1
	}
	names := names{base: len(r.keys)}
	depth++
	for {
		if i >= len(r.text) || r.text[i] != '"' {
			return r.fail(i, "expected a key in an object")
		}
		start := i + 1
		end, plain := r.str(i)
		if end == failed {
			return failed
		}
		k := key{start: int32(start), end: int32(end - 1), plain: plain}
		name := r.text[start : end-1]
		if !plain {
			name = unquote(name)
		}
		k.hash = hashOf(name)
		if bit, word := uint64(1)<<(k.hash&63), &names.seen[k.hash>>6&3]; *word&bit == 0 && names.many == nil {
			*word |= bit
		} else if names.has(r, k, name) {
			return r.fail(end, "the key %q comes twice in one object", name)
		}
		r.keys = append(r.keys, k)
		if i = skipSpace(r.text, end); i >= len(r.text) || r.text[i] != ':' {
			return r.fail(i, "expected : after a key")
		}
		i = skipSpace(r.text, i+1)
		var child *planNode
		if node != nil {
			child = node.child(k.hash, name)
		}
		if i = r.value(i, depth, child); i == failed {
			return failed
		}
		if i = skipSpace(r.text, i); i >= len(r.text) {
			return r.fail(i, "expected , or } in an object")
		}
		switch r.text[i] {
		case '}':
			r.keys = r.keys[:names.base]
			return i + 1
		case ',':
			i = skipSpace(r.text, i+1)
		default:
			return r.fail(i, "expected , or } in an object")
		}
	}
}

// fewNames of an object are compared one by one where their hashes meet; more are kept in a map.
const fewNames = 128

// names of an object that is open.
type names struct {
	base int       // of its keys among the reader's
	seen [4]uint64 // a bit for each hash, cut to 8 bits
	many map[string]bool
}

// has says whether the object has the name already, one whose hash was seen or that is one of many.
func (n *names) has(r *reader, k key, name string) bool {
	keys := r.keys[n.base:]
	if n.many == nil && len(keys) <= fewNames {
		for i := range keys {
			if keys[i].hash == k.hash && r.name(keys[i]) == name {
				return true
			}
		}
		return false
	}
	if n.many == nil {
		n.many = make(map[string]bool, 4*fewNames)
		for _, k := range keys {
			n.many[r.name(k)] = true
		}
	}
	if n.many[name] {
		return true
	}
	n.many[name] = true
	return false
}

func (r *reader) name(k key) string {
	if k.plain {
		return r.text[k.start:k.end]
	}
	return unquote(r.text[k.start:k.end])
}

// hashOf a name of an object: of its length and of the eight bytes at either end. The upper bits are mixed best.
func hashOf(s string) uint32 {
	n := len(s)
	h := uint64(n)
	switch {
	case n >= 8:
		h ^= load8(s) ^ bits.RotateLeft64(load8(s[n-8:]), 31)
	case n >= 4:
		h ^= uint64(load4(s))<<8 ^ uint64(load4(s[n-4:]))<<32
	case n > 0:
		h ^= uint64(s[0])<<8 ^ uint64(s[n>>1])<<16 ^ uint64(s[n-1])<<24
	}
	h *= 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}

func load4(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// str reads the string that opens at i, and says whether it is ASCII without escapes.
func (r *reader) str(i int) (end int, plain bool) {
	i = plainUntil(r.text, i+1)
	if i < len(r.text) && r.text[i] == '"' {
		return i + 1, true
	}
	return r.oddString(i), false
}

// oddString goes on in a string with what is not plain.
func (r *reader) oddString(i int) int {
	for ; i < len(r.text); i = plainUntil(r.text, i) {
		switch b := r.text[i]; {
		case b == '"':
			return i + 1
		case b == '\\':
			if i = r.escape(i); i == failed {
				return failed
			}
		case b < 0x20:
			return r.fail(i, "the control character %q in a string", b)
		case b < utf8.RuneSelf:
			i++
		default:
			c, size := utf8.DecodeRuneInString(r.text[i:])
			if c == utf8.RuneError && size == 1 {
				return r.fail(i, "not UTF-8")
			}
			i += size
		}
	}
	return r.fail(i, "a string does not end")
}

func (r *reader) escape(i int) int {
	if i+1 >= len(r.text) {
		return r.fail(i, "a string does not end")
	}
	switch r.text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if hex4(r.text, i+2) >= 0 {
			return i + 6
		}
	}
	return r.fail(i, "not an escape of JSON")
}

func (r *reader) number(i int) int {
	start := i
	if r.text[i] == '-' {
		i++
	}
	first := i
	i = skipDigits(r.text, i)
	ok := i > first && (r.text[first] != '0' || i == first+1)
	if ok && i < len(r.text) && r.text[i] == '.' {
		from := i + 1
		i = skipDigits(r.text, from)
		ok = i > from
	}
	if ok && i < len(r.text) && r.text[i]|0x20 == 'e' {
		i++
		if i < len(r.text) && (r.text[i] == '+' || r.text[i] == '-') {
			i++
		}
		from := i
		i = skipDigits(r.text, from)
		ok = i > from
	}
	if !ok {
		return r.fail(start, "not a number of JSON")
	}
	return i
}

func skipDigits(text string, i int) int {
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return i
}
