package main

import (
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// pattern takes a line of text apart.
type pattern struct {
	*regexp.Regexp
	groups []group
}

// group is a named group.
type group struct {
	name  string
	index int
}

func compilePattern(text string) (pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return pattern{}, err
	}
	p := pattern{Regexp: re}
	seen := map[string]bool{}
	for i, name := range re.SubexpNames() {
		switch {
		case name == "":
			continue
		case seen[name]:
			return pattern{}, fmt.Errorf("it has two groups named %q", name)
		}
		seen[name] = true
		p.groups = append(p.groups, group{name, i})
	}
	if len(p.groups) == 0 {
		return pattern{}, errors.New("it has no named group: write (?P<name>…) around what is to be read")
	}
	return p, nil
}

// match returns the groups of the first pattern that matches, as a JSON object of those
// that are not empty.
func (r *reader) match(line []byte) ([]byte, bool) {
	for i := range r.patterns {
		p := &r.patterns[i]
		found := p.FindSubmatchIndex(line)
		if found == nil {
			continue
		}
		out := make([]byte, 0, len(line)+len(p.groups)*16+2)
		for _, g := range p.groups {
			if begin, end := found[2*g.index], found[2*g.index+1]; begin >= 0 && begin < end {
				out = appendMember(out, g.name, line[begin:end])
			}
		}
		if len(out) == 0 {
			out = append(out, '{', '}')
		}
		return out, true
	}
	return nil, false
}

// appendMember adds a text to a JSON object, which an empty out begins.
func appendMember(out []byte, name string, value []byte) []byte {
	if len(out) == 0 {
		out = append(out, '{')
	} else {
		out[len(out)-1] = ','
	}
	out = appendText(out, []byte(name))
	out = append(out, ':')
	out = appendText(out, value)
	return append(out, '}')
}

// appendText adds a JSON text. What is not valid UTF-8 becomes U+FFFD.
func appendText(out, value []byte) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(value); {
		c := value[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(value[i:])
			if r == utf8.RuneError && n == 1 {
				out = append(append(out, value[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		out = append(out, value[from:i]...)
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	return append(append(out, value[from:]...), '"')
}
