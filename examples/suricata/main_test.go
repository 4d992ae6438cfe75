package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunWritesWhatItSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "eve.json")
	var report bytes.Buffer
	arguments := strings.Fields("-events 5000 -seed 9 -alert-ratio 100 -hosts 20 -signatures 30 -o " + file)
	if err := run(t.Context(), arguments, io.Discard, &report); err != nil {
		t.Fatal(err)
	}
	lines, interesting := read(t, file)
	if lines != 5000 || interesting != 50 {
		t.Errorf("got %d lines, %d of interest, want 5000 and 50", lines, interesting)
	}
	if !strings.HasPrefix(report.String(), "5000 events, 50 alerts of interest; alert ") {
		t.Errorf("summary: %s", report.String())
	}
}

func TestKinds(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-events", "300", "-kinds", "alert, tls"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, `"event_type":"alert"`) && !strings.Contains(line, `"event_type":"tls"`) {
			t.Fatal(line)
		}
	}
}

func TestFollowAppendsAndEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "eve.json")
	for range 2 {
		if err := run(t.Context(), []string{"-follow", "1000000", "-events", "200", "-o", file}, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if lines, _ := read(t, file); lines != 400 {
		t.Errorf("got %d lines, want 400", lines)
	}
}

func TestFollowStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		defer writer.Close()
		done <- run(ctx, []string{"-follow", "1000"}, writer, io.Discard)
	}()
	if _, err := reader.Read(make([]byte, 1)); err != nil { // something has come
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, reader); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDue(t *testing.T) {
	tests := []struct {
		settings settings
		elapsed  time.Duration
		want     int
	}{
		{settings{follow: 200}, 0, 0},
		{settings{follow: 200}, 50 * time.Millisecond, 10},
		{settings{follow: 200}, time.Hour, 720000},
		{settings{follow: 200, events: 7}, time.Hour, 7},
	}
	for _, test := range tests {
		if got := test.settings.due(test.elapsed); got != test.want {
			t.Errorf("%+v after %s: got %d, want %d", test.settings, test.elapsed, got, test.want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, arguments := range []string{"-kinds nonsense", "-hosts -1", "-events -1", "surplus", "-o /does/not/exist/eve.json"} {
		if err := run(t.Context(), strings.Fields(arguments), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", arguments)
		}
	}
}

func read(t *testing.T, file string) (lines, interesting int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var event struct {
			Alert struct {
				Severity int `json:"severity"`
			} `json:"alert"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		lines++
		if event.Alert.Severity == 1 {
			interesting++
		}
	}
	return lines, interesting
}
