//go:build linux

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

const token = "s3cret/Tok+en"

// quick is a timing at which tests do not wait.
func quick() Timing {
	return Timing{
		HealthEvery: 50 * time.Millisecond, HealthTimeout: 5 * time.Second,
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		Call: 20 * time.Second, Stop: 5 * time.Second,
	}
}

// of the fake plugin in a role, doing something.
func enrichment(address, role, do string) Instance {
	return fakeInstance(model.Enrichment, address, role, do)
}

func fakeInstance(kind model.ConnectorKind, address, role, do string) Instance {
	config, _ := json.Marshal(fakeConfig{Do: do, Secret: token})
	if role == "sdk" {
		config = []byte(do)
	}
	return Instance{
		Address: address, Kind: kind, Plugin: "fake", Config: config,
		// With the race detector a process would take a second to exit.
		Env: []string{roleEnv + "=" + role, "GORACE=atexit_sleep_ms=0"}, Secrets: []string{token},
	}
}

func settings(t testing.TB, timing Timing, instances ...Instance) Settings {
	dir, lock := fakeBinary(t, "fake")
	return Settings{
		PluginDir: dir, Lock: lock, StateDir: filepath.Join(t.TempDir(), "state"),
		RunDir: shortDir(t), Instances: instances, Timing: timing,
	}
}

// shortDir is short enough for sockets, which a test's own folder is not.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/tmp", "kh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// started gives a host whose plugins run, stopped at the test's end.
func started(t testing.TB, s Settings, log *slog.Logger) *Host {
	t.Helper()
	h, found := startedWith(t, s, log)
	if len(found) > 0 {
		t.Fatalf("diagnostics: %v", found)
	}
	return h
}

func startedWith(t testing.TB, s Settings, log *slog.Logger) (*Host, []Diagnostic) {
	t.Helper()
	h, err := New(s, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := h.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h, found
}

func enricher(t testing.TB, h *Host, address string) *Enricher {
	t.Helper()
	e, err := h.Enricher(address)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func ask(n int) []model.Ask {
	asks := make([]model.Ask, n)
	for i := range asks {
		asks[i] = model.Ask{ID: "a-" + strconv.Itoa(i), Observable: sdk.Observable{Kind: sdk.IP, Value: "10.0.0.1"}, At: time.Unix(1, 0)}
	}
	return asks
}

// details of the first answer of an enrichment that was asked one question.
func details(t testing.TB, e *Enricher) map[string]any {
	t.Helper()
	got, err := e.Enrich(context.Background(), ask(1))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(got.Replies[0].Answers[0].Details, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits for a condition.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

// alive tells whether a process runs: it is there, and is not one that only waits to
// be reaped.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder keeps what is logged, as lines of "level message key=value …".
type recorder struct {
	mu    sync.Mutex
	lines []string
	attrs string
	root  *recorder
}

func recording() (*slog.Logger, *recorder) {
	r := &recorder{}
	r.root = r
	return slog.New(r), r
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	d := &recorder{root: r.root, attrs: r.attrs}
	for _, a := range attrs {
		d.attrs += " " + a.String()
	}
	return d
}

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message + r.attrs
	record.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	r.root.mu.Lock()
	defer r.root.mu.Unlock()
	r.root.lines = append(r.root.lines, line)
	return nil
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

func (r *recorder) count(part string) int { return strings.Count(r.all(), part) }

func (r *recorder) await(t testing.TB, part string) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("log has %q", part), func() bool { return strings.Contains(r.all(), part) })
}

// fakeBinary makes the test's executable a plugin's, in a folder of its own, and the
// lock for it.
func fakeBinary(t testing.TB, names ...string) (dir string, lock Lock) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, name := range names {
		path := pluginPath(dir, name)
		if err := os.Link(self, path); err != nil {
			data, err := os.ReadFile(self)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		exe, err := openExecutable(path)
		if err != nil {
			t.Fatal(err)
		}
		exe.close()
		lock.Plugins = append(lock.Plugins, LockedPlugin{Name: name, Version: "1.2.3", SHA256: map[string]string{Platform(): exe.sha256}})
	}
	return dir, lock
}

// hostToBeKilled is a core that starts a plugin, says so, and waits for its end.
func hostToBeKilled() {
	var s Settings
	if err := json.Unmarshal([]byte(os.Getenv("SETTINGS")), &s); err != nil {
		panic(err)
	}
	h, err := New(s, quiet())
	if err != nil {
		panic(err)
	}
	if found, err := h.Start(context.Background()); err != nil || len(found) > 0 {
		panic(fmt.Sprint(found, err))
	}
	fmt.Println(h.Status()[0].PID)
	io.Copy(io.Discard, os.Stdin)
}

// dialPlain connects as another user of the machine might.
func dialPlain(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err != nil {
		return err
	}
	if n >= 5 && answer[0] == 0x15 { // a TLS alert
		return errors.New("the server wants TLS")
	}
	return nil
}
