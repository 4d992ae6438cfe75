package expr

import (
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep lists and objects may be nested in a JSON text.
const maxDepth = 128

// CheckJSON says why text may not be an event: it is not one JSON value, a key comes twice in an object, it is not
// UTF-8, or it is nested deeper than 128. The error names the place, counted in bytes from 0.
func CheckJSON(text []byte) error {
	var keys [64]string // enough for most events
	c := checker{text: view(text), keys: keys[:0]}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			i += size
		}
		return fmt.Errorf("byte %d: not UTF-8", i)
	}
	if err := c.value(0); err != nil {
		return err
	}
	if c.i = skipSpace(c.text, c.i); c.i < len(c.text) {
		return c.errorf("more after the end of the JSON value")
	}
	return nil
}

type checker struct {
	text string
	i    int
	keys []string // of the objects that are open, outermost first
}

func (c *checker) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", c.i, fmt.Sprintf(format, args...))
}

func (c *checker) value(depth int) error {
	c.i = skipSpace(c.text, c.i)
	if c.i >= len(c.text) {
		return c.errorf("the JSON ends too early")
	}
	if depth > maxDepth {
		return c.errorf("nested deeper than %d", maxDepth)
	}
	switch b := c.text[c.i]; {
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.list(depth)
	case b == '"':
		_, err := c.string()
		return err
	case b == '-' || isDigit(b):
		return c.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(c.text)-c.i >= len(word) && c.text[c.i:c.i+len(word)] == word {
			c.i += len(word)
			return nil
		}
	}
	return c.errorf("no JSON value starts with %q", c.next())
}

func (c *checker) next() string {
	_, size := utf8.DecodeRuneInString(c.text[c.i:])
	return c.text[c.i : c.i+size]
}

// take passes over space and the byte b, if that is next.
func (c *checker) take(b byte) bool {
	c.i = skipSpace(c.text, c.i)
	if c.i < len(c.text) && c.text[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *checker) list(depth int) error {
	c.i++
	if c.take(']') {
		return nil
	}
	for {
		if err := c.value(depth + 1); err != nil {
			return err
		}
		if c.take(']') {
			return nil
		}
		if !c.take(',') {
			return c.errorf("expected , or ] in a list")
		}
	}
}

func (c *checker) object(depth int) error {
	c.i++
	if c.take('}') {
		return nil
	}
	base := len(c.keys)
	var many map[string]bool
	for {
		c.i = skipSpace(c.text, c.i)
		if c.i >= len(c.text) || c.text[c.i] != '"' {
			return c.errorf("expected a key in an object")
		}
		key, err := c.string()
		if err != nil {
			return err
		}
		if many, err = c.unique(key, base, many); err != nil {
			return err
		}
		if !c.take(':') {
			return c.errorf("expected : after a key")
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
		if c.take('}') {
			c.keys = c.keys[:base]
			return nil
		}
		if !c.take(',') {
			return c.errorf("expected , or } in an object")
		}
	}
}

// unique compares key with the object's others one by one while they are few, and by a map from then on.
func (c *checker) unique(key string, base int, many map[string]bool) (map[string]bool, error) {
	const few = 32
	duplicate := many[key]
	if many == nil {
		for _, other := range c.keys[base:] {
			duplicate = duplicate || other == key
		}
		c.keys = append(c.keys, key)
		if len(c.keys)-base > few {
			many = make(map[string]bool, 4*few)
			for _, other := range c.keys[base:] {
				many[other] = true
			}
		}
	} else {
		many[key] = true
	}
	if duplicate {
		return many, c.errorf("the key %q comes twice in one object", key)
	}
	return many, nil
}

// string returns the text of the string at c.i, decoded.
func (c *checker) string() (string, error) {
	start := c.i + 1
	plain := true
	for c.i = plainUntil(c.text, start); c.i < len(c.text); c.i = plainUntil(c.text, c.i+1) {
		switch b := c.text[c.i]; {
		case b == '"':
			text := c.text[start:c.i]
			c.i++
			if plain {
				return text, nil
			}
			return unquote(text), nil
		case b == '\\':
			plain = false
			if err := c.escape(); err != nil {
				return "", err
			}
		case b < 0x20:
			return "", c.errorf("the control character %q in a string", b)
		default:
			plain = false
		}
	}
	return "", c.errorf("a string does not end")
}

// escape stops at the escape's last byte.
func (c *checker) escape() error {
	if c.i+1 >= len(c.text) {
		return c.errorf("a string does not end")
	}
	switch c.text[c.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.i++
		return nil
	case 'u':
		if hex4(c.text, c.i+2) >= 0 {
			c.i += 5
			return nil
		}
	}
	return c.errorf("not an escape of JSON")
}

func (c *checker) number() error {
	start := c.i
	c.take('-')
	digits := c.digits()
	ok := digits == 1 || digits > 1 && c.text[c.i-digits] != '0'
	if ok && c.i < len(c.text) && c.text[c.i] == '.' {
		c.i++
		ok = c.digits() > 0
	}
	if ok && c.i < len(c.text) && (c.text[c.i] == 'e' || c.text[c.i] == 'E') {
		c.i++
		if c.i < len(c.text) && (c.text[c.i] == '+' || c.text[c.i] == '-') {
			c.i++
		}
		ok = c.digits() > 0
	}
	if !ok {
		c.i = start
		return c.errorf("not a number of JSON")
	}
	return nil
}

func (c *checker) digits() int {
	start := c.i
	for c.i < len(c.text) && isDigit(c.text[c.i]) {
		c.i++
	}
	return c.i - start
}
