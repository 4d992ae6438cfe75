//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// debugged is a plugin that somebody has started by hand.
type debugged struct {
	cmd    *exec.Cmd
	socket string
}

// debug starts the test's executable with --debug; dir is its temporary folder.
func debug(t *testing.T, dir string) debugged {
	t.Helper()
	d := debugged{cmd: exec.Command(os.Args[0], "--debug")}
	d.cmd.Env = []string{roleEnv + "=sdk", "TMPDIR=" + dir, "GORACE=atexit_sleep_ms=0"}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(line[:n])), "export "+sdk.ReattachEnv+"='")
	if !ok {
		t.Fatalf("it printed %q", line[:n])
	}
	all, err := ParseAttached(strings.TrimSuffix(text, "'"))
	if err != nil {
		t.Fatal(err)
	}
	if all["fake"].PID != d.cmd.Process.Pid {
		t.Fatalf("it printed %+v, and is process %d", all, d.cmd.Process.Pid)
	}
	d.socket = all["fake"].Socket
	return d
}

func (d debugged) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// attachedHost runs with the debugged plugin, whose executable and lock it has not.
func attachedHost(t *testing.T, d debugged) (*Host, *recorder) {
	log, said := recording()
	s := Settings{
		PluginDir: t.TempDir(), StateDir: filepath.Join(t.TempDir(), "state"), RunDir: shortDir(t), Timing: quick(),
		Instances: []Instance{enrichment("enrichment.a", "sdk", `{}`)},
		Attached:  map[string]Attached{"fake": {Socket: d.socket, PID: d.cmd.Process.Pid}},
	}
	h, found := startedWith(t, s, log)
	if len(found) > 0 {
		t.Fatalf("diagnostics: %v", found)
	}
	return h, said
}

func TestAttached(t *testing.T) {
	dir := shortDir(t)
	d := debug(t, dir)
	h, said := attachedHost(t, d)
	e := enricher(t, h, "enrichment.a")
	if _, err := e.Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	if got := h.Status()[0]; !got.Attached || got.State != Running || got.PID != d.cmd.Process.Pid || got.Path != d.socket {
		t.Errorf("status: %+v", got)
	}
	if !strings.Contains(said.all(), "WARN plugin is attached: it is not verified") {
		t.Errorf("it was attached without a warning:\n%s", said.all())
	}

	d.kill()
	eventually(t, 10*time.Second, "noticed", func() bool { return h.Status()[0].State == Restarting })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := e.Enrich(ctx, ask(1))
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, NotSent: true, Err: ErrCrashed}, "nobody serves "+d.socket)

	again := debug(t, dir)
	if again.socket != d.socket {
		t.Fatalf("served at %s, and before at %s", again.socket, d.socket)
	}
	eventually(t, 20*time.Second, "attached again", func() bool { return h.Status()[0].State == Running })
	if _, err := e.Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	if got := h.Status()[0]; got.PID != 0 || got.Restarts != 1 {
		t.Errorf("status: process %d, %d restarts", got.PID, got.Restarts)
	}
	stopping, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.Stop(stopping); err != nil {
		t.Fatal(err)
	}
	if !alive(again.cmd.Process.Pid) {
		t.Error("the host ended a process that is not its own")
	}
}

// A plugin at a breakpoint answers nobody, and is left alone.
func TestAttachedIsWaitedFor(t *testing.T) {
	d := debug(t, shortDir(t))
	h, _ := attachedHost(t, d)
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "stopped", func() bool { return frozen(t, d.cmd.Process.Pid) })
	answered := make(chan error, 1)
	go func() {
		_, err := enricher(t, h, "enrichment.a").Enrich(context.Background(), ask(1))
		answered <- err
	}()
	// Any other plugin would be found out by its health in 3 times 100 ms.
	deadline := time.After(time.Second)
	for done := false; !done; {
		select {
		case err := <-answered:
			t.Fatalf("answered by a process that is stopped: %v", err)
		case <-deadline:
			done = true
		}
	}
	if got := h.Status()[0]; got.State != Running {
		t.Errorf("it is %s: %s", got.State, got.LastError)
	}
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// frozen tells whether every thread of a process is stopped.
func frozen(t *testing.T, pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	return !slices.ContainsFunc(threads, func(path string) bool {
		text, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(text), ") ")
		return !strings.HasPrefix(rest, "T")
	})
}

func TestSocketsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"a folder that others may write": {func(t *testing.T, path string) {
			listen(t, path)
			os.Chmod(filepath.Dir(path), 0o777)
		}, "may be written by others"},
		"no socket": {func(t *testing.T, path string) { os.WriteFile(path, nil, 0o600) }, "is not a socket"},
		"a link": {func(t *testing.T, path string) {
			other := filepath.Join(shortDir(t), "x.sock")
			listen(t, other)
			os.Symlink(other, path)
		}, "is not a socket"},
		"another user's": {func(t *testing.T, path string) {
			listen(t, path)
			if err := os.Lchown(path, 12345, -1); err != nil {
				t.Skip("only root can give files away")
			}
		}, "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "fake.sock")
			c.make(t, path)
			if _, err := ParseAttached(`{"fake":{"socket":"` + path + `"}}`); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %v, want %q", err, c.want)
			}
			_, err := DescribeAttached(t.Context(), "fake", Attached{Socket: path})
			var start *StartError
			if !errors.As(err, &start) || !start.Permanent || !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %v, want %q", err, c.want)
			}
		})
	}
}

func listen(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func TestWhatIsAttachedIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		`{}`:                               "",
		`{"a":{"socket":"/nowhere/x"}}`:    "", // it may come yet
		`acme`:                             "is not what a plugin prints",
		`{"../a":{"socket":"/nowhere/x"}}`: "is no name of a plugin",
		`{"a":{"socket":"x.sock"}}`:        "no absolute path",
		`{"a":{}}`:                         "no absolute path",
	} {
		_, err := ParseAttached(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, err := DescribeAttached(t.Context(), "a", Attached{Socket: filepath.Join(shortDir(t), "x.sock")})
	if !errors.Is(err, errNotServed) {
		t.Errorf("said %v", err)
	}
}
