package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logged decodes the lines of a log.
func logged(t *testing.T, text string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(text) {
		if len(line) >= 64<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, fields)
	}
	return lines
}

func TestLogWritesHclogLines(t *testing.T) {
	var out bytes.Buffer
	h := newLogHandler(&out, slog.LevelInfo)
	h.scrub.add("s3cr3t", "31337")
	log := slog.New(h).With("instance", "detector.x")
	log.Debug("left out")
	log.Info("token s3cr3t", "a", 1, "b", true, "c", 2*time.Second, "d", errors.New("with s3cr3t"), "e", []string{"s3cr3t"},
		"f", 31337, "s3cr3t", nil, "@level", "trace", "bad", "\xff\n", slog.Group("g", "h", 1.5))
	log.WithGroup("in").Error("x", "y", struct{ Z string }{"s3cr3t"})
	log.Log(context.Background(), levelTrace, "left out")

	lines := logged(t, out.String())
	for _, line := range lines {
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", line["@timestamp"].(string)); err != nil {
			t.Error(err)
		}
		delete(line, "@timestamp")
	}
	want := []map[string]any{
		{
			"@level": "info", "@message": "token (secret)", "instance": "detector.x", "a": 1.0, "b": true, "c": "2s",
			"d": "with (secret)", "e": `["(secret)"]`, "f": "(secret)", "(secret)": "null", "level": "trace",
			"bad": "\uFFFD\n", "g.h": "1.5",
		},
		{"@level": "error", "@message": "x", "instance": "detector.x", "in.y": `{"Z":"(secret)"}`},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogLinesAreBounded(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newLogHandler(&out, slog.LevelInfo))
	long := strings.Repeat("\x01", 1<<20) // six bytes each in JSON
	log.Info(long, "a", long, "b", long, "c", long)
	log.Info("short", "a", long[:8100], "b", long[:8100])
	for _, line := range logged(t, out.String()) {
		if line["left_out"] == nil {
			t.Error("it does not tell what it left out")
		}
	}
}

type panicking struct{}

func (panicking) String() string { panic("no") }

func TestLogSurvivesAValueThatPanics(t *testing.T) {
	var out bytes.Buffer
	slog.New(newLogHandler(&out, slog.LevelInfo)).Info("x", "v", panicking{})
	if got := logged(t, out.String())[0]["v"]; got != "(a sdk.panicking that cannot be printed)" {
		t.Errorf("v = %v", got)
	}
}

// The handler keeps slog's own rules for handlers, but for its names of the fields.
func TestLogIsAHandler(t *testing.T) {
	var out bytes.Buffer
	err := slogtest.TestHandler(newLogHandler(&out, slog.LevelInfo), func() []map[string]any {
		lines := logged(t, out.String())
		for i, line := range lines {
			tree := map[string]any{}
			for key, value := range line {
				if text, ok := value.(string); ok && key == "@timestamp" && strings.HasPrefix(text, "0001") {
					continue
				}
				key = strings.NewReplacer("@timestamp", "time", "@level", "level", "@message", "msg").Replace(key)
				inner := tree
				for parts := strings.Split(key, "."); ; parts = parts[1:] {
					if len(parts) == 1 {
						inner[parts[0]] = value
						break
					}
					next, ok := inner[parts[0]].(map[string]any)
					if !ok {
						next = map[string]any{}
						inner[parts[0]] = next
					}
					inner = next
				}
			}
			lines[i] = tree
		}
		return lines
	})
	for err := range unjoin(err) {
		// hclog has no line without a time.
		if !strings.Contains(err.Error(), "time") {
			t.Error(err)
		}
	}
}

func unjoin(err error) func(func(error) bool) {
	return func(yield func(error) bool) {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			if err != nil {
				yield(err)
			}
			return
		}
		for _, e := range joined.Unwrap() {
			if !yield(e) {
				return
			}
		}
	}
}

func TestLevelFromEnv(t *testing.T) {
	for text, want := range map[string]slog.Level{
		"trace": levelTrace, "DEBUG": slog.LevelDebug, "": slog.LevelInfo, "info": slog.LevelInfo,
		"warn": slog.LevelWarn, "error": slog.LevelError, "what": slog.LevelInfo,
	} {
		if got := levelFromEnv(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
