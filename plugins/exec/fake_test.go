package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
)

// hostEnv makes the test binary a process that runs a program, for a test to kill.
const (
	hostEnv      = "KELPIE_TEST_HOST"
	unguardedEnv = "KELPIE_TEST_UNGUARDED" // by a guard
)

func TestMain(m *testing.M) {
	if os.Getenv(guardEnv) != "" {
		keep(os.Stdin)
		return
	}
	if address := os.Getenv(programEnv); address != "" {
		os.Exit(deskProgram(address))
	}
	if path := os.Getenv(hostEnv); path != "" {
		hostProgram(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// hostProgram runs a program until the process is killed.
func hostProgram(path string) {
	c := programConfig{Program: sdk.Path(path), TimeLimit: time.Hour}
	var g *guard
	if os.Getenv(unguardedEnv) == "" {
		g = &guard{}
	}
	p := newProgram(&c, sdk.Env{Log: slog.New(slog.DiscardHandler)}, g, 1)
	defer p.close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_, _, _ = p.ask(ctx, nil, 1<<20)
}

// script writes a program. No process is forked meanwhile: one that held the open file
// would keep it from being run.
func script(t testing.TB, text string) sdk.Path {
	t.Helper()
	return scriptNamed(t, "program", text)
}

func scriptNamed(t testing.TB, name, text string) sdk.Path {
	t.Helper()
	if !strings.HasPrefix(text, "#!") {
		text = "#!/bin/sh\n" + text
	}
	path := filepath.Join(t.TempDir(), name)
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return sdk.Path(path)
}

// journal is a log that a test reads.
type journal struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.String()
}

func env(t testing.TB) (sdk.Env, *journal) {
	j := &journal{}
	return sdk.Env{Instance: "x", Log: slog.New(slog.NewTextHandler(j, nil)), StateDir: t.TempDir()}, j
}

// block is a block's values by the names of its attributes.
type block map[string]any

// opened fills, checks and opens an instance.
func opened[T interface {
	sdk.Instance
	sdk.Validator
	sdk.Opener
}](t testing.TB, instance T, b block) (T, *journal) {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(sdk.Decode(data, instance.Config()), instance.Validate()...) {
		t.Fatal(d)
	}
	e, j := env(t)
	if err := instance.Open(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return instance, j
}

// recorder is a Sender. What it takes is durable when the test says so.
type recorder struct {
	mu      sync.Mutex
	events  []sdk.Event
	cursors []string
	trouble []error
	durable chan struct{} // closed: all is
	awaited bool
	changed chan struct{}
}

func newRecorder() *recorder {
	r := &recorder{durable: make(chan struct{}), changed: make(chan struct{}, 1)}
	close(r.durable)
	return r
}

func (r *recorder) Send(ctx context.Context, events []sdk.Event, cursor []byte) (sdk.Receipt, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, slices.Clone(events)...)
	if cursor != nil {
		r.cursors = append(r.cursors, string(cursor))
	}
	r.tell()
	return r, nil
}

func (r *recorder) Wait(ctx context.Context) error {
	r.mu.Lock()
	r.awaited = true
	r.tell()
	r.mu.Unlock()
	select {
	case <-r.durable:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *recorder) Status(trouble error, _ int64, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = append(r.trouble, trouble)
	r.tell()
}

func (r *recorder) tell() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// until waits until what is recorded is as the test wants it.
func (r *recorder) until(t testing.TB, want func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok := want()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("what was waited for did not come: %v, trouble %v", r.raws(), r.trouble)
		}
	}
}

// raws are the payloads, with the problems.
func (r *recorder) raws() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.events {
		text := string(e.Raw)
		if e.Problem != "" {
			text += " (" + e.Problem + ")"
		}
		all = append(all, text)
	}
	return all
}

func (r *recorder) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.events {
		all = append(all, e.ID)
	}
	return all
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive tells whether a process runs: one that nobody has reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// pidIn waits for a file to hold a process's number.
func pidIn(t testing.TB, path string) int {
	t.Helper()
	pid := 0
	eventually(t, "a number in "+path, func() bool {
		text, _ := os.ReadFile(path)
		if !bytes.HasSuffix(text, []byte("\n")) {
			return false
		}
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
