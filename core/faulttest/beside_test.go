//go:build linux

package faulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
)

// besideConfiguration is honest work, each of its instances in a process of its own: so
// many events a second, each a case of its own whose step waits for a lookup. Beside it
// are the bait, which gives a rogue something to do, and the rogue. %[1]q is the folder
// of plugins, %[2]d the rate, %[3]d how many events there are, %[4]s the rogue's blocks,
// %[5]s the bait's step.
const besideConfiguration = `
kelpie {
  actions    = "on"
  plugin_dir = %[1]q
}

detector "flood" "feed" {
  rate   = %[2]d
  events = %[3]d
  fresh  = 1
}

pipeline "honest" {
  from    = [detector.feed]
  alerts  = true
  respond = [response.tell]

  map {
    title      = "${event.received}"
    time       = event.raw.time
    severity   = 50
    subjects   = { host = event.raw.host }
    indicators = { ip = event.raw.fresh }
  }
}

enrichment "flood" "honest" {
  isolation = "own"
  patience  = "1h"
}

score {
  factor "threat" {
    weight  = 1
    combine = "max"

    evidence "verdicts" {
      for_each = case.verdicts
      points   = each.value.score
      because  = "${each.value.source} says so"
    }
  }
}

response "tell" {
  when = case.score.total >= 30

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

detector "flood" "bait" {
  rate      = 20
  isolation = "own"
}

pipeline "bait" {
  from    = [detector.bait]
  alerts  = true
  respond = [response.bite]

  map {
    title      = "bait"
    time       = event.raw.time
    severity   = 50
    subjects   = { host = "bait-${event.raw.host}" }
    indicators = { domain = "${event.raw.host}.example.org" }
  }
}

response "bite" {
  when = case.severity >= 0

  step "bite" {
    do = action.%[5]s.notify
    to = "soc@example.org"
  }
}
%[4]s`

// nothing is the action of the bait where the rogue is none.
const nothing = `
action "flood" "nothing" {
  isolation = "own"
}
`

// rogueFeed is where a rogue detector's events go.
const rogueFeed = `
pipeline "rogue" {
  from    = [detector.rogue]
  when    = event.raw.nothing == "like this"
  alerts  = true
  respond = [response.bite]
}
`

// honestRate is how many events a second have their lookup and their step.
const honestRate = 100

// blocks of the rogue.
func (m misbehaviour) blocks() string {
	memory, user := "2GiB", ""
	if m.way == "leak" {
		memory = "256MiB"
	}
	if os.Geteuid() == 0 { // the kernel counts no processes of root
		user = `user = "nobody"`
	}
	return fmt.Sprintf(`
plugin "rogue" {
  memory    = %q
  processes = 64
  %s
}

%s "rogue" "rogue" {
  way     = %q
  after   = %d
  env     = { ROGUE = %q }
  timeout = "1s"
}
`, memory, user, m.kind, m.way, m.after, m.env)
}

// configuration of honest work, so many events of it, beside the misbehaviour; nil: none.
func (m *misbehaviour) configuration(plugins string, events int) string {
	bite, blocks := "nothing", nothing
	if m != nil {
		switch m.kind {
		case "action":
			bite, blocks = "rogue", ""
		case "detector":
			blocks += rogueFeed
		}
		blocks += m.blocks()
	}
	return fmt.Sprintf(besideConfiguration, plugins, honestRate, events, blocks, bite)
}

// beside is what became of honest work.
type beside struct {
	took   []time.Duration // from each batch to its call, sorted
	lookup time.Duration   // 99 of 100 of the honest enrichment's calls were within it
	peak   int64           // of the core's memory
	status string          // of the rogue, as the operator saw it
}

func (b *beside) part(of float64) time.Duration {
	return b.took[min(int(of*float64(len(b.took))), len(b.took)-1)]
}

