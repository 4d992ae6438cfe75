//go:build linux

package faulttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/detect"
)

// floodConfiguration takes all that can be had of the plugin flood: %[1]q is the folder
// of plugins, %[2]s what the kelpie block has besides, %[3]s the detector's block,
// %[4]s the pipeline's condition, %[5]s the enrichments, %[6]s the response's
// condition, %[7]t whether the action hangs.
const floodConfiguration = `
kelpie {
  actions    = "on"
  plugin_dir = %[1]q
  %[2]s
}

detector "flood" "feed" {
  %[3]s
}

pipeline "all" {
  from    = [detector.feed]
  when    = %[4]s
  alerts  = true
  respond = [response.tell]

  map {
    title      = "a flood"
    time       = event.raw.time
    severity   = 50
    subjects   = { host = event.raw.host }
    indicators = { ip = event.raw.fresh }
  }
}

%[5]s

score {
  preset = "balanced"
}

response "tell" {
  when = %[6]s

  step "tell" {
    do = action.sink.notify
    to = "soc@example.org"
  }
}

action "flood" "sink" {
  hang    = %[7]t
  timeout = "30s"
}
`

// load is what a core is put under.
type load struct {
	kelpie   string // in the kelpie block
	detector string // its block
	when     string // empty: every event is a signal
	ask      int    // so many enrichments are asked for each address
	silent   bool   // they never answer
	act      bool   // each case has a step
	hang     bool   // which never ends
}

// newFlood makes a folder for a flood; what dir holds of an earlier one is gone on with.
func newFlood(b *testing.B, dir string, l load) *bench {
	b.Helper()
	p, err := shipped()
	if err != nil {
		b.Fatal(err)
	}
	w := &bench{b: b, p: p, dir: dir}
	var enrichments strings.Builder
	for i := range l.ask {
		fmt.Fprintf(&enrichments, "enrichment \"flood\" \"e%d\" {\n  hang     = %t\n  patience = \"1h\"\n  timeout  = \"1h\"\n}\n", i, l.silent)
	}
	when, respond := l.when, `case.title == "nothing has this title"`
	if when == "" {
		when = "true"
	}
	if l.act {
		respond = "case.severity >= 0"
	}
	text := fmt.Sprintf(floodConfiguration, p.Plugins, l.kelpie, l.detector, when, enrichments.String(), respond, l.hang)
	if err := os.WriteFile(filepath.Join(w.dir, "config.hcl"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	w.run("plugin", "lock", "--plugin-dir", p.Plugins)
	return w
}

// up is a core that runs.
type up struct {
	w    *bench
	cmd  *exec.Cmd
	errs *bytes.Buffer
	api  *http.Client
}

// start runs the core until it answers.
func (w *bench) start() *up {
	w.b.Helper()
	u := &up{w: w, cmd: exec.Command(w.p.Kelpie, "run"), errs: new(bytes.Buffer), api: dialAPI(filepath.Join(w.dir, "data", "kelpie.sock"))}
	u.cmd.Dir, u.cmd.Stderr = w.dir, u.errs
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := u.cmd.Start(); err != nil {
		w.b.Fatal(err)
	}
	w.b.Cleanup(func() { _ = u.cmd.Process.Kill() }) // it has ended, as a rule
	u.wait(patience, "the core to answer", func() bool { return u.get("status", new(api.Status)) })
	return u
}

// get asks the core, and tells whether it answered.
func (u *up) get(path string, into any) bool {
	resp, err := u.api.Get("http://kelpie/v1/" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

// memory of the core, in bytes: the most that it ever had, and what it has now of files
// and of its own.
type memory struct{ peak, file, own int64 }

func (u *up) memory() memory {
	u.w.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.cmd.Process.Pid))
	if err != nil {
		u.w.b.Fatalf("void: the core ended by itself\n%s", u.errs)
	}
	value := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err == nil {
			value[name] = n << 10
		}
	}
	return memory{peak: value["VmHWM"], file: value["RssFile"] + value["RssShmem"], own: value["RssAnon"]}
}

// kill ends the core as a power switch would.
func (u *up) kill() {
	u.w.b.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		u.w.b.Fatalf("void: the core ended by itself\n%s", u.errs)
	}
	_ = u.cmd.Wait() // it was killed, and says so
}

// counted is how many events were received and decided.
func (u *up) counted() (received, decided uint64) {
	var s api.Status
	if !u.get("status", &s) || len(s.Sources) == 0 {
		return 0, 0
	}
	return s.Sources[0].Total, s.Sources[0].Counted
}

// ended tells whether the core has, and leaves it to be waited for.
func (u *up) ended() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, u.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err != nil && err != unix.EINTR || info.Signo != 0
}

// wait waits for a condition.
func (u *up) wait(limit time.Duration, what string, ok func() bool) {
	u.w.b.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(2 * time.Millisecond) {
		if u.ended() {
			u.w.b.Fatalf("void: the core ended by itself\n%s", u.errs)
		}
		if time.Now().After(deadline) {
			u.w.b.Fatalf("void: waited %s for %s\n%s", limit, what, u.errs)
		}
	}
}

