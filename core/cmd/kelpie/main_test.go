package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/host"
)

// The test binary is also the kelpie that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"kelpie": main})
}

type leakless struct{ *testing.M }

func (m leakless) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs Kelpie as somebody at a shell would: each file of testdata/script
// is a session. Besides testscript's own commands there are
//
//	sample               unpack testdata/sample, but for files that the script brings,
//	                     with a lock of the plugins in $PLUGINS
//	exits CODE PROG …    run a program and expect its exit code
//	until PATTERN PROG … run a program until its output matches
//	terminate            send SIGTERM to what runs in the background
//	remove STREAM N      take the message N out of data/log, as nobody should
//	flip FILE            change a bit in the middle of a file
//	hangup               send SIGHUP to what runs in the background
//	mode PERM FILE       check a file's permissions
//	repeat N TEXT FILE   append a text so many times to a file
//	bytes TEXT FILE      append a text with Go's escapes to a file
//	masked FILE          stdout of the last program, with NOW for what depends on when it ran
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	plugins, locked := buildPlugins(t)
	acmes := buildReleases(t)
	mailers := buildMailers(t)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PLUGINS", plugins)
			e.Setenv("LOCKED", locked)
			e.Setenv("ACMES", acmes)
			e.Setenv("MAILERS", mailers)
			l, err := net.Listen("tcp", "127.0.0.1:0") // for a mail server of the script's
			if err != nil {
				return err
			}
			e.Setenv("MAIL_SERVER", l.Addr().String())
			if err := l.Close(); err != nil {
				return err
			}
			web := httptest.NewServer(http.FileServer(http.Dir(e.WorkDir)))
			e.Defer(web.Close)
			e.Setenv("WEB", web.URL)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "landlock" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return len(host.Lacking()) == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sample": sample, "exits": exits, "until": until, "terminate": terminate, "hangup": hangup,
			"remove": remove, "mode": mode, "repeat": repeat, "flip": flip, "bytes": escaped, "masked": masked,
		},
	})
}

// buildPlugins builds what the scripts run, and locks it.
func buildPlugins(t *testing.T) (plugins, locked string) {
	t.Helper()
	plugins, locked = filepath.Join(t.TempDir(), "plugins"), t.TempDir()
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"../../../plugins/file", "../../../plugins/table", "./testdata/fake", "../../faulttest/contain"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(plugins, filepath.Base(pkg)), pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	if _, _, err := lockPlugins(context.Background(), locked, plugins, nil, nil); err != nil {
		t.Fatal(err)
	}
	return plugins, locked
}

// buildMailers builds what sends mails, and the server that takes them.
func buildMailers(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"../../../plugins/email", "../../../examples/quickstart/smtpsink"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, filepath.Base(pkg)), pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	return dir
}

// buildReleases builds versions of one plugin, each a file acme-VERSION.
func buildReleases(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "acmes")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for version, role := range map[string]string{"1.3.0": "narrow", "1.3.0+new": "narrow", "1.3.0+old": "narrow", "1.4.0": "wide", "1.5.0": "liar", "2.0.0": "rival"} {
		flags := "-s -w -X main.version=" + version + " -X main.role=" + role
		out, err := exec.Command("go", "build", "-ldflags", flags, "-o", filepath.Join(dir, "acme-"+version), "./testdata/acme").CombinedOutput()
		if err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	return dir
}

func sample(ts *testscript.TestScript, _ bool, _ []string) {
	for _, dir := range []string{filepath.Join(root(ts), "testdata", "sample"), ts.Getenv("LOCKED")} {
		ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			to := ts.MkAbs(name)
			if _, err := os.Stat(to); err == nil {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644))
		}))
	}
}

// root is this package's folder, in which the test runs.
func root(ts *testscript.TestScript) string {
	dir, err := os.Getwd()
	ts.Check(err)
	return dir
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// patience bounds every wait for a condition.
const patience = 60 * time.Second

func until(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until PATTERN PROGRAM ARGUMENT…")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if pattern.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %s within %s (%v)", args[0], patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

func repeat(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	appendTo(ts, args[2], bytes.Repeat([]byte(args[1]), n))
}

func escaped(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[0], `"`, `\"`) + `"`)
	ts.Check(err)
	appendTo(ts, args[1], []byte(text))
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(path, text, 0o644))
}

func appendTo(ts *testscript.TestScript, name string, data []byte) {
	f, err := os.OpenFile(ts.MkAbs(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.Write(data)
	ts.Check(errors.Join(err, f.Close()))
}

var (
	timePattern  = regexp.MustCompile(`\d{4}-\d\d-\d\d(T|\s+)\d\d(h|:\d\d(:\d\d)?(\.\d+)?Z?)`) // a line may end within
	oldPattern   = regexp.MustCompile(`\d+(\s+)days(\s+)old`)
	hoursPattern = regexp.MustCompile(`\d+ hours`)
	agePattern   = regexp.MustCompile(`\b(now|\d+[smh] ago)`)
	hashPattern  = regexp.MustCompile(`configuration [0-9a-f]{12}`)
	keyPattern   = regexp.MustCompile(`\b(key )[0-9A-F]{16}\b`)
	tookPattern  = regexp.MustCompile(`\b\d+\.\d s\b`)
	// What shadows and those before them took, and in how many calls.
	paceOfShadows = regexp.MustCompile(`(?m)^( +(?:calls|half of the calls within|99 of 100 within)) .*$`)
	lagOfShadows  = regexp.MustCompile(`(?s)(Of these the shadow's came) .*?\n(\n|$)`)
	timeLayouts   = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15h"}
	maskedWithin  = 24 * time.Hour
)

func masked(ts *testscript.TestScript, _ bool, args []string) {
	text := timePattern.ReplaceAllStringFunc(ts.ReadFile("stdout"), func(s string) string {
		recent := slices.ContainsFunc(timeLayouts, func(layout string) bool {
			at, err := time.Parse(layout, strings.Join(strings.Fields(s), " "))
			return err == nil && time.Since(at).Abs() < maskedWithin
		})
		if recent {
			return "NOW"
		}
		return s
	})
	text = agePattern.ReplaceAllString(text, "AGO")
	text = oldPattern.ReplaceAllString(text, "N${1}days${2}old")
	text = hoursPattern.ReplaceAllString(text, "N hours")
	text = tookPattern.ReplaceAllString(text, "TOOK")
	text = paceOfShadows.ReplaceAllString(text, "$1 VARIES")
	text = lagOfShadows.ReplaceAllString(text, "$1 VARIES\n")
	text = keyPattern.ReplaceAllString(text, "${1}ID")
	text = hashPattern.ReplaceAllString(text, "configuration HASH")
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
