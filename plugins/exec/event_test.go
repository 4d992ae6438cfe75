package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestReadEvent(t *testing.T) {
	whole := `{"id":4711,"revision":"2","time":"2026-11-22T12:00:00+01:00","title":"New country","severity":60,` +
		`"observables":[{"kind":"user","value":"kim","role":"subject"},{"kind":"ip","value":"198.51.100.7"}],` +
		`"techniques":["T1078"],"stopped":false,"link":"https://x.example.org/","raw":{"a": 1}}`
	severity, stopped := 60, false
	_, e, err := reader{}.read([]byte(whole))
	want := sdk.Event{
		ID: "4711", Revision: "2", Time: time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC), Title: "New country", Severity: &severity,
		Observables: []sdk.Observable{{Kind: "user", Value: "kim", Role: sdk.Subject}, {Kind: "ip", Value: "198.51.100.7"}},
		Techniques:  []string{"T1078"}, Stopped: &stopped, Link: "https://x.example.org/", Raw: []byte(`{"a": 1}`),
	}
	if diff := cmp.Diff(want, e); diff != "" || err != nil {
		t.Errorf("event (-want +got):\n%s%v", diff, err)
	}
	for text, problem := range map[string]string{
		`{"id":"x","mine":{"severity":"high"}}`:        "",
		`{"time":null,"severity":null,"stopped":null}`: "",
		`{"id":{}}`:                  "id is neither a text nor a number",
		`{"time":1795349992}`:        "time is not written as 2026-01-31T12:00:00Z",
		`{"severity":"high"}`:        "severity is no whole number from 0 to 100",
		`{"severity":101}`:           "severity is no whole number from 0 to 100",
		`{"severity":1.5}`:           "severity is no whole number from 0 to 100",
		`{"title":1}`:                "title is no text",
		`{"techniques":"T1078"}`:     "techniques is no list of texts",
		`{"stopped":"no"}`:           "stopped is neither true nor false",
		`{"observables":{"ip":"x"}}`: `observables is no list of {"kind": …, "value": …, "role": …}`,
		`{"observables":[{"kind":"host"},{"kind":"hostage"}]}`: `observables has the kind "hostage"; there are host, user`,
		`{"observables":[{"kind":"ip","role":"victim"}]}`:      `observables has the role "victim"; there are subject and indicator`,
		`{"raw":[1]}`:            "raw is no JSON object",
		`{"raw":{},"titel":"x"}`: `"titel" is no member of an event, and outside of raw`,
	} {
		_, e, err := reader{}.read([]byte(text))
		if err != nil || !strings.HasPrefix(e.Problem, problem) || (e.Problem == "") != (problem == "") || string(e.Raw) != text {
			t.Errorf("%s: %q, %v, want %q", text, e.Problem, err, problem)
		}
	}
}

func TestIDField(t *testing.T) {
	r := newReader(&detectorConfig{Format: formatRaw, IDField: "a.b"})
	for text, want := range map[string]string{
		`{"a":{"b":"x"}}`: "x", `{"a":{"b":12345678901234567890}}`: "12345678901234567890",
		`{"a":{"b":null}}`: "", `{"a":{"b":[]}}`: "", `{"a":1}`: "", `{}`: "",
	} {
		if _, e, _ := r.read([]byte(text)); e.ID != want || e.Problem != "" {
			t.Errorf("%s: id %q, want %q", text, e.ID, want)
		}
	}
}

// FuzzLines compares the lines of an output, however it arrives, with what the obvious
// way to split gives.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"", "a\nb\n", "a\r\n\nb", "\n\n", "0123456789abcdef\nx", "0123456789abcdef"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const whole, head = 10, 4
		in := newLines(iotest.OneByteReader(bytes.NewReader(data)), whole, head, 1<<20)
		rest := data
		for {
			l, err := in.next()
			if err != nil {
				if err != io.EOF || len(rest) > 0 {
					t.Fatalf("%v with %q left", err, rest)
				}
				return
			}
			want, after, ended := bytes.Cut(rest, []byte("\n"))
			rest = after
			if l.ended != ended || l.length != int64(len(want)) {
				t.Fatalf("line %+v, want %q", l, want)
			}
			if len(want) > whole {
				if !bytes.Equal(l.text, want[:head]) || l.sum != sha256.Sum256(want) {
					t.Fatalf("long line %+v, want %q", l, want)
				}
			} else if !bytes.Equal(l.text, bytes.TrimSuffix(want, []byte("\r"))) {
				t.Fatalf("line %q, want %q", l.text, want)
			}
		}
	})
}

// FuzzRead makes something of any line: nothing is lost, and what comes can be sent.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"raw":{}}`, `{"cursor":1}`, `{"cursor":{"a":[1, 2]},"more":true,"retry_after":"5m"}`, `{"cursor":1,"x":2}`, `{"severity":1e2}`,
		"{\"a\":\xff}", `{"id":"\ud800"}`, `[`, `{"time":"2026-01-31T12:00:00Z"}`, `{"observables":[{"kind":"ip"}]}`, `{"a":{"b":7}}`, `{"CURSOR":1}`, `{"retry_after":null}`,
	} {
		f.Add([]byte(seed))
	}
	readers := []reader{{}, newReader(&detectorConfig{Format: formatRaw, IDField: "a.b"})}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := bytes.Trim(data, " \t\r\n")
		if len(text) == 0 {
			return
		}
		for _, r := range readers {
			c, e, err := r.read(text)
			switch {
			case err != nil:
				if !strings.Contains(string(text), "cursor") && !strings.Contains(string(text), "retry_after") && !strings.Contains(string(text), `\u`) {
					t.Errorf("%q: %v", text, err)
				}
			case c != nil:
				if c.Cursor != nil && (!json.Valid(c.Cursor) || len(c.Cursor) > maxCursor) {
					t.Errorf("cursor %q", c.Cursor)
				}
			case e.Problem != "":
				if !bytes.Equal(e.Raw, text) || !utf8.ValidString(e.Problem) {
					t.Errorf("%q with the problem %q", e.Raw, e.Problem)
				}
			case !json.Valid(e.Raw) || e.Raw[0] != '{' || !bytes.Contains(text, e.Raw):
				t.Errorf("event %q of %q", e.Raw, text)
			}
		}
	})
}

func TestEndlessLine(t *testing.T) {
	in := newLines(strings.NewReader(strings.Repeat("x", 1000)), 10, 4, 999)
	if _, err := in.next(); !errors.Is(err, errEndless) {
		t.Errorf("next: %v", err)
	}
}
