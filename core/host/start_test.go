//go:build linux

package host

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// What keeps a file from running as a plugin, and what is said about it.
func TestStartErrors(t *testing.T) {
	for _, c := range []struct {
		role      string
		permanent bool
		want      []string
	}{
		{"prints", true, []string{
			`is not the handshake: a plugin must not print before sdk.Serve`,
			`its first line of output was "hello, I am starting"`, `it said: about to serve`, "bin/fake",
		}},
		{"silent", false, []string{"made no handshake in time", "it said: thinking"}},
		{"exits", false, []string{"ended without a handshake", "exit status 3", "it said: cannot find libfoo.so"}},
		{"elsewhere", true, []string{`listens on tcp "127.0.0.1:9" and not on a socket`}},
		{"nocert", true, []string{"gives no certificate"}},
		{"tomorrow", true, []string{`speaks version "7" of the plugin protocol, this Kelpie speaks version 1: take a newer Kelpie`}},
		{"liar", true, []string{`says that it is plugin "somebody_else"`}},
		{"versionless", true, []string{`says that its version is "latest", which is no semantic version`}},
	} {
		t.Run(c.role, func(t *testing.T) {
			timing := quick()
			timing.Crashes = 1
			if timing.Start = 20 * time.Second; c.role == "silent" {
				timing.Start = time.Second
			}
			s := settings(t, timing, enrichment("enrichment.a", c.role, ""))
			bin := filepath.Join(s.PluginDir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(pluginPath(s.PluginDir, "fake"), pluginPath(bin, "fake")); err != nil {
				t.Fatal(err)
			}
			s.PluginDir = bin
			h, found := startedWith(t, s, quiet())
			if len(found) != 1 || found[0].Instance != "enrichment.a" || found[0].Summary != `plugin "fake" does not start` || found[0].Warning {
				t.Fatalf("diagnostics: %+v", found)
			}
			for _, part := range c.want {
				if !strings.Contains(found[0].Detail, part) {
					t.Errorf("said %q, want it to have %q", found[0].Detail, part)
				}
			}
			eventually(t, 10*time.Second, "failed", func() bool { return h.Status()[0].State == Failed })
			_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
			checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: ErrFailed}, "kelpie plugin restart fake")
			if left, _ := filepath.Glob(filepath.Join(h.run.path, "[wp]*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, s *Settings, path string)
		want  string
	}{
		{"missing", func(t *testing.T, _ *Settings, path string) { os.Remove(path) }, "fake does not exist"},
		{"not fetched", func(t *testing.T, s *Settings, path string) {
			s.Lock.Plugins[0].Source = "plugins"
			os.Remove(path)
		}, `fake does not exist: run "kelpie init"`},
		{"not what was fetched", func(t *testing.T, s *Settings, _ string) {
			s.Lock.Plugins[0].Source, s.Lock.Plugins[0].SHA256 = "plugins", map[string]string{Platform(): strings.Repeat("0", 64)}
		}, `if you replaced it yourself, run "kelpie init"`},
		{"a folder", func(t *testing.T, _ *Settings, path string) { os.Remove(path); os.Mkdir(path, 0o755) }, "is not a regular file"},
		{"a FIFO", func(t *testing.T, _ *Settings, path string) { os.Remove(path); syscall.Mkfifo(path, 0o755) }, "is not a regular file"},
		{"not executable", func(t *testing.T, _ *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, nil, 0o644)
		}, `is not executable: run "chmod +x" on it`},
		{"world-writable", func(t *testing.T, _ *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)
			os.Chmod(path, 0o777)
		}, "may be written by everybody"},
		{"in a world-writable folder", func(t *testing.T, _ *Settings, path string) {
			os.Chmod(filepath.Dir(path), 0o777)
		}, "may be written by everybody"},
		{"linked from elsewhere that is world-writable", func(t *testing.T, _ *Settings, path string) {
			elsewhere := filepath.Join(t.TempDir(), "fake")
			os.Rename(path, elsewhere)
			os.Chmod(filepath.Dir(elsewhere), 0o777)
			os.Symlink(elsewhere, path)
		}, "may be written by everybody"},
		{"not locked", func(t *testing.T, s *Settings, _ string) { s.Lock = Lock{} }, `plugin "fake" is not in kelpie.lock.hcl: run "kelpie plugin lock"`},
		{"locked for others", func(t *testing.T, s *Settings, _ string) {
			s.Lock.Plugins[0].SHA256 = map[string]string{"plan9_mips": "00"}
		}, "has no sha256 of plugin \"fake\" for " + Platform()},
		{"not what was locked", func(t *testing.T, s *Settings, _ string) {
			s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): strings.Repeat("0", 64)}
		}, "is not the file that was locked"},
		{"no program", func(t *testing.T, s *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, []byte{0x7f, 'E', 'L', 'F'}, 0o755)
			exe, err := openExecutable(path)
			if err != nil {
				t.Fatal(err)
			}
			exe.close()
			s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): exe.sha256}
		}, "exec format error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(t, quick(), enrichment("enrichment.a", "well", ""))
			c.spoil(t, &s, pluginPath(s.PluginDir, "fake"))
			_, found := startedWith(t, s, quiet())
			if len(found) != 1 || !strings.Contains(found[0].Detail, c.want) {
				t.Errorf("diagnostics %v, want one with %q", found, c.want)
			}
		})
	}
}

