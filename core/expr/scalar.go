package expr

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Scalar is the text of a text, number or bool that others are compared with: at most so
// many bytes, without NUL and without bytes that are no character. It is empty for all
// else.
func Scalar(v Value, most int) string {
	switch v.Kind() {
	case StringKind, NumberKind, BoolKind:
	default:
		return ""
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(v.Text(), "\x00", "\ufffd"), "\ufffd")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// Scalars are the different ones in a value: itself, or those in its lists and objects, at
// most so many.
func Scalars(v Value, count, most int) []string {
	var all []string
	for leaf := range v.Leaves() {
		if len(all) == count {
			break
		}
		if text := Scalar(leaf, most); text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
