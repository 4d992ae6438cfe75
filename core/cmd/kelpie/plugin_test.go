package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/host"
)

// TestPrintStartError: what a file did instead of serving stands on a screen, and moves
// no cursor.
func TestPrintStartError(t *testing.T) {
	var out strings.Builder
	printStartError(&out, &host.StartError{
		Path: "/opt/kelpie/plugins/acme", Line: "Welcome to acme \x1b[31m, which prints before it serves, and so is no plugin at all",
		Tail: []string{"cannot find libacme.so", "giving up after 3 attempts to read /etc/acme/acme.conf, none of which was any good"},
		Err:  errors.New("the first line that it printed is not the handshake: a plugin must not print before sdk.Serve (exit status 3)"),
	})
	golden(t, "testdata/start_error.txt", out.String())
}

// TestPrintPlugins: one that ended is listed with its reason and its last words, one
// that is attached with a warning, though it is not locked.
func TestPrintPlugins(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	lock := host.Lock{Plugins: []host.LockedPlugin{{Name: "acme", Version: "1.4.0", SHA256: map[string]string{host.Platform(): strings.Repeat("ab", 32)}}}}
	lines := pluginLines(lock, nil, []host.Status{
		{
			Plugin: "acme", Version: "1.4.0", Path: "/opt/kelpie/plugins/acme", State: host.Restarting, Since: at, Restarts: 2,
			LastError: `plugin "acme" (/opt/kelpie/plugins/acme): it ended without a handshake; it said: a | b`, ErrorAt: at.Add(time.Minute),
			Why: "it ended without a handshake", Tail: []string{"a", "b"},
			Instances: []host.InstanceStatus{{Address: "detector.acme", State: host.Restarting}},
		},
		{Plugin: "novel", Version: "0.0.1", Path: "/tmp/kelpie-debug-1000/novel.sock", PID: 4711, State: host.Running, Since: at, Attached: true},
	})
	var out strings.Builder
	printPlugins(&out, lines)
	golden(t, "testdata/plugins.txt", out.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	for line := range strings.SplitSeq(got, "\n") {
		if columns(line) > width {
			t.Errorf("wider than a screen: %s", line)
		}
	}
}
