package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// patience bounds every wait for a condition.
const patience = 60 * time.Second

// temporary folder of the plugins, built once.
var built struct {
	once  sync.Once
	dir   string
	lock  host.Lock
	all   []model.Plugin
	err   error
	twins sync.Mutex
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func build(t *testing.T) {
	t.Helper()
	built.once.Do(func() { built.err = buildPlugins() })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func buildPlugins() (err error) {
	if built.dir, err = os.MkdirTemp("", "kelpie-engine-"); err != nil {
		return err
	}
	for _, pkg := range []string{
		"../../plugins/file", "../../plugins/table", "../../plugins/email", "../faulttest/counter", "../faulttest/contain", "./testdata/witness", "./testdata/chat",
	} {
		name := filepath.Base(pkg)
		path := filepath.Join(built.dir, name)
		if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
		plugin, sum, err := host.Inspect(context.Background(), path)
		if err != nil {
			return err
		}
		built.all = append(built.all, plugin)
		built.lock.Plugins = append(built.lock.Plugins, host.LockedPlugin{
			Name: name, Version: plugin.Version, SHA256: map[string]string{host.Platform(): sum},
		})
	}
	return nil
}

// feed is what the first detector reads, by default.
var feed = faulttest.Model{Events: 600, Sources: 6, Every: 10}

// standard is a configuration with one detector, a table, and an action that counts.
const standard = `
kelpie {
  actions = "on"
}

detector "file" "feed" {
  path     = "feed.json"
  interval = "10ms"
}

pipeline "alerts" {
  from    = [detector.feed]
  when    = event.raw.kind == "alert"
  alerts  = true
  respond = [response.tell]

  map {
    title      = "alert of ${event.raw.from}"
    time       = event.raw.time
    severity   = 70
    indicators = { ip = event.raw.from }
  }
}

enrichment "table" "names" {
  path  = "names.csv"
  takes = ["ip"]
}

score {
  preset = "balanced"
}

response "tell" {
  when = case.score.total >= 10

  step "count" {
    do = action.sink.notify
    to = "soc@example.org"
  }
}

action "counter" "sink" {
  file = "calls"
}
`

// world is a folder in which Kelpie runs inside the test.
type world struct {
	t        *testing.T
	dir      string
	settings Settings
	plugins  string
	lock     host.Lock
	known    []model.Plugin // with what the world has of its own; nil: nothing
	log      *lines
}

func newWorld(t *testing.T, text string) *world {
	t.Helper()
	build(t)
	w := &world{t: t, dir: t.TempDir(), plugins: built.dir, lock: built.lock, log: &lines{}}
	w.settings = Settings{
		DataDir: filepath.Join(w.dir, "data"), Reserve: 1, Version: "test",
		Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	w.check(config.WriteSchemas(w.dir, built.all))
	w.check(config.WriteLock(w.dir, built.lock))
	w.configure(text)
	w.write("names.csv", "cidr,disposition,score,confidence\n198.51.100.0/25,malicious,80,90\n")
	w.write("feed.json", "")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

// lines are what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	w.check(os.WriteFile(w.path(name), []byte(text), 0o600))
}

func (w *world) readFile(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	if !errors.Is(err, os.ErrNotExist) {
		w.check(err)
	}
	return string(text)
}

func (w *world) configure(text string) { w.write("config.hcl", text) }

// feed appends events from the model's number from on to a file.
func (w *world) feed(name string, m faulttest.Model, from, n int) {
	w.t.Helper()
	f, err := os.OpenFile(w.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	w.check(err)
	var b strings.Builder
	for i := from; i < from+n; i++ {
		b.WriteString(m.Line(i))
	}
	_, err = f.WriteString(b.String())
	w.check(errors.Join(err, f.Close()))
}

// options of a run with the configuration as it is now.
func (w *world) options(once bool) RunOptions {
	w.t.Helper()
	src, diags := config.Load(w.path("config.hcl"), config.Options{})
	if diags.HasErrors() {
		w.t.Fatal(diags)
	}
	c, diags := config.Parse(src)
	if diags.HasErrors() {
		w.t.Fatal(diags)
	}
	instances, diags := c.Resolve(config.Secrets(w.dir))
	if diags.HasErrors() {
		w.t.Fatal(diags)
	}
	return RunOptions{Configuration: Configuration{
		Config: c, Instances: instances, Lock: w.lock, LockFile: w.path(config.LockName),
		PluginDir: w.plugins, Secrets: config.Secrets(w.dir),
	}, Once: once}
}

func (w *world) open() *Kelpie {
	w.t.Helper()
	k, err := Open(w.t.Context(), w.settings)
	w.check(err)
	return k
}

// once runs to the end and looks at the store.
func (w *world) once() outcome {
	w.t.Helper()
	k := w.open()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := k.Run(ctx, w.options(true)); err != nil {
		w.t.Fatal(errors.Join(err, k.Close()))
	}
	if ctx.Err() != nil {
		w.t.Fatalf("no end within %s", patience)
	}
	o := w.outcome(k)
	w.check(k.Close())
	return o
}

// outcome is what came of all runs.
type outcome struct {
	counts   store.Counts
	received uint64
	matched  uint64
	passed   uint64
	rejected int
	repeated uint64
	cases    map[string]int // signals by the case's first indicator
	scores   string
	calls    int // by the action, of different keys
	dry      int
}

func (w *world) outcome(k *Kelpie) outcome {
	w.t.Helper()
	ctx := w.t.Context()
	o := outcome{cases: map[string]int{}}
	var err error
	o.counts, err = k.Store().Counts(ctx)
	w.check(err)
	ledger, err := k.Store().Ledger(ctx)
	w.check(err)
	for _, l := range ledger {
		o.received, o.matched, o.passed, o.repeated = o.received+l.Received, o.matched+l.Matched, o.passed+l.Passed, o.repeated+l.Repeated
		for _, n := range l.Rejected {
			o.rejected += n
		}
	}
	cases, err := k.Store().Cases(ctx, store.CaseQuery{})
	w.check(err)
	for _, c := range cases {
		o.cases[c.Indicators[0].Value] = c.Size
		o.scores += fmt.Sprintf("%s %s %d %s\n", c.ID, c.Indicators[0].Value, c.Size, c.Score.Total)
	}
	o.calls, o.dry = w.calls("calls"), w.calls("calls.dry")
	return o
}

// calls counts the keys in a file of the counter; a key that comes twice is an error.
func (w *world) calls(name string) int {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	w.check(err)
	keys := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		key, _, _ := strings.Cut(line, " ")
		if keys[key] {
			w.t.Errorf("%s: %s was called twice", name, key)
		}
		keys[key] = true
	}
	return len(keys)
}

// want compares with the model.
func (o outcome) want(t *testing.T, m faulttest.Model) {
	t.Helper()
	if o.received != uint64(m.Events) || o.matched != uint64(m.Alerts()) || o.passed != uint64(m.Events-m.Alerts()) {
		t.Errorf("%d received, %d matched, %d passed; want %d, %d and the rest", o.received, o.matched, o.passed, m.Events, m.Alerts())
	}
	if want := m.Cases(); fmt.Sprint(o.cases) != fmt.Sprint(want) {
		t.Errorf("cases %v, want %v", o.cases, want)
	}
	if o.calls != len(m.Cases()) || o.counts.IntentsDone != o.calls {
		t.Errorf("%d calls, %d intents done, want %d", o.calls, o.counts.IntentsDone, len(m.Cases()))
	}
}

// running is a Kelpie whose Run is under way.
type running struct {
	w    *world
	k    *Kelpie
	stop context.CancelFunc
	done chan error
}

func (w *world) run() *running {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{w: w, k: w.open(), stop: stop, done: make(chan error, 1)}
	o := w.options(false)
	go func() { r.done <- r.k.Run(ctx, o) }()
	return r
}

// end stops it as SIGTERM would, and closes it.
func (r *running) end() {
	r.w.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		r.w.check(errors.Join(err, r.k.Close()))
	case <-time.After(patience):
		r.w.t.Fatalf("no stop within %s", patience)
	}
}

// until waits for a condition, and for no longer than the run lasts.
func (r *running) until(what string, ok func() bool) {
	r.w.t.Helper()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-t.C:
		case err := <-r.done:
			r.w.t.Fatalf("the run ended while waiting for %s: %v", what, err)
		case <-late:
			r.w.t.Fatalf("no %s within %s", what, patience)
		}
	}
}

// counted tells how many events the store accounts for.
func (r *running) counted() uint64 {
	sources, err := r.k.Store().Sources(context.Background())
	r.w.check(err)
	n := uint64(0)
	for _, s := range sources {
		n += s.Counted
	}
	return n
}