// feed is what the ledger says of the flood. The figure is void unless it adds up.
func (w *bench) feed() api.SourceLedger {
	w.b.Helper()
	out, _ := w.run("--json", "ledger")
	var l api.Ledger
	if err := json.Unmarshal(out, &l); err != nil {
		w.b.Fatal(err)
	}
	if len(l.Sources) != 1 || !l.AddsUp {
		w.b.Fatalf("void: the ledger: %s", out)
	}
	return l.Sources[0]
}

// Bounds of the core's memory.
const (
	floodBound = 512 << 20
	calmBound  = 220 << 20 // the aim is 150 (docs/performance.md)
)

// report says what a load took of memory, and fails if it was too much.
func report(b *testing.B, m memory, bound int64) {
	b.ReportMetric(float64(m.peak)/(1<<20), "MiB-peak")
	b.ReportMetric(float64(m.file)/(1<<20), "MiB-file")
	b.ReportMetric(float64(m.own)/(1<<20), "MiB-own")
	if m.peak > bound {
		b.Errorf("%d MiB of memory (now %d of files, %d its own), and %d are the bound", m.peak>>20, m.file>>20, m.own>>20, bound>>20)
	}
}

// BenchmarkBound is the core's memory under loads that it can't work off, a minute each.
func BenchmarkBound(b *testing.B) {
	for _, c := range []struct {
		name  string
		load  load
		bound int64
	}{
		{"signals", load{detector: "hosts = 2000"}, floodBound},
		{"few match", load{detector: "every = 1000", when: "event.raw.severity == 1"}, floodBound},
		{"own cases", load{act: true}, floodBound},
		{"new observables", load{detector: "fresh = 20", ask: 1}, floodBound},
		{"enrichments hang", load{detector: "fresh = 20", ask: 3, silent: true}, floodBound},
		{"actions hang", load{act: true, hang: true}, floodBound},
		{"500 a second", load{detector: "rate = 500", act: true}, calmBound},
	} {
		b.Run(strings.ReplaceAll(c.name, " ", "-"), func(b *testing.B) {
			for range b.N {
				flooded(b, newFlood(b, b.TempDir(), c.load), c.bound)
			}
		})
	}
}

// floodTime is how long a flood lasts.
const floodTime = time.Minute

func flooded(b *testing.B, w *bench, bound int64) {
	u := w.start()
	b.ResetTimer()
	time.Sleep(floodTime)
	b.StopTimer()
	at, took := w.feed(), b.Elapsed()
	m := u.memory()
	w.heap(b.Name())
	u.kill()
	report(b, m, bound)
	b.ReportMetric(float64(at.Received)/took.Seconds(), "events/s")
	b.ReportMetric(float64(at.Matched)/took.Seconds(), "signals/s")
	if end := w.feed(); end.Received < at.Received || end.Matched < at.Matched {
		b.Fatalf("void: %+v in the end, and %+v before", end, at)
	}
}

// heap takes a profile of the running core's memory, if KELPIE_BENCH_HEAP names a folder.
func (w *bench) heap(name string) {
	if dir := os.Getenv("KELPIE_BENCH_HEAP"); dir != "" {
		out, _ := w.run("profile", "heap")
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")), out, 0o600); err != nil {
			w.b.Fatal(err)
		}
	}
}

// BenchmarkBoundFullDisk is a flood onto a disk that is full for a while: events wait at
// their source, memory stays within its bound, and when there is room all come out.
func BenchmarkBoundFullDisk(b *testing.B) {
	const (
		events = 150_000
		full   = 30 * time.Second
	)
	w := newFlood(b, b.TempDir(), load{kelpie: `reserve = "48MiB"`, detector: fmt.Sprintf("events = %d", events)})
	data := filepath.Join(w.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		b.Fatal(err)
	}
	if err := syscall.Mount("kelpie-bound", data, "tmpfs", 0, "size=256m,mode=700"); err != nil {
		b.Skipf("no tmpfs can be mounted here: %v", err)
	}
	b.Cleanup(func() { _ = syscall.Unmount(data, syscall.MNT_DETACH) }) // what is left goes with it
	u := w.start()
	u.wait(5*time.Minute, "the disk to be full", func() bool {
		var s api.Status
		return u.get("status", &s) && len(s.Detectors) == 1 && s.Detectors[0].State == detect.NoRoom
	})
	b.ResetTimer()
	time.Sleep(full)
	before := u.memory()
	if received, _ := u.counted(); received >= events {
		b.Fatalf("void: all %d events were taken in", events)
	}
	if err := syscall.Mount("kelpie-bound", data, "tmpfs", syscall.MS_REMOUNT, "size=4g,mode=700"); err != nil {
		b.Fatal(err)
	}
	u.wait(10*time.Minute, "all events to be decided", func() bool { _, decided := u.counted(); return decided == events })
	b.StopTimer()
	m := u.memory()
	if at := w.feed(); at.Received != events || at.Matched != events {
		b.Fatalf("void: %+v of %d events", at, events)
	}
	u.kill()
	report(b, m, floodBound)
	b.ReportMetric(float64(before.peak)/(1<<20), "MiB-peak-full")
}
