//go:build linux

package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Each of these is about one thing that go-plugin, as it comes, does otherwise.

// Kill has no bound of its own: a plugin that is stopped by a signal holds it for ever.
func TestFact01_KillIsBounded(t *testing.T) {
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "well")), quiet())
	pid := h.Status()[0].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const limit = time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begin := time.Now()
	if err := h.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > limit+300*time.Millisecond {
		t.Errorf("took %s, want at most %s", took, limit)
	}
	if alive(pid) {
		t.Error("the plugin still runs")
	}
}

// A plugin outlives a core that is killed, and so does its socket.
func TestFact02_NoOrphan(t *testing.T) {
	t.Run("killed with the core, though it does not watch its input", func(t *testing.T) {
		s := settings(t, Timing{}, enrichment("enrichment.a", "well", "well"))
		plugin := killedHost(t, s)
		eventually(t, 1500*time.Millisecond, "the plugin is gone", func() bool { return !alive(plugin) })
		if left, _ := filepath.Glob(filepath.Join(s.RunDir, "h*", "plugin-dir*", "plugin*")); len(left) == 0 {
			t.Fatal("no socket is left: this shows nothing")
		}
		next, err := New(s, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer next.Stop(context.Background())
		if left, _ := filepath.Glob(filepath.Join(s.RunDir, "h*")); len(left) != 1 {
			t.Errorf("the next host left %v; want its own folder only", left)
		}
	})
	t.Run("ends by itself when its input does", func(t *testing.T) {
		h := started(t, settings(t, quick(), enrichment("enrichment.a", "sdk", "{}")), quiet())
		s := h.supervisors[0]
		s.mu.Lock()
		p := s.process
		s.mu.Unlock()
		p.runner.stdin.Close()
		if !p.endsWithin(1500 * time.Millisecond) {
			t.Fatal("the plugin runs on without its core")
		}
		if got := p.runner.exitReason(); got != "exit status 0" {
			t.Errorf("it ended by %q, want exit status 0", got)
		}
	})
}

// killedHost runs another process as a core, kills it, and returns its plugin's number.
func killedHost(t *testing.T, s Settings) int {
	t.Helper()
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	core := exec.Command(os.Args[0])
	core.Env = append(os.Environ(), roleEnv+"=host", "SETTINGS="+string(encoded))
	core.Stderr = os.Stderr
	input, err := core.StdinPipe() // held open, so that only the kill ends it
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	output, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(plugin) {
		t.Fatalf("plugin %q does not run", line)
	}
	core.Process.Kill()
	core.Wait()
	return plugin
}

// SecureConfig does not go with a runner, and one cannot be used for two starts.
func TestFact03_EachStartIsVerified(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", "well"))
	h := started(t, s, quiet())
	restart := func() {
		before := h.Status()[0]
		syscall.Kill(before.PID, syscall.SIGKILL)
		eventually(t, 20*time.Second, "it runs again, or has failed", func() bool {
			now := h.Status()[0]
			return now.Restarts > before.Restarts && now.State == Running || now.State == Failed
		})
	}
	restart()
	restart()
	if got := h.Status()[0]; got.State != Running {
		t.Fatalf("after two restarts of the same file: %s, %s", got.State, got.LastError)
	}
	// Another file, which would serve as well.
	path := pluginPath(s.PluginDir, "fake")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, append(data, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	restart()
	got := h.Status()[0]
	if got.State != Failed || !strings.Contains(got.LastError, "is not the file that was locked") {
		t.Errorf("a file that was replaced: %s, %q", got.State, got.LastError)
	}
}

// A path is hashed, and later a path is run.
func TestFact04_RunsTheFileThatWasHashed(t *testing.T) {
	s := settings(t, quick())
	run, err := openRunDir(s.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	defer run.close()
	path := pluginPath(s.PluginDir, "fake")
	p, err := launch{
		name: "fake", path: path, env: []string{roleEnv + "=well", "GORACE=atexit_sleep_ms=0"}, run: run,
		roster: newRoster(), log: quiet(), timing: quick().withDefaults(),
		lock: func(string, string) error { // between the hash and the exec
			os.Remove(path)
			return os.WriteFile(path, []byte("#!/bin/sh\necho pwned\n"), 0o755)
		},
	}.start(t.Context())
	if err != nil {
		t.Fatalf("not what was hashed was run: %v", err)
	}
	p.stop(time.Now().Add(2*time.Second), nil)
	if p.about.Name != "fake" {
		t.Errorf("ran %q", p.about.Name)
	}
}

// The host takes messages of any size, and the plugin none above 4 MiB.
func TestFact05_MessagesHaveOneLimit(t *testing.T) {
	large := enrichment("enrichment.large", "well", "large answer")
	large.Config = json.RawMessage(`{"do":"large answer","times":` + strconv.Itoa(17<<20) + `}`)
	h := started(t, settings(t, quick(), enrichment("enrichment.size", "well", "echo size"), large), quiet())

	size := enricher(t, h, "enrichment.size")
	asks := ask(1)
	asks[0].Observable.Value = strings.Repeat("x", 5<<20)
	got, err := size.Enrich(t.Context(), asks)
	if err != nil {
		t.Fatalf("5 MiB: %v", err)
	}
	if want := `{"size":5242880}`; string(got.Replies[0].Answers[0].Details) != want {
		t.Errorf("it got %s, want %s", got.Replies[0].Answers[0].Details, want)
	}
	asks[0].Observable.Value = strings.Repeat("x", 17<<20)
	_, err = size.Enrich(t.Context(), asks)
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultInput, NotSent: true, Err: ErrTooLarge}, "larger than 16 MiB")

	_, err = enricher(t, h, "enrichment.large").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultPlugin, Err: ErrTooLarge}, "larger than 16 MiB")
	if _, err := size.Enrich(t.Context(), ask(1)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The host's environment is inherited, and wins over what the operator declared.
func TestFact06_EnvironmentIsTheBlocks(t *testing.T) {
	t.Setenv("KELPIE_SECRET_TOKEN", token)
	t.Setenv("DECLARED", "by the host")
	i := enrichment("enrichment.a", "well", "env")
	i.Env = append(i.Env, "DECLARED=by the block")
	h := started(t, settings(t, quick(), i), quiet())
	got := details(t, enricher(t, h, "enrichment.a"))
	var names []string
	for _, line := range got["env"].([]any) {
		name, value, _ := strings.Cut(line.(string), "=")
		names = append(names, name)
		if name == "DECLARED" && value != "by the block" {
			t.Errorf("DECLARED is %q", value)
		}
	}
	slices.Sort(names)
	want := []string{
		"DECLARED", "GORACE", "KELPIE_HOST_TEST", "KELPIE_LOG_LEVEL", "KELPIE_PLUGIN", "PLUGIN_CLIENT_CERT",
		"PLUGIN_MAX_PORT", "PLUGIN_MIN_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR", "TMPDIR",
	}
	if !slices.Equal(names, want) {
		t.Errorf("environment has %v\nwant %v", names, want)
	}
	if dir := got["dir"].(string); !strings.HasPrefix(dir, h.run.path+"/w") {
		t.Errorf("it works in %s, want a folder of its own", dir)
	}
	if path := got["args"].([]any)[0]; path != pluginPath(h.settings.PluginDir, "fake") {
		t.Errorf("its name is %s", path)
	}
}

// Sockets go to $TMPDIR, and a long one breaks with an error that nobody understands.
func TestFact07_SocketsHaveAShortPrivatePlace(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	s := settings(t, quick(), enrichment("enrichment.a", "well", "well"))
	s.RunDir = filepath.Join(long, "run")
	h := started(t, s, quiet())
	sockets, _ := filepath.Glob(filepath.Join(h.run.path, "plugin-dir*", "plugin*"))
	if len(sockets) != 1 || len(sockets[0]) >= maxSocketPath {
		t.Fatalf("sockets: %q", sockets)
	}
	for dir := filepath.Dir(sockets[0]); dir != "/tmp"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("%s has mode %o, want 700", dir, got)
		}
	}
}