// A script is a plugin too, if it serves; the interpreter reads the file that was
// hashed.
func TestScriptIsRunByItsInterpreter(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", ""))
	path := pluginPath(s.PluginDir, "fake")
	real := filepath.Join(t.TempDir(), "real")
	if err := os.Rename(path, real); err != nil {
		t.Fatal(err)
	}
	s.Instances[0].Confinement.Granted.Read = []string{filepath.Dir(real)}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec "+real+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := openExecutable(path)
	if err != nil {
		t.Fatal(err)
	}
	exe.close()
	s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): exe.sha256}
	started(t, s, quiet())
}

// What the system says of a file that it cannot run helps nobody.
func TestFilesThatThisMachineCannotRun(t *testing.T) {
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := append([]byte{}, self...)
	copy(elsewhere[18:], []byte{0x16, 0x00}) // ELF's number of the machine: S/390
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"another machine":        {elsewhere, "it is a program for s390x, and this machine is linux on " + runtime.GOARCH},
		"another system":         {[]byte("MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00\x64\x86" + strings.Repeat("\x00", 200)), "it is a program for Windows"},
		"a Mac":                  {append([]byte{0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1}, make([]byte, 200)...), "it is a program for macOS"},
		"text":                   {[]byte("echo hello\n"), "no script that begins with #! and its interpreter"},
		"no such interpreter":    {[]byte("#!/opt/no/such/python3 -u\nprint(1)\n"), `it is run by "/opt/no/such/python3", which this machine does not have`},
		"interpreter of nothing": {[]byte("#!\n"), "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acme")
			if err := os.WriteFile(path, c.content, 0o755); err != nil {
				t.Fatal(err)
			}
			_, _, err := Inspect(t.Context(), path)
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(start.Err.Error(), c.want) {
				t.Fatalf("said %v, want %q", err, c.want)
			}
			if !start.Permanent || start.Path != path || strings.Contains(err.Error(), "/proc/self/fd") || strings.Contains(err.Error(), `plugin ""`) {
				t.Errorf("said %v, permanent %v", err, start.Permanent)
			}
		})
	}
}

// A file with any name serves as the plugin that it says it is, where its path is given.
func TestPathOfAnInstance(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", ""))
	path := filepath.Join(s.PluginDir, "fake-1.2.3_linux")
	if err := os.Rename(pluginPath(s.PluginDir, "fake"), path); err != nil {
		t.Fatal(err)
	}
	s.Instances[0].Path = path
	h := started(t, s, quiet())
	if got := h.Status()[0].Path; got != path {
		t.Errorf("runs %s", got)
	}
}

// TestRelativeStateDir: a plugin runs in a folder of its own, and finds its state in the
// core's none the less.
func TestRelativeStateDir(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", "refuse once"))
	t.Chdir(t.TempDir())
	s.StateDir = "state"
	startedWith(t, s, quiet())
	if _, err := os.Stat(filepath.Join("state", "enrichment.a@fake", "mark")); err != nil {
		t.Error(err)
	}
}
