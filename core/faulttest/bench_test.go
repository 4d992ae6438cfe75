package faulttest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/examples/suricata/eve"
)

var shipped = sync.OnceValues(func() (Programs, error) {
	return temporary("")
})

// eveConfiguration reads Suricata's log. %[1]q is the condition of its pipeline, %[2]q
// the folder of plugins, %[3]s the response's condition.
const eveConfiguration = `
kelpie {
  actions    = "on"
  plugin_dir = %[2]q
}

detector "file" "eve" {
  path     = "eve.json"
  interval = "10ms"
}

pipeline "ids" {
  from    = [detector.eve]
  when    = %[1]s
  alerts  = true
  respond = [response.tell]

  map {
    title      = "${event.raw.kelpie_sent} ${event.received}"
    time       = event.raw.timestamp
    severity   = lookup({ "1" = 90, "2" = 60 }, event.raw.alert.severity, 30)
    subjects   = { ip = event.raw.src_ip }
    indicators = { ip = event.raw.dest_ip }
  }
}

score {
  preset = "balanced"
}

response "tell" {
  when = %[3]s

  step "count" {
    do = action.sink.notify
    to = "soc@example.org"

    parameters {
      text = case.title
    }
  }
}

action "counter" "sink" {
  file = "calls"
}
`

// bench is a folder in which the shipped programs run.
type bench struct {
	b   testing.TB
	p   Programs
	dir string
}

