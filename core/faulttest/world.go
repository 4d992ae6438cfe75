package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
)

// patience bounds every wait for a condition.
const patience = 60 * time.Second

// Programs are what a world runs, built once: the core with its fault points armed,
// the plugins as they ship.
type Programs struct {
	Dir     string
	Kelpie  string
	Sink    string
	Plugins string
}

// Build makes the programs.
func Build(dir string, tags string) (Programs, error) {
	p := Programs{
		Dir: dir, Kelpie: filepath.Join(dir, "kelpie"), Sink: filepath.Join(dir, "smtpsink"),
		Plugins: filepath.Join(dir, "plugins"),
	}
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kelpie-sec/kelpie")
	if err != nil {
		return p, err
	}
	for out, pkg := range map[string]string{
		p.Kelpie: "./core/cmd/kelpie", p.Sink: "./examples/quickstart/smtpsink",
		filepath.Join(p.Plugins, "file"): "./plugins/file", filepath.Join(p.Plugins, "email"): "./plugins/email",
		filepath.Join(p.Plugins, "table"): "./plugins/table", filepath.Join(p.Plugins, "counter"): "./core/faulttest/counter",
	} {
		c := exec.Command("go", "build", "-tags", tags, "-o", out, pkg)
		c.Dir = strings.TrimSpace(root)
		if text, err := c.CombinedOutput(); err != nil {
			return p, fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
		}
	}
	return p, nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return string(out), err
}

// World is a folder with a configuration, a growing feed, and a mail server.
type World struct {
	t     *testing.T
	p     Programs
	dir   string
	model Model
	sent  int // lines written to the feed

	sink *exec.Cmd
	core *exec.Cmd
	log  *bytes.Buffer
	wait chan error
}

// configuration of a world. %[1]s is the mail server's address, %[2]s the plugins.
const configuration = `
kelpie {
  actions    = "on"
  plugin_dir = %[2]q
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

  step "mail" {
    do = action.mail.notify
    to = "soc@example.org"
  }
}

action "email" "mail" {
  server = "smtp://%[1]s"
  from   = "kelpie@example.org"
}
`

// NewWorld makes a world whose feed is empty.
func NewWorld(t *testing.T, p Programs, m Model) *World {
	t.Helper()
	w := &World{t: t, p: p, dir: t.TempDir(), model: m}
	w.startSink()
	w.write("config.hcl", fmt.Sprintf(configuration, w.sinkAddress(), p.Plugins))
	w.write("names.csv", "cidr,disposition,score,confidence\n198.51.100.0/25,malicious,80,90\n")
	w.write("feed.json", "")
	w.must(w.kelpie("plugin", "lock", "--plugin-dir", p.Plugins))
	return w
}

func (w *World) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *World) must(out string, err error) string {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// kelpie runs a command of the core to its end.
func (w *World) kelpie(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, w.p.Kelpie, args...)
	c.Dir = w.dir
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String() + errs.String(), fmt.Errorf("kelpie %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// Feed appends n lines, or as many as are left.
func (w *World) Feed(n int) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dir, "feed.json"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for range min(n, w.model.Events-w.sent) {
		b.WriteString(w.model.Line(w.sent))
		w.sent++
	}
	if _, err := io.WriteString(f, b.String()); err != nil {
		w.t.Fatal(err)
	}
}

// Left is how many lines are still to be fed.
func (w *World) Left() int { return w.model.Events - w.sent }

// Start runs the core; plan is what KELPIE_FAULT says.
func (w *World) Start(plan string) {
	w.t.Helper()
	w.core = exec.Command(w.p.Kelpie, "run", "--log-level", "info")
	w.core.Dir = w.dir
	w.core.Env = append(os.Environ(), "KELPIE_FAULT="+plan, "KELPIE_FAULT_LOG="+w.faultLog())
	w.log = &bytes.Buffer{}
	w.core.Stderr = w.log
	if err := w.core.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.wait = make(chan error, 1)
	go func(c *exec.Cmd, done chan<- error) { done <- c.Wait() }(w.core, w.wait)
}

// Stop ends the core in good order, once it is up.
func (w *World) Stop() {
	w.t.Helper()
	w.Until("the core's socket", func() bool {
		c, err := net.Dial("unix", filepath.Join(w.dir, "data", "kelpie.sock"))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	if err := w.core.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	select {
	case err := <-w.wait:
		if err != nil {
			w.t.Fatalf("stopped by SIGTERM: %v\n%s", err, w.log)
		}
	case <-time.After(patience):
		w.core.Process.Kill()
		w.t.Fatalf("did not stop within %s\n%s", patience, w.log)
	}
}

// Died waits until the core was killed.
func (w *World) Died() {
	w.t.Helper()
	select {
	case err := <-w.wait:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			w.t.Fatalf("the core ended by itself: %v\n%s", err, w.log)
		}
	case <-time.After(patience):
		w.core.Process.Kill()
		w.t.Fatalf("the core was not killed within %s\n%s", patience, w.log)
	}
}

func (w *World) faultLog() string { return filepath.Join(w.dir, "faults") }

// Kills lists what the armed core has killed: lines of point, victim and process.
func (w *World) Kills() []string {
	data, err := os.ReadFile(w.faultLog())
	if err != nil || !bytes.HasSuffix(data, []byte("\n")) {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// Until waits for a condition.
func (w *World) Until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.core.Process.Kill()
			w.t.Fatalf("waited %s for %s\n%s", patience, what, w.log)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Finish feeds what is left, runs all of it to the end, and checks the outcome.
func (w *World) Finish() Outcome {
	w.t.Helper()
	w.Feed(w.Left())
	w.must(w.kelpie("run", "--once"))
	var o Outcome
	w.decode(&o.summary, "--json", "run", "--once")
	o.Cases = w.must(w.kelpie("--json", "case", "list"))
	w.decode(&o.intents, "--json", "intent", "list")
	o.mails = w.mails()
	return o
}

func (w *World) decode(v any, args ...string) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.must(w.kelpie(args...))), v); err != nil {
		w.t.Fatal(err)
	}
}

func (w *World) startSink() {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	w.sink = exec.Command(w.p.Sink, "-addr", address, "-maildir", filepath.Join(w.dir, "mail"))
	if err := w.sink.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.sink.Process.Kill()
		w.sink.Wait()
	})
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("mail server: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *World) sinkAddress() string { return w.sink.Args[2] }

// plan of one kill: at the hit-th time that the point is passed.
func plan(point string, hit int, victim string) string {
	return fmt.Sprintf("%s@%d=%s", point, hit, victim)
}

var points = fault.Points()
