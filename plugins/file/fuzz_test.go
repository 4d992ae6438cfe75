package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/sdk"
)

// FuzzSplit reads a file in two parts and compares its lines with what the obvious way
// to split gives.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"", "a\nb\n", "\xef\xbb\xbf{}\r\n\r\n \n{}\n{}", "\r\r\n\x00\n", "\n\n\n", "\xef\xbb\xbf\xef\xbb\xbf\n"} {
		f.Add([]byte(seed), uint(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint) {
		if len(data) > 1<<16 {
			return
		}
		path := temp(t, "a.log")
		part := int(cut % uint(len(data)+1))
		write(t, path, string(data[:part]))
		instance := configured(t, block{"path": path})
		first, out, _ := watching(t, instance, nil)
		round(t, first)
		appendTo(t, path, string(data[part:]))
		second, rest, _ := watching(t, instance, out.cursor())
		if err := second.once(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(strings.TrimPrefix(string(data), "\xef\xbb\xbf")) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if strings.Trim(line, " \t") != "" {
				want = append(want, line)
			}
		}
		if got := append(out.lines(), rest.lines()...); !slices.Equal(got, want) {
			t.Errorf("lines %q, want %q", got, want)
		}
	})
}

// FuzzReader makes events of any line, with every option.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{`{"a":{"b":"1"},"a":2}`, `{"t":17}`, "{\"\\u0061\":\xff}", "a b", `{"a":[{"b":1,"b":[{}]}]`, `{"a":"\"`, "{", `{"a":{"b":"\ud800"}}`} {
		f.Add([]byte(seed))
	}
	var readers []*reader
	for _, b := range []block{
		{"id_field": "a.b", "time_field": "t", "time_format": "unix", "repeated_keys": "join"},
		{"id_field": "a.b", "repeated_keys": "join", "invalid_utf8": "replace"},
		lineOf(`^(?P<a>\S+) (?P<b>.*)$`, `(?P<c>[^a]*)(?P<t>a+)`).with("time_field", "t").with("unmatched", "keep").with("invalid_utf8", "latin1"),
		lineOf(`(?P<a>.)`),
	} {
		readers = append(readers, configured(f, b.with("path", "/a.log")).reader)
	}
	at := place{path: "/a.log", print: "f"}
	f.Fuzz(func(t *testing.T, line []byte) {
		line, _ = trim(line, 1)
		if len(line) == 0 || bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		before := bytes.Clone(line)
		for i, r := range readers {
			e, ok := r.event(line, at, time.Unix(0, 0))
			if !ok || e.ID == "" {
				t.Fatalf("reader %d makes no event with an id of %q", i, line)
			}
			if !bytes.Equal(line, before) {
				t.Fatalf("reader %d wrote into the line", i)
			}
			switch {
			case e.Problem != "":
				if !bytes.Equal(e.Raw, line) {
					t.Errorf("reader %d: %q was set aside as %q", i, line, e.Raw)
				}
			case r.config.Format == formatText:
				if err := expr.CheckJSON(e.Raw); err != nil {
					t.Errorf("reader %d makes %s of %q: %v", i, e.Raw, line, err)
				}
			default:
				checkJSON(t, r.config, line, e)
			}
		}
	})
}

func checkJSON(t *testing.T, c *config, line []byte, e sdk.Event) {
	valid := json.Valid(line) && utf8.Valid(line)
	if !valid && c.InvalidUTF8 == reject && !bytes.Equal(e.Raw, line) && !json.Valid(line) {
		t.Errorf("%q, which is no JSON, became %q", line, e.Raw)
	}
	if !valid || expr.CheckJSON(line) == nil && bytes.Equal(e.Raw, line) {
		return
	}
	if expr.CheckJSON(line) == nil {
		t.Errorf("%s, in which no name is repeated, became %s", line, e.Raw)
	} else if err := expr.CheckJSON(e.Raw); err != nil && !bytes.Equal(e.Raw, line) {
		t.Errorf("%s became %s: %v", line, e.Raw, err)
	}
}

// FuzzJoin joins the repeated names of any JSON: after that none is repeated.
func FuzzJoin(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"a":[1,{"x":1,"x":2}],"a":null},"a":"}"}`))
	f.Add([]byte(`{"\u0061":1,"a":2 , "c" : { } }`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) || !utf8.Valid(data) || bytes.Contains(data, []byte(`\u`)) {
			return
		}
		joined := joinRepeated(data)
		if hasRepeated(data) != !bytes.Equal(joined, data) {
			t.Fatalf("%s became %s", data, joined)
		}
		if !json.Valid(joined) {
			t.Fatalf("%s became %s", data, joined)
		}
		if !bytes.Equal(joined, data) && !bytes.Equal(joinRepeated(joined), joined) {
			t.Errorf("%s became %s, in which names are repeated yet", data, joined)
		}
	})
}
