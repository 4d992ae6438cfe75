package main

import (
	"bytes"
	"slices"
)

// maxNesting is how deep objects and lists are looked into for repeated names.
const maxNesting = 128

// hasRepeated tells whether an object in a JSON text has a name twice. Of what is no JSON
// it may say anything.
func hasRepeated(text []byte) bool {
	f := finder{scanner: scanner{text: text}, names: make([][]byte, 0, 64)}
	f.value(0)
	return f.found
}

// finder looks for names that are repeated.
type finder struct {
	scanner
	names [][]byte // of the objects that it is in, one object's after the other's
	found bool
}

// linear is up to how many names of an object are compared one by one.
const linear = 24

// value passes over a value; not ok ends the search.
func (f *finder) value(depth int) (ok bool) {
	f.space()
	if f.at >= len(f.text) || depth > maxNesting {
		return false
	}
	switch f.text[f.at] {
	case '{':
		f.at++
		return f.next('}') || f.members(depth)
	case '[':
		f.at++
		if f.next(']') {
			return true
		}
		for f.value(depth + 1) {
			if !f.next(',') {
				return f.next(']')
			}
		}
		return false
	}
	_, ok = f.scanner.value()
	return ok
}

func (f *finder) members(depth int) (ok bool) {
	begin := len(f.names)
	defer func() { f.names = f.names[:begin] }()
	var many map[string]bool
	for {
		name, ok := f.quoted()
		if !ok || !f.next(':') {
			return false
		}
		name = unescaped(name)
		before := f.names[begin:]
		if len(before) == linear {
			many = make(map[string]bool, 4*linear)
			for _, n := range before {
				many[string(n)] = true
			}
		}
		if many != nil {
			f.found = many[string(name)]
			many[string(name)] = true
		} else {
			f.found = slices.ContainsFunc(before, func(n []byte) bool { return bytes.Equal(n, name) })
		}
		f.names = append(f.names, name)
		if f.found || !f.value(depth+1) {
			return false
		}
		if !f.next(',') {
			return f.next('}')
		}
	}
}

// joinRepeated rewrites a JSON object in which a name comes more than once, at any
// depth: its place is that of the first, its value the list of all values in their
// order. Everything else stays as it is, byte by byte, and so does a text that has no
// repeated name or is no JSON.
func joinRepeated(text []byte) []byte {
	j := joiner{scanner: scanner{text: text}}
	out, ok := j.value(nil, 0)
	j.space()
	if !ok || !j.repeated || j.at < len(text) {
		return text
	}
	return out
}

type joiner struct {
	scanner
	repeated bool
}

// member is a name in an object with its value; further are those of its repetitions.
type member struct {
	name    []byte
	before  []byte // from the member before to the value
	value   []byte
	further [][]byte
}

// value appends the value that follows, rewritten.
func (j *joiner) value(out []byte, depth int) ([]byte, bool) {
	begin := j.at
	j.space()
	out = append(out, j.text[begin:j.at]...)
	if depth > maxNesting || j.at >= len(j.text) {
		return out, false
	}
	switch j.text[j.at] {
	case '{':
		return j.object(out, depth)
	case '[':
		return j.list(out, depth)
	}
	value, ok := j.scanner.value()
	return append(out, value...), ok
}

func (j *joiner) list(out []byte, depth int) ([]byte, bool) {
	j.at++
	out = append(out, '[')
	if j.next(']') {
		return append(out, ']'), true
	}
	for {
		var ok bool
		if out, ok = j.value(out, depth+1); !ok {
			return out, false
		}
		switch {
		case j.next(','):
			out = append(out, ',')
		case j.next(']'):
			return append(out, ']'), true
		default:
			return out, false
		}
	}
}

func (j *joiner) object(out []byte, depth int) ([]byte, bool) {
	j.at++
	out = append(out, '{')
	if j.next('}') {
		return append(out, '}'), true
	}
	var members []member
	places := map[string]int{}
	for {
		begin := j.at
		name, ok := j.quoted()
		if !ok || !j.next(':') {
			return out, false
		}
		m := member{name: name, before: j.text[begin:j.at]}
		if m.value, ok = j.value(nil, depth+1); !ok {
			return out, false
		}
		key := string(unescaped(name))
		if first, repeated := places[key]; repeated {
			j.repeated = true
			members[first].further = append(members[first].further, bytes.TrimSpace(m.value))
		} else {
			places[key] = len(members)
			members = append(members, m)
		}
		if j.next(',') {
			continue
		}
		if !j.next('}') {
			return out, false
		}
		break
	}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, m.before...)
		if len(m.further) == 0 {
			out = append(out, m.value...)
			continue
		}
		out = append(append(out, '['), bytes.TrimSpace(m.value)...)
		for _, value := range m.further {
			out = append(append(out, ','), value...)
		}
		out = append(out, ']')
	}
	return append(out, '}'), true
}
