package expr

import (
	"encoding/base64"
	"net/url"
	"strings"
	"unicode/utf8"
)

func encodingFunctions() []Function {
	return []Function{
		{
			Name: "jsondecode", Group: "encoding",
			Doc:    "The value of a JSON text. Null if it is none, if a key comes twice, or if it is nested too deep.",
			params: []param{text("text")},
			call: func(s *Scope, a []Value) Value {
				if !s.spend(4*len(a[0].str)) || CheckJSON([]byte(a[0].str)) != nil {
					return Value{}
				}
				v, _ := parseValue(a[0].str)
				return v
			},
			Examples: []Example{{`jsondecode("{\"a\": [1, 2]}").a[1]`, `2`}, {`jsondecode("{")`, `null`}},
		},
		{
			Name: "jsonencode", Group: "encoding", result: StringKind,
			Doc:    "The value as JSON, keys sorted.",
			params: []param{{name: "value", kinds: anyKind}},
			call: func(s *Scope, a []Value) Value {
				if !s.spendDeep(a[0]) {
					return Value{}
				}
				return s.text(a[0].appendJSON(nil, maxText))
			},
			Examples: []Example{{`jsonencode({ b = [1], a = "x" })`, `"{\"a\":\"x\",\"b\":[1]}"`}},
		},
		{
			Name: "base64decode", Group: "encoding", result: StringKind,
			Doc:    "The text in base64, standard or for URLs, with or without padding. Null if it is none, or not UTF-8.",
			params: []param{text("text")},
			call: func(s *Scope, a []Value) Value {
				encoding := base64.RawStdEncoding
				if strings.ContainsAny(a[0].str, "-_") {
					encoding = base64.RawURLEncoding
				}
				b, err := encoding.DecodeString(strings.TrimRight(a[0].str, "="))
				if err != nil || !utf8.Valid(b) {
					return Value{}
				}
				return s.text(b)
			},
			Examples: []Example{{`base64decode("aGk=")`, `"hi"`}},
		},
		{
			Name: "url_decode", Group: "encoding", result: StringKind,
			Doc:    "The text with %xx and + decoded, as in a query. Null if it is wrongly encoded, or not UTF-8.",
			params: []param{text("text")},
			call: func(s *Scope, a []Value) Value {
				decoded, err := url.QueryUnescape(a[0].str)
				if err != nil || !utf8.ValidString(decoded) {
					return Value{}
				}
				return s.changed(a[0], decoded)
			},
			Examples: []Example{{`url_decode("a%20b+c%3D")`, `"a b c="`}},
		},
	}
}