// What a plugin prints after it serves goes to io.Discard.
func TestFact08_UnexpectedOutputIsSeen(t *testing.T) {
	log, lines := recording()
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "print")), log)
	if _, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"stream=stdout line=printed to stdout", "stream=stderr line=printed to stderr", "stream=stdout line=printed to descriptor 1"} {
		lines.await(t, "WARN unexpected output: a plugin must not print; it logs by slog plugin=fake "+text)
	}
}

// A client is never started again, and nothing starts a plugin that crashed.
func TestFact09_ACrashIsFollowedByAStart(t *testing.T) {
	crash := enrichment("enrichment.a", "well", "crash later")
	dir := t.TempDir()
	crash.Env = append(crash.Env, "MARK="+filepath.Join(dir, "mark"))
	crash.Confinement.Granted.Write = []string{dir}
	other := enrichment("enrichment.b", "well", "well")
	other.Env, other.Confinement = crash.Env, crash.Confinement
	h := started(t, settings(t, quick(), crash, other), quiet())

	_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, `plugin "fake" ended during the call: exit status 4`)
	// Both instances have their configuration again: the fake refuses calls without.
	for _, address := range []string{"enrichment.a", "enrichment.b"} {
		if _, err := enricher(t, h, address).Enrich(t.Context(), ask(1)); err != nil {
			t.Errorf("%s after the crash: %v", address, err)
		}
	}
	got := h.Status()[0]
	if got.Restarts != 1 || got.LastError != "it ended by itself: exit status 4" {
		t.Errorf("status: %d restarts, %q", got.Restarts, got.LastError)
	}
}

// AutoMTLS costs a key on both sides at each start, which is why one process serves
// many instances; and it is what keeps others of the machine out.
func TestFact10_ConnectionsAreMutual(t *testing.T) {
	var instances []Instance
	for n := range 8 {
		instances = append(instances, enrichment("enrichment.n"+strconv.Itoa(n), "well", "well"))
	}
	h := started(t, settings(t, quick(), instances...), quiet())
	if all := h.Status(); len(all) != 1 || len(all[0].Instances) != 8 || all[0].PID == 0 {
		t.Errorf("8 instances have the processes %+v, want one", all)
	}
	sockets, _ := filepath.Glob(filepath.Join(h.run.path, "plugin-dir*", "plugin*"))
	if len(sockets) != 1 {
		t.Fatalf("sockets: %q", sockets)
	}
	if err := dialPlain(sockets[0]); err == nil {
		t.Error("somebody without a certificate was served")
	}
}

// checkError compares an *Error, and looks for a part of its message.
func checkError(t *testing.T, err error, want Error, part string) {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("error is %v, want an *Error", err)
	}
	if got.Reason != want.Reason || got.Fault != want.Fault || got.NotSent != want.NotSent || got.RetryAfter != want.RetryAfter {
		t.Errorf("got reason %d, fault %q, not sent %v, retry after %s; want %d, %q, %v, %s\n%v",
			got.Reason, got.Fault, got.NotSent, got.RetryAfter, want.Reason, want.Fault, want.NotSent, want.RetryAfter, err)
	}
	if want.Err != nil && !errors.Is(err, want.Err) {
		t.Errorf("error is %v, which is no %q", got.Err, want.Err)
	}
	if !strings.Contains(got.Message, part) {
		t.Errorf("message is %q, want it to have %q", got.Message, part)
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("message has the secret: %q", err)
	}
}
