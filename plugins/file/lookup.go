package main

import (
	"bytes"
	"encoding/json"
)

// scanner walks over JSON text. Of text that is no JSON it finds something or nothing,
// and stays within it; the core tells whether an event is valid.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next passes over white space and then over c, if that follows.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

// quoted passes over a text and returns what is between its quotes.
func (s *scanner) quoted() ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	begin := s.at
	for s.at < len(s.text) {
		n := bytes.IndexByte(s.text[s.at:], '"')
		if n < 0 {
			break
		}
		s.at += n + 1
		escapes := s.at - 2
		for escapes >= begin && s.text[escapes] == '\\' {
			escapes--
		}
		if (s.at-escapes)%2 == 0 {
			return s.text[begin : s.at-1], true
		}
	}
	s.at = len(s.text)
	return nil, false
}

// value passes over any value and returns it.
func (s *scanner) value() ([]byte, bool) {
	s.space()
	begin, depth := s.at, 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			if _, ok := s.quoted(); !ok {
				return nil, false
			}
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth == 0 {
				return s.text[begin:s.at], s.at > begin
			}
			depth--
			s.at++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.text[begin:s.at], s.at > begin
			}
			s.at++
			continue
		default:
			s.at++
			continue
		}
		if depth == 0 {
			return s.text[begin:s.at], true
		}
	}
	return s.text[begin:], depth == 0 && s.at > begin
}

// lookup returns the value at a path of names, as JSON; nil if there is none.
func lookup(text []byte, path []string) []byte {
	s := scanner{text: text}
	for _, name := range path {
		if !s.next('{') || !s.member(name) {
			return nil
		}
	}
	value, ok := s.value()
	if !ok {
		return nil
	}
	return value
}

// member goes to the value of a name in the object that the scanner is in.
func (s *scanner) member(name string) bool {
	for {
		key, ok := s.quoted()
		if !ok || !s.next(':') {
			return false
		}
		if string(unescaped(key)) == name {
			return true
		}
		if _, ok := s.value(); !ok || !s.next(',') {
			return false
		}
	}
}

// unescaped is the text between the quotes of a JSON text.
func unescaped(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted
	}
	var text string
	whole := append(append([]byte{'"'}, quoted...), '"')
	if json.Unmarshal(whole, &text) != nil {
		return quoted
	}
	return []byte(text)
}

// text is what a JSON text or number says.
func text(value []byte) (string, bool) {
	switch {
	case len(value) == 0:
		return "", false
	case value[0] == '"' && len(value) >= 2:
		return string(unescaped(value[1 : len(value)-1])), true
	case value[0] == '-' || value[0] >= '0' && value[0] <= '9':
		return string(value), true
	}
	return "", false
}