// beside runs honest work beside a misbehaviour, or beside none, to its end. It fails
// if anything of it is missing or done twice, if the operator is not told what he should
// be, or if a process is left.
func (w *bench) beside(m *misbehaviour, events int, patterns []string) beside {
	w.b.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, "calls")); err != nil {
		w.b.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "data")); err != nil {
		w.b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "config.hcl"), []byte(m.configuration(w.p.Plugins, events)), 0o600); err != nil {
		w.b.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "kelpie.lock.hcl")); err != nil { // it locks all that there are
		w.run("plugin", "lock", "--plugin-dir", w.p.Plugins)
	}
	u := w.start()
	if m != nil && m.hold {
		u.wait(patience, "the rogue to run", func() bool {
			pid := u.rogue()
			return pid != 0 && syscall.Kill(pid, syscall.SIGSTOP) == nil
		})
	}
	var out beside
	before := 0 // events before the bomb
	if m != nil && (m.way == bomb || m.way == bombs) {
		u.wait(patience, "the bomb", func() bool { return len(childrenOf(u.rogue())) > 1 })
		if before = len(w.calls()); before > events/2 {
			w.b.Fatalf("void: %d of %d events had passed before the bomb", before, events)
		}
	}
	u.wait(patience, "the calls", func() bool { return len(w.calls()) >= events })
	out.peak, out.lookup = u.memory().peak, u.lookups()
	if m != nil {
		out.status = u.told(patterns)
		out.peak = max(out.peak, u.memory().peak)
	}
	u.end()
	w.left()
	w.exact(events)
	out.took = w.batchToCall(events)[before:]
	slices.Sort(out.took)
	return out
}

// told waits until the operator is told all that he should be.
func (u *up) told(patterns []string) string {
	u.w.b.Helper()
	var text, missing string
	ok := func() bool {
		out, _ := u.w.run("plugin", "status", "rogue")
		text, missing = string(out), ""
		for _, p := range patterns {
			if !says(text, p) {
				missing = p
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			u.w.b.Errorf("the operator is not told %q:\n%s", missing, text)
			break
		}
	}
	return text
}

// says tells whether a text does, however its lines are broken.
func says(text, what string) bool {
	return strings.Contains(strings.Join(strings.Fields(text), " "), what)
}

func (u *up) plugins() []api.PluginStatus {
	var all []api.PluginStatus
	u.get("plugins/status", &all)
	return all
}

// rogue is its process; 0: there is none.
func (u *up) rogue() int {
	for _, p := range u.plugins() {
		if p.Plugin == "rogue" {
			return p.PID
		}
	}
	return 0
}

// lookups says within what time nearly all of the honest enrichment's calls were.
func (u *up) lookups() time.Duration {
	for _, p := range u.plugins() {
		for _, in := range p.Instances {
			if in.Instance == "enrichment.honest" && len(in.Calls) > 0 {
				return time.Duration(in.Calls[0].P99 * float64(time.Second))
			}
		}
	}
	return 0
}

// childrenOf a process, by their numbers.
func childrenOf(pid int) []int {
	var found []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				found = append(found, n)
			}
		}
	}
	return found
}

// end stops the core in good order.
func (u *up) end() {
	u.w.b.Helper()
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		u.w.b.Fatal(err)
	}
	if err := u.cmd.Wait(); err != nil {
		u.w.b.Fatalf("the core was told to stop: %v\n%s", err, u.errs)
	}
}

// left fails if a process of a plugin's is.
func (w *bench) left() {
	w.b.Helper()
	for _, name := range []string{"exe", "cwd"} {
		links, _ := filepath.Glob("/proc/[0-9]*/" + name)
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && (strings.HasPrefix(to, w.p.Plugins+"/") || strings.HasPrefix(to, w.dir+"/")) {
				args, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
				w.b.Errorf("process %q is left, of %s", args, to)
			}
		}
	}
}

// exact fails unless each honest event was counted once.
func (w *bench) exact(events int) {
	w.b.Helper()
	out, _ := w.run("--json", "ledger")
	var l api.Ledger
	if err := json.Unmarshal(out, &l); err != nil {
		w.b.Fatal(err)
	}
	at := slices.IndexFunc(l.Sources, func(s api.SourceLedger) bool { return s.Source == "detector.feed" })
	if !l.AddsUp || at < 0 || l.Sources[at].Received != uint64(events) || l.Sources[at].Matched != uint64(events) {
		w.b.Errorf("the ledger of %d events: %s", events, out)
	}
}

// batchToCall is the time from each batch to its call.
func (w *bench) batchToCall(events int) []time.Duration {
	w.b.Helper()
	var all []time.Duration
	keys := map[string]bool{}
	for _, call := range w.calls() {
		fields := strings.Fields(strings.ReplaceAll(call, `"`, ""))
		if len(fields) != 3 || keys[fields[0]] {
			w.b.Fatalf("void: call %q", call)
		}
		keys[fields[0]] = true
		received, err1 := time.Parse(time.RFC3339Nano, fields[1])
		at, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			w.b.Fatalf("void: call %q: %v", call, err)
		}
		all = append(all, time.Unix(0, at).Sub(received))
	}
	if len(all) != events {
		w.b.Fatalf("void: %d calls for %d events", len(all), events)
	}
	return all
}
