package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestLines reads whole files once. An event is shown as its payload or, after !, the
// end of its problem and the payload.
func TestLines(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", sdk.MaxEvent-8) + `"}` // the longest that is an event
	for _, test := range []struct {
		name string
		text string
		want []string
		set  block
	}{
		{"nothing", "", nil, nil},
		{"one", "{\"a\":1}\n", []string{`{"a":1}`}, nil},
		{"CRLF", "{\"a\":1}\r\n{\"a\":2}\r\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"byte order mark", "\xef\xbb\xbf{\"a\":1}\n", []string{`{"a":1}`}, nil},
		{"empty lines", "\n\r\n  \t\n{\"a\":1}\n\n", []string{`{"a":1}`}, nil},
		{"equal lines", "{}\n{}\n", []string{`{}`, `{}`}, nil},
		{"bytes untouched", " { \"b\" : 1.0e0 }\t\n", []string{" { \"b\" : 1.0e0 }\t"}, nil},
		{"no newline at the end", "{\"a\":1}\n{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"half an object at the end", "{\"a\":1}\n{\"a\"", []string{`{"a":1}`, `{"a"`}, nil},
		{"no object", "hello\n[1]\n7\n{}\n", []string{"!not a JSON object: hello", "!not a JSON object: [1]", "!not a JSON object: 7", "{}"}, nil},
		{"null byte", "{\"a\":\"\x00\"}\n\x00\x00{}\n{}\n", []string{"{\"a\":\"\x00\"}", "!not a JSON object: \x00\x00{}", "{}"}, nil},
		{"invalid UTF-8 is left to the core", "{\"a\":\"\xff\"}\n", []string{"{\"a\":\"\xff\"}"}, nil},
		{"invalid UTF-8 replaced", "{\"a\":\"\xff\xfe\",\"b\":\"ö\"}\n", []string{"{\"a\":\"\uFFFD\",\"b\":\"ö\"}"}, block{"invalid_utf8": "replace"}},
		{"Latin-1", "{\"a\":\"j\xf6rg\"}\n{\"a\":\"jörg\"}\n", []string{`{"a":"jörg"}`, `{"a":"jörg"}`}, block{"invalid_utf8": "latin1"}},
		{"repeated names are left to the core", `{"a":1,"a":2}` + "\n", []string{`{"a":1,"a":2}`}, nil},
		{"repeated names joined", `{"a":1, "b":{"c":"x","\u0063":[2]},"a" : 2 }` + "\n", []string{`{"a":[1,2], "b":{"c":["x",[2]]}}`}, block{"repeated_keys": "join"}},
		{"the longest event", long + "\r\n{}\n", []string{long, "{}"}, nil},
		{"text", "a 1\nb 2\nc\n", []string{`{"name":"a","n":"1"}`, `{"name":"b","n":"2"}`, "!no pattern matches: c"}, lineOf(`^(?P<name>\w+) (?P<n>\d+)$`)},
		{"text skipped", "a 1\nc\n", []string{`{"name":"a"}`}, lineOf(`^(?P<name>\w+) \d+$`).with("unmatched", "skip")},
		{"text kept", "c\t\"\n", []string{`{"message":"c\t\""}`}, lineOf(`^(?P<name>\w+) \d+$`).with("unmatched", "keep")},
		{"the first pattern that matches", "a 1\n", []string{`{"x":"a 1"}`}, lineOf(`^(?P<x>.*)$`, `^(?P<y>.*)$`)},
		{"the second pattern", "b\n", []string{`{"y":"b"}`}, lineOf(`^(?P<x>a)$`, `^(?P<y>.*)$`)},
		{"empty groups", "b\n", []string{`{"b":"b"}`}, lineOf(`^(?P<a>a?)(?P<b>b)(?P<c>c)?$`)},
		{"all groups empty", "b\n", []string{`{}`}, lineOf(`^(?P<a>a?)b$`)},
		{"text with control characters", "a\x01\x7f\u2028é\n", []string{"{\"m\":\"a\\u0001\\u007f\u2028é\"}"}, lineOf(`^(?P<m>.*)$`)},
		{"text that is no UTF-8", "\xff\n", []string{"!not valid UTF-8: \xff"}, lineOf(`^(?P<m>.*)$`)},
		{"text in Latin-1", "\xe9t\xe9\n", []string{`{"m":"été"}`}, lineOf(`^(?P<m>.*)$`).with("invalid_utf8", "latin1")},
		{"text without newline", "a\nb", []string{`{"m":"a"}`, `{"m":"b"}`}, lineOf(`^(?P<m>.*)$`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := temp(t, "a.log")
			write(t, path, test.text)
			out := onceOver(t, test.set.with("path", path), nil)
			var got []string
			ids := map[string]bool{}
			for _, e := range out.events() {
				shown := string(e.Raw)
				if e.Problem != "" {
					why, at, _ := strings.Cut(e.Problem, ": ")
					if !strings.HasPrefix(at, path+", byte ") {
						t.Errorf("problem %q does not tell the place", e.Problem)
					}
					shown = "!" + why + ": " + shown
				}
				got = append(got, shown)
				ids[e.ID] = true
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if len(ids) != len(got) {
				t.Errorf("%d ids of %d events", len(ids), len(got))
			}
			if out.trouble != nil {
				t.Error(out.trouble)
			}
		})
	}
}

func lineOf(patterns ...string) block { return block{"format": "text", "patterns": patterns} }

// with is the block with one more attribute.
func (b block) with(name string, value any) block {
	more := block{}
	maps.Copy(more, b)
	more[name] = value
	return more
}

func TestOversize(t *testing.T) {
	huge := `{"a":"` + strings.Repeat("0123456789", 2<<20) + `"}`
	just := strings.Repeat("y", sdk.MaxEvent+1)
	path := temp(t, "a.log")
	write(t, path, "{}\n"+huge+"\n"+just+"\r\n{\"b\":1}\n"+huge)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out := onceOver(t, block{"path": path}, nil)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 {
		t.Errorf("%d bytes were allocated to read two lines of 20 MiB", used)
	}
	events := out.events()
	if len(events) != 5 {
		t.Fatalf("%d events, want 5", len(events))
	}
	for i, want := range []struct {
		text   string
		offset int
	}{{huge, 3}, {just, 3 + len(huge) + 1}, {huge, 3 + len(huge) + 1 + len(just) + 2 + 8}} {
		e := events[[]int{1, 2, 4}[i]]
		over := e.Oversize
		if over == nil {
			t.Fatalf("event %d is not oversize: %d bytes", i, len(e.Raw))
		}
		if over.Length != int64(len(want.text)) || over.SHA256 != sha256.Sum256([]byte(want.text)) {
			t.Errorf("event %d has length %d, want %d, and hash %x", i, over.Length, len(want.text), over.SHA256)
		}
		if over.Place != fmt.Sprintf("%s, byte %d", path, want.offset) || string(e.Raw) != want.text[:sdk.OversizeHead] {
			t.Errorf("event %d is at %q with a head of %d bytes", i, over.Place, len(e.Raw))
		}
	}
	if string(events[3].Raw) != `{"b":1}` {
		t.Errorf("after them comes %s", events[3].Raw)
	}
	if again := onceOver(t, block{"path": path}, out.cursor()).events(); len(again) != 1 || again[0].ID != events[4].ID {
		t.Errorf("from the cursor on there are %d events, want the line without newline, under its id", len(again))
	}
}

// A line too large that is being written is not read again from its beginning each time.
func TestOversizeGrows(t *testing.T) {
	path := temp(t, "a.log")
	w, out, _ := watching(t, configured(t, block{"path": path}), nil)
	part := strings.Repeat("z", 700<<10)
	for range 4 {
		appendTo(t, path, part)
		round(t, w)
	}
	if n := len(out.events()); n != 0 {
		t.Fatalf("%d events of a line that has no end", n)
	}
	appendTo(t, path, "\n{}\n")
	round(t, w)
	events := out.events()
	if len(events) != 2 || events[0].Oversize == nil || events[0].Oversize.Length != 4*int64(len(part)) || string(events[1].Raw) != "{}" {
		t.Fatalf("%d events, %+v", len(events), events[0].Oversize)
	}
	if want := sha256.Sum256([]byte(strings.Repeat(part, 4))); events[0].Oversize.SHA256 != want {
		t.Error("its hash is wrong")
	}
}

// Each cursor stands right after the events that were sent with it.
func TestCursorsAndBatches(t *testing.T) {
	path := temp(t, "a.log")
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "{\"n\":%d,\"filler\":%q}\n", i, strings.Repeat("f", i%3000))
	}
	write(t, path, text.String())
	all := onceOver(t, block{"path": path}, nil)
	events := all.events()
	if len(events) != 5000 {
		t.Fatalf("%d events, want 5000", len(events))
	}
	passed := 0
	for i, s := range all.sends {
		size := 0
		for _, e := range s.events {
			size += len(e.Raw) + len(e.ID) + around
		}
		if len(s.events) > sdk.MaxBatchEvents || size > sdk.MaxBatchBytes {
			t.Fatalf("send %d has %d events of %d bytes", i, len(s.events), size)
		}
		if i < len(all.sends)-1 && len(s.events) < sdk.MaxBatchEvents && size < sdk.MaxBatchBytes*9/10 {
			t.Errorf("send %d has only %d events of %d bytes", i, len(s.events), size)
		}
		passed += len(s.events)
		rest := onceOver(t, block{"path": path}, s.cursor).events()
		if len(rest) != len(events)-passed {
			t.Fatalf("after send %d there are %d events, want %d", i, len(rest), len(events)-passed)
		}
		if len(rest) > 0 && (rest[0].ID != events[passed].ID || rest[len(rest)-1].ID != events[len(events)-1].ID) {
			t.Fatalf("after send %d the ids are others", i)
		}
	}
}

func TestCursorsThatCannotBe(t *testing.T) {
	f := configured(t, block{"path": "/nowhere/a.log"})
	for _, test := range []struct{ cursor, want string }{
		{"x", "cannot be read"},
		{`{"version":2,"files":[]}`, "has version 2"},
		{`{"files":[]}`, "has version 0"},
		{`{"version":1,"files":[{"fingerprint":"","length":0,"offset":7,"path":"/a"}]}`, "which cannot be"},
		{`{"version":1,"files":[{"fingerprint":"","length":1024,"offset":7,"path":"/a"}]}`, "which cannot be"},
	} {
		if _, err := f.watch([]byte(test.cursor), &recorder{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("cursor %s: %v, want %q", test.cursor, err, test.want)
		}
	}
}

func TestIDAndTimeFields(t *testing.T) {
	path := temp(t, "a.log")
	write(t, path, strings.Join([]string{
		`{"a":{"id":"x-1","at":"2026-11-22 12:00:00"}}`,
		`{"a":{"id":17,"at":"nonsense"}}`,
		`{"a":{"id":""}}`,
		`{"a":{"id":{"b":1}}}`,
		`{"b":"}","a":{"z":["id"],"\u0069d":"é\n"}}`,
	}, "\n")+"\n")
	events := onceOver(t, block{"path": path, "id_field": "a.id", "time_field": "a.at", "time_format": "2006-01-02 15:04:05", "timezone": "Europe/Berlin"}, nil).events()
	var ids []string
	for _, e := range events {
		if strings.Count(e.ID, ":") == 2 {
			e.ID = "place"
		}
		ids = append(ids, e.ID)
	}
	if diff := cmp.Diff([]string{"x-1", "17", "place", "place", "é\n"}, ids); diff != "" {
		t.Error(diff)
	}
	if at := events[0].Time; !at.Equal(time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("time = %v", at)
	}
	if !events[1].Time.IsZero() || !events[2].Time.IsZero() {
		t.Error("what is no time was read as one")
	}
}

func TestSplitAcrossBlocks(t *testing.T) {
	path := temp(t, "a.log")
	var text bytes.Buffer
	var want []string
	for i := 0; text.Len() < 5<<20; i++ {
		line := fmt.Sprintf("{\"n\":%d,\"f\":%q}", i, strings.Repeat("ab", i*7919%90000))
		want = append(want, line)
		text.WriteString(line + "\n")
	}
	write(t, path, text.String())
	if diff := cmp.Diff(want, onceOver(t, block{"path": path}, nil).lines()); diff != "" {
		t.Error(diff[:min(len(diff), 500)])
	}
}
