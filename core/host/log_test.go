//go:build linux

package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestLogLines(t *testing.T) {
	log, lines := recording()
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "logs")), log)
	if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	lines.await(t, "INFO last plugin=fake")
	all := lines.all()
	for _, want := range []string{
		"WARN slow plugin=fake instance=enrichment.a n=7 took=3s\n",
		"DEBUG for another plugin=fake said_instance=enrichment.somebody\n",
		`INFO {"@level":"error","@message":{"not":"a text"}} plugin=fake` + "\n",
		`INFO {"@level":5,"@message":"no level"} plugin=fake` + "\n",
		"INFO the token is (secret) plugin=fake auth=Bearer (secret) said_level=y said_plugin=x\n",
		"WARN in brackets plugin=fake\n",
		"INFO just text plugin=fake\n",
		"INFO colours [31m and bell plugin=fake\n",
		"long long (secret)",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("log lacks %q", want)
		}
	}
	if strings.Contains(all, token) || strings.Contains(all, token[:6]) {
		t.Error("the log has the secret, or its beginning")
	}
	if h.Status()[0].Restarts != 0 {
		t.Error("a log line ended the plugin, or the host's view of it")
	}
	for _, line := range strings.Split(all, "\n") {
		if len(line) > maxLine+200 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestLogFloodIsBounded(t *testing.T) {
	log, lines := recording()
	flood := enrichment("enrichment.flood", "well", "flood")
	const times = 20_000
	flood.Config = fmt.Appendf(nil, `{"do":"flood","times":%d}`, times)
	h := started(t, settings(t, quick(), flood, enrichment("enrichment.b", "well", "well")), log)
	if _, err := enricher(t, h, "enrichment.flood").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := enricher(t, h, "enrichment.b").Enrich(t.Context(), ask(1)); err != nil {
		t.Errorf("another instance: %v", err)
	}
	eventually(t, 20*time.Second, "every line is logged or dropped", func() bool {
		return int64(lines.count("INFO line "))+h.Status()[0].DroppedLogs >= times
	})
	if n := lines.count("INFO line "); n > linesBurst+30*linesPerSecond {
		t.Errorf("%d lines were logged", n)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines.count("WARN the plugin logs too much: lines were dropped plugin=fake lines=") == 0 {
		t.Error("nobody is told that lines were dropped")
	}
}

func TestReadLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 50)
		lines := rapid.SliceOfN(line, 0, 5).Draw(t, "lines")
		if rapid.Bool().Draw(t, "long") {
			lines = append(lines, bytes.Repeat([]byte("x"), maxLine+1000))
		}
		var want []string
		for _, l := range lines {
			if len(l) > 0 {
				want = append(want, string(l[:min(len(l), maxLine)]))
			}
		}
		text := bytes.Join(lines, []byte("\n"))
		o := newOutput(quiet(), newRoster())
		var got []string
		o.readLines(bytes.NewReader(text), func(l []byte) { got = append(got, string(l)) })
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("read %d lines, want %d", len(got), len(want))
		}
	})
}

func TestLineWriter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 1, 50)
		var want, got []string
		var text []byte
		for _, l := range rapid.SliceOfN(line, 0, 5).Draw(t, "lines") {
			want = append(want, string(l))
			text = append(append(text, l...), '\n')
		}
		w := &lineWriter{do: func(l []byte) { got = append(got, string(l)) }}
		for len(text) > 0 {
			n := min(len(text), rapid.IntRange(1, 20).Draw(t, "piece"))
			w.Write(text[:n])
			text = text[n:]
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	// One that never ends its line is not kept for ever.
	pieces := 0
	w := &lineWriter{do: func(l []byte) {
		if pieces++; len(l) > 2*maxLine {
			t.Errorf("a line of %d bytes", len(l))
		}
	}}
	for range 100 {
		w.Write(bytes.Repeat([]byte("x"), 10_000))
	}
	if pieces == 0 {
		t.Error("nothing was handed on")
	}
}

func FuzzLogLine(f *testing.F) {
	for _, line := range logLines(token) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"@message":5}`))
	f.Add([]byte(`{"@message":"a","@timestamp":7,"kv":[[[]]]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		log, lines := recording()
		o := newOutput(log, newRoster(token))
		o.readLines(bytes.NewReader(line), o.stderr)
		all := lines.all()
		if strings.Contains(all, token) || !utf8.ValidString(all) || strings.ContainsAny(all, "\x1b\x00\x07") {
			t.Errorf("logged %q", all)
		}
		for _, l := range o.last() {
			if strings.Contains(l, token) || !utf8.ValidString(l) {
				t.Errorf("tail %q", l)
			}
		}
	})
}

func TestLevelName(t *testing.T) {
	for level, want := range map[slog.Level]string{
		levelTrace: "trace", slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warn", slog.LevelError: "error", 12: "error",
	} {
		if got := levelName(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level}))); got != want {
			t.Errorf("%s is %q, want %q", level, got, want)
		}
	}
}

func TestScrubber(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
	s := newScrubber([]string{token, "short+er", "abc", " ", "", pem, `quo"te\d`})
	for _, c := range []struct{ text, want string }{
		{"nothing here", "nothing here"},
		{"Bearer " + token, "Bearer (secret)"},
		{"?key=s3cret%2FTok%2Ben&x", "?key=(secret)&x"},
		{"/s3cret%2FTok+en/", "/(secret)/"},
		{"Basic czNjcmV0L1RvaytlbgAA", "Basic (secret)AA"},
		{"b64 czNjcmV0L1Rvaytlbg==", "b64 (secret)=="},
		{"abc is too short to be scrubbed", "abc is too short to be scrubbed"},
		{"line MIIEvQIBADANBgkq of a key", "line (secret) of a key"},
		{`{"k":"quo\"te\\d"}`, `{"k":"(secret)"}`},
	} {
		if got := s.text(c.text); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.text, got, c.want)
		}
	}
	if got := newScrubber(nil).text(token); got != token {
		t.Errorf("without secrets: %q", got)
	}
}

func TestMessagesAreFitForPeople(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScrubber([]string{token})
		before := rapid.String().Draw(t, "before") + strings.Repeat("x", rapid.IntRange(0, maxText+20).Draw(t, "padding"))
		after := string(rapid.SliceOf(rapid.Byte()).Draw(t, "after"))
		got := s.message(before + token + after)
		if strings.Contains(got, token[:len(token)-1]) {
			t.Errorf("%q has the secret", got)
		}
		if len(got) > maxText+len("…") || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\x1b\x00") {
			t.Errorf("%q is not fit", got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
}