func newBench(b *testing.B, when, respond string) *bench {
	b.Helper()
	p, err := shipped()
	if err != nil {
		b.Fatal(err)
	}
	w := &bench{b: b, p: p, dir: b.TempDir()}
	text := fmt.Sprintf(eveConfiguration, when, p.Plugins, respond)
	if err := os.WriteFile(filepath.Join(w.dir, "config.hcl"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	w.run("plugin", "lock", "--plugin-dir", p.Plugins)
	return w
}

// run runs a command to its end and gives its output and the most memory that it had,
// in bytes.
func (w *bench) run(args ...string) ([]byte, int64) {
	w.b.Helper()
	c := exec.Command(w.p.Kelpie, args...)
	c.Dir = w.dir
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		w.b.Fatalf("kelpie %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out, c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// write makes eve.json: n events, one in every so many of interest, between hosts.
func (w *bench) write(n, every int, kinds []eve.Kind, hosts int) int64 {
	w.b.Helper()
	g, err := eve.New(eve.Options{Seed: 1, AlertRatio: every, Kinds: kinds, Hosts: hosts})
	if err != nil {
		w.b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(w.dir, "eve.json"))
	if err != nil {
		w.b.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	var size int64
	for range n {
		line = append(g.Append(line[:0]), '\n')
		size += int64(len(line))
		if _, err := out.Write(line); err != nil {
			w.b.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		w.b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		w.b.Fatal(err)
	}
	return size
}

type runSummary struct {
	Seconds float64
	Counts  struct{ Signals, Cases int }
	Sources []struct{ Received, Matched, Passed int }
}

// once runs --once and gives the summary; a figure is void unless its counts agree.
func (w *bench) once(events int) (runSummary, int64) {
	w.b.Helper()
	out, memory := w.run("--json", "run", "--once")
	var s runSummary
	if err := json.Unmarshal(out, &s); err != nil {
		w.b.Fatal(err)
	}
	if len(s.Sources) != 1 || s.Sources[0].Received != events || s.Sources[0].Matched+s.Sources[0].Passed != events {
		w.b.Fatalf("void: counted %+v of %d events", s.Sources, events)
	}
	return s, memory
}

// calls that the counter wrote down.
func (w *bench) calls() []string {
	data, err := os.ReadFile(filepath.Join(w.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		w.b.Fatal(err)
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
}

// BenchmarkDetectMatch is the whole program from file to store, with sync = "always"
// and one event in 1,000 matching: alerts of 1.3 kB, so that batches have 512 of them.
func BenchmarkDetectMatch(b *testing.B) {
	const events = 300_000
	w := newBench(b, `event.raw.event_type == "alert" && event.raw.alert.severity == 1`, `case.title == "nothing has this title"`)
	size := w.write(events, 1000, []eve.Kind{eve.Alert}, 0)
	b.ResetTimer()
	for range b.N {
		if err := os.RemoveAll(filepath.Join(w.dir, "data")); err != nil {
			b.Fatal(err)
		}
		s, memory := w.once(events)
		if s.Sources[0].Matched != events/1000 || s.Counts.Signals != events/1000 {
			b.Fatalf("void: %d matched, %d signals, want %d", s.Sources[0].Matched, s.Counts.Signals, events/1000)
		}
		b.ReportMetric(events/s.Seconds, "events/s")
		b.ReportMetric(float64(size)/s.Seconds/1e6, "MB/s")
		b.ReportMetric(float64(size)/events, "B/event")
		b.ReportMetric(float64(memory)/1e6, "MB-peak")
	}
}

// BenchmarkSignals: every event is a signal; decide, the store, and one call of an
// action for each case.
func BenchmarkSignals(b *testing.B) {
	const events = 50_000
	w := newBench(b, "true", "case.severity >= 0")
	w.write(events, 2, []eve.Kind{eve.Alert}, 2000)
	b.ResetTimer()
	for range b.N {
		for _, name := range []string{"data", "calls"} {
			if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
				b.Fatal(err)
			}
		}
		s, memory := w.once(events)
		calls := w.calls()
		keys := map[string]bool{}
		for _, c := range calls {
			key, _, _ := strings.Cut(c, " ")
			keys[key] = true
		}
		if s.Counts.Signals != events || len(calls) != s.Counts.Cases || len(keys) != len(calls) {
			b.Fatalf("void: %d signals of %d, %d calls (%d different) for %d cases", s.Counts.Signals, events, len(calls), len(keys), s.Counts.Cases)
		}
		b.ReportMetric(events/s.Seconds, "signals/s")
		b.ReportMetric(float64(len(calls)), "calls")
		b.ReportMetric(float64(memory)/1e6, "MB-peak")
	}
}

// BenchmarkLatency is the time to the action's call at 500 and 2,000 lines a second,
// each a case of its own: from the line in the file, and from the plugin's batch in the
// core. What the way from the batch is made of stands beside it: up to where match has
// stamped it (EVENTS is written), up to the claim (INPUTS is written and decided), and
// up to the call (the claim is written).
func BenchmarkLatency(b *testing.B) {
	for _, rate := range []int{500, 2_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) { latency(b, 10*rate, rate) })
	}
}

func latency(b *testing.B, events, rate int) {
	w := newBench(b, "true", "case.severity >= 0")
	b.ResetTimer()
	for range b.N {
		for _, name := range []string{"data", "calls"} {
			if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(w.dir, "eve.json"), nil, 0o600); err != nil {
			b.Fatal(err)
		}
		w.paced(events, rate)
		for name, took := range w.latencies(events) {
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-ms-p99")
		}
	}
}

// paced runs the core while lines come at a steady rate, until each has had its call.
func (w *bench) paced(events, rate int) {
	c := exec.Command(w.p.Kelpie, "run")
	c.Dir = w.dir
	if err := c.Start(); err != nil {
		w.b.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Signal(syscall.SIGTERM)
	w.until(func() bool {
		_, err := os.Stat(filepath.Join(w.dir, "data", "kelpie.sock"))
		return err == nil
	})
	defer w.profile(time.Duration(events) * time.Second / time.Duration(rate))()
	f, err := os.OpenFile(filepath.Join(w.dir, "eve.json"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.b.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	for i := range events {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		now := time.Now()
		fmt.Fprintf(f, `{"timestamp":%q,"event_type":"alert","src_ip":"10.%d.%d.1","dest_ip":"2001:db8::%x","alert":{"severity":1,"signature":"paced"},"kelpie_sent":"%d","pad":%q}`+"\n",
			now.UTC().Format(time.RFC3339Nano), i/250, i%250, i+1, now.UnixNano(), strings.Repeat("x", 1000))
	}
	w.until(func() bool { return len(w.calls()) >= events })
}

// profile takes a profile of the running core's processor time, if KELPIE_BENCH_PROFILE
// names a file, and gives what waits for it.
func (w *bench) profile(d time.Duration) func() {
	path := os.Getenv("KELPIE_BENCH_PROFILE")
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err != nil {
		w.b.Fatal(err)
	}
	c := exec.Command(w.p.Kelpie, "profile", "cpu", "--seconds", strconv.Itoa(max(1, int(d.Seconds()))))
	c.Dir, c.Stdout = w.dir, f
	if err := c.Start(); err != nil {
		w.b.Fatal(err)
	}
	return func() {
		if err := errors.Join(c.Wait(), f.Close()); err != nil {
			w.b.Errorf("profile: %v", err)
		}
	}
}

// latencies are the times of the calls, by what they are from or between.
func (w *bench) latencies(events int) map[string][]time.Duration {
	s, err := store.Open(w.b.Context(), store.Settings{Dir: filepath.Join(w.dir, "data")})
	if err != nil {
		w.b.Fatal(err)
	}
	defer s.Close()
	all := map[string][]time.Duration{}
	for _, call := range w.calls() {
		fields := strings.Fields(strings.ReplaceAll(call, `"`, ""))
		if len(fields) != 4 {
			w.b.Fatalf("void: call %q", call)
		}
		sent, err1 := strconv.ParseInt(fields[1], 10, 64)
		received, err2 := time.Parse(time.RFC3339Nano, fields[2])
		at, err3 := strconv.ParseInt(fields[3], 10, 64)
		in, attempts, err4 := s.Journal(w.b.Context(), fields[0])
		if err := errors.Join(err1, err2, err3, err4); err != nil || len(attempts) == 0 {
			w.b.Fatalf("void: call %q, %d attempts: %v", call, len(attempts), err)
		}
		called, claimed := time.Unix(0, at), attempts[0].Claimed
		for name, took := range map[string]time.Duration{
			"line": called.Sub(time.Unix(0, sent)), "batch": called.Sub(received),
			"hop-matched": in.PlannedAt.Sub(received), "hop-claimed": claimed.Sub(in.PlannedAt), "hop-called": called.Sub(claimed),
		} {
			all[name] = append(all[name], took)
		}
	}
	if len(all["line"]) != events {
		w.b.Fatalf("void: %d calls for %d cases", len(all["line"]), events)
	}
	return all
}

func (w *bench) until(ok func() bool) {
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.b.Fatalf("void: waited %s", patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
