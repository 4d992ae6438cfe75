//go:build linux

package host

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// trying is an instance that makes attempts when it is asked.
func trying(address string, c fakeConfig) Instance {
	i := enrichment(address, "well", "try")
	c.Do, c.Secret = "try", token
	i.Config, _ = json.Marshal(c)
	i.Confinement.Declared = Permissions{
		Read: []string{"{path}"}, Write: []string{"{out}"}, Network: []string{"tcp:{server}", "listen:{listen}"},
	}
	return i
}

// tried is what came of each attempt.
func tried(t testing.TB, h *Host, address string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for attempt, said := range details(t, enricher(t, h, address)) {
		out[attempt] = said.(string)
	}
	return out
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listening gives the port of somebody who does.
func listening(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// freePorts are two on which nobody listens.
func freePorts(t testing.TB) (a, b string) {
	t.Helper()
	ports := [2]string{}
	for n := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, ports[n], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports[0], ports[1]
}

func requireLandlock(t testing.TB, version int) {
	t.Helper()
	if k := askKernel(); k.landlock < version {
		t.Skipf("this kernel's Landlock has version %d", k.landlock)
	}
}

// place is a data folder with the core's files, and files outside of it that a plugin is
// granted, or not.
type place struct{ data, config, logs, secret, neighbour, port, other, listen, free string }

func newPlace(t testing.TB) place {
	dir := t.TempDir()
	p := place{data: filepath.Join(dir, "data"), logs: filepath.Join(dir, "logs")}
	for _, folder := range []string{p.data, p.logs, filepath.Join(p.data, "log")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.secret = write(t, filepath.Join(p.data, "kelpie.db"), "the core's own")
	p.config = write(t, filepath.Join(dir, "config.hcl"), "")
	p.neighbour = write(t, filepath.Join(p.logs, "auth.log"), "")
	write(t, filepath.Join(p.logs, "eve.json"), "")
	p.port, p.other = listening(t), listening(t)
	p.listen, p.free = freePorts(t)
	return p
}

func (p place) settings(t testing.TB, instances ...Instance) Settings {
	s := settings(t, quick(), instances...)
	s.StateDir, s.Private = filepath.Join(p.data, "plugins"), []string{p.data}
	return s
}

// misdeeds are what no plugin may do, whatever it was granted in the place.
func (p place) misdeeds() []string {
	core := strconv.Itoa(os.Getpid())
	return []string{
		"read /etc/shadow", "list /root", "read " + p.secret, "list " + p.data, "list " + filepath.Join(p.data, "log"),
		"append " + p.secret, "make " + filepath.Join(p.data, "x"), "remove " + p.secret,
		"list " + filepath.Join(p.data, "plugins"), "read " + filepath.Join(p.data, "plugins", "enrichment.victim@fake", "state"),
		"make " + filepath.Join(p.data, "plugins", "enrichment.victim@fake", "x"),
		"read /proc/" + core + "/environ", "read /proc/" + core + "/maps", "read /proc/" + core + "/mem",
		"signal " + core, "thread " + core, "memory " + core, "owner " + core, "limit " + core, "pace " + core, "privilege x", "make /tmp/kelpie-confine-test",
		"dial 127.0.0.1:" + p.other, "listen 127.0.0.1:" + p.free, "multipath 127.0.0.1:" + p.other, "fastopen 127.0.0.1:" + p.other,
	}
}

// refusals are the kernel's.
var refusals = []string{"permission denied", "operation not permitted", "no such process", "protocol not supported"}

// Who declares no network gets no socket of the Internet, and io_uring nobody.
func TestNoNetworkWithoutAsking(t *testing.T) {
	requireLandlock(t, 4)
	attempts := []string{"socket 2", "socket 10", "socket 17", "uring x", "dial 127.0.0.1:" + listening(t), "lookup example.org"}
	h := started(t, settings(t, quick(), trying("enrichment.a", fakeConfig{Try: attempts})), quiet())
	for attempt, said := range tried(t, h, "enrichment.a") {
		if said == "done" {
			t.Errorf("%s: %s", attempt, said)
		}
	}
}

// A plugin reads and writes what its block names, and nothing of anybody else's.
func TestConfinedToWhatItsBlockNames(t *testing.T) {
	requireLandlock(t, 6)
	t.Run("without a limit of processes", func(t *testing.T) { checkConfined(t, Limits{}) })
	if os.Geteuid() != 0 { // then it gets name spaces of its own for that
		t.Run("as it is by default", func(t *testing.T) { checkConfined(t, DefaultLimits()) })
	}
}

func checkConfined(t *testing.T, limits Limits) {
	p := newPlace(t)
	state := func(name string) string { return filepath.Join(p.data, "plugins", name) }
	allowed := []string{
		"read " + filepath.Join(p.logs, "eve.json"), "make " + filepath.Join(state("enrichment.a@fake"), "x"),
		"append " + filepath.Join(filepath.Dir(p.data), "out"), "dial 127.0.0.1:" + p.port, "listen 127.0.0.1:" + p.listen,
		"temporary x", "read /etc/resolv.conf", "list /usr/share", "run /bin/true", "lookup localhost", "itself x",
	}
	refused := append(
		p.misdeeds(), "read "+p.neighbour, "read "+p.config, "append "+filepath.Join(p.logs, "eve.json"),
		"make "+filepath.Join(p.logs, "x"), "plant "+state("enrichment.a@fake"),
	)
	victim := enrichment("enrichment.victim", "well", "well")
	victim.Own = true
	a := trying("enrichment.a", fakeConfig{
		Try: slices.Concat(allowed, refused), Path: filepath.Join(p.logs, "eve.json"),
		Out: filepath.Join(filepath.Dir(p.data), "out"), Server: "http://127.0.0.1:" + p.port, Listen: "127.0.0.1:" + p.listen,
	})
	a.Confinement.Limits, victim.Confinement.Limits = limits, limits
	s := p.settings(t, a, victim)
	log, lines := recording()
	h := started(t, s, log)
	write(t, filepath.Join(state("enrichment.victim@fake"), "state"), "another's")
	got := tried(t, h, "enrichment.a")
	for _, attempt := range allowed {
		if got[attempt] != "done" {
			t.Errorf("%s: %s", attempt, got[attempt])
		}
	}
	for _, attempt := range refused {
		if said := got[attempt]; !slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(said, r) }) {
			t.Errorf("%s: %s", attempt, said)
		}
	}
	checkTheCoreIsFree(t)
	want := Confined{
		Read: []string{filepath.Join(p.logs, "eve.json")}, Write: []string{filepath.Join(filepath.Dir(p.data), "out")},
		Connect: []string{p.port}, Listen: []string{p.listen}, Limits: limits,
	}
	held := h.Status()[0].Confined
	held.Lacks = lacksHere(t, h)
	if diff := cmp.Diff(want, held, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if n := lines.count("confined"); n != 0 {
		t.Errorf("log:\n%s", lines.all())
	}
}

// checkTheCoreIsFree: only the threads that start processes are confined.
func checkTheCoreIsFree(t *testing.T) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 3 {
		t.Fatal(tasks, err)
	}
	free, confined := 0, 0
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		switch {
		case err != nil: // it has ended
		case strings.Contains(string(text), "NoNewPrivs:\t1"):
			confined++
		default:
			free++
		}
	}
	if confined != 2 || free < 2 {
		t.Errorf("of the threads %d are confined and %d free; two processes run", confined, free)
	}
}

// What is not confined may do all of it: the misdeeds above are refused by nothing else.
func TestUnconfinedIsTold(t *testing.T) {
	requireLandlock(t, 6)
	p := newPlace(t)
	attempts := slices.DeleteFunc(p.misdeeds(), func(a string) bool {
		return strings.HasPrefix(a, "privilege") || strings.Contains(a, "/mem") || strings.Contains(a, "victim") ||
			os.Geteuid() != 0 && (strings.Contains(a, "shadow") || strings.Contains(a, "/root"))
	})
	t.Cleanup(func() { os.Remove("/tmp/kelpie-confine-test") })
	b := trying("enrichment.a", fakeConfig{Try: attempts})
	b.Confinement.Off = true
	// As it is in a core that has confined nobody; another test has.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	log, lines := recording()
	free := started(t, p.settings(t, b), log)
	for attempt, said := range tried(t, free, "enrichment.a") {
		if said != "done" {
			t.Errorf("%s: %s", attempt, said)
		}
	}
	if got := free.Status()[0].Confined; !got.Off {
		t.Errorf("status: %+v", got)
	}
	lines.await(t, "confine = false")
}

// What a machine can't enforce is told at the start and in the status.
func TestWhatIsNotEnforcedIsTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		kernel kernel
		off    bool
		want   string
	}{
		{"no Landlock", kernel{}, false, "this kernel has no Landlock"},
		{"no TCP ports", kernel{landlock: 3}, false, "Landlock is too old"},
		{"no signals", kernel{landlock: 5}, false, "signals: this kernel's Landlock"},
		{"no ends of files", kernel{landlock: 2}, false, "the ends of files"},
		{"all of it", kernel{landlock: 7, signals: true}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireLandlock(t, c.kernel.landlock)
			h, err := New(settings(t, quick(), enrichment("enrichment.a", "well", "well")), quiet())
			if err != nil {
				t.Fatal(err)
			}
			log, lines := recording()
			h.kernel, h.log = c.kernel, log
			h.supervisors[0].launch.kernel = c.kernel
			t.Cleanup(func() { h.Stop(t.Context()) })
			if found, err := h.Start(t.Context()); err != nil || len(found) > 0 {
				t.Fatal(found, err)
			}
			lacks := strings.Join(lacksHere(t, h), "\n")
			if c.want == "" {
				if lacks != "" || lines.count("confined") > 0 {
					t.Errorf("lacks %s\n%s", lacks, lines.all())
				}
				return
			}
			if !strings.Contains(lacks, c.want) || lines.count(c.want) != 1 {
				t.Errorf("lacks %q, want %q\n%s", lacks, c.want, lines.all())
			}
		})
	}
}

// stranger is a user whom nobody has heard of, or none where only one's own can be had.
func stranger() string {
	if os.Geteuid() == 0 {
		return "64123"
	}
	return ""
}

// A plugin that runs as another user has its folders, and nothing of the core's.
func TestRunsAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		a := enrichment("enrichment.a", "well", "well")
		a.Confinement.User = "64123"
		_, found := startedWith(t, settings(t, quick(), a), quiet())
		if len(found) != 1 || !strings.Contains(found[0].Detail, "only root may start it so") {
			t.Errorf("diagnostics: %v", found)
		}
		return
	}
	p := newPlace(t)
	passable(t, p.data)
	state := filepath.Join(p.data, "plugins", "enrichment.a@fake")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	old := write(t, filepath.Join(state, "old"), "of another user's time")
	a := trying("enrichment.a", fakeConfig{Try: []string{"uid x", "make " + filepath.Join(state, "x"), "read " + old, "temporary x", "read " + p.secret}})
	a.Confinement.User = stranger()
	h := started(t, p.settings(t, a), quiet())
	got := tried(t, h, "enrichment.a")
	want := map[string]string{"uid x": stranger(), "make " + filepath.Join(state, "x"): "done", "read " + old: "done", "temporary x": "done", "read " + p.secret: "open " + p.secret + ": permission denied"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// No user of that name, no start.
func TestUnknownUser(t *testing.T) {
	a := enrichment("enrichment.a", "well", "well")
	a.Confinement.User = "nobody-has-this-name"
	h, found := startedWith(t, settings(t, quick(), a), quiet())
	if len(found) != 1 || !strings.Contains(found[0].Detail, `user "nobody-has-this-name", and there is none`) {
		t.Errorf("diagnostics: %v", found)
	}
	eventually(t, 10*time.Second, "failed", func() bool { return h.Status()[0].State == Failed })
}

// A plugin that takes all that it can get stops at its limit; others, and the core, go on.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, try string
		limits    Limits
		want      string // of the attempt, if the process lives on
		end       string // of the process
		tail      string
	}{
		{name: "fork bomb", try: "fork 10000", limits: Limits{Processes: 64}, want: "resource temporarily unavailable"},
		{name: "open files", try: "open 10000", limits: Limits{Files: 128}, want: "too many open files"},
		{name: "memory leak", try: "leak 4096", limits: Limits{Memory: 256 << 20}, end: "exit status 2", tail: "out of memory"},
		{name: "CPU time", try: "spin x", limits: Limits{CPU: time.Second}, end: "signal: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.limits.Memory > 0 && withRace {
				t.Skip("the race detector takes terabytes of addresses")
			}
			bad := trying("enrichment.bad", fakeConfig{Try: []string{c.try}})
			bad.Confinement.Limits = c.limits
			if c.limits.Processes > 0 {
				bad.Confinement.User = stranger()
			}
			s := settings(t, quick(), bad, enrichment("enrichment.good", "well", "well"))
			if bad.Confinement.User != "" {
				passable(t, s.StateDir)
			}
			h := started(t, s, quiet())
			lacks := strings.Join(h.Status()[0].Confined.Lacks, "\n")
			if c.limits.Processes > 0 && strings.Contains(lacks, "the number of processes") {
				t.Skip(lacks)
			}
			before := h.Status()
			got, err := enricher(t, h, "enrichment.bad").Enrich(t.Context(), ask(1))
			if c.end == "" {
				if err != nil {
					t.Fatal(err)
				}
				if said := string(got.Replies[0].Answers[0].Details); !strings.Contains(said, c.want) {
					t.Errorf("it says %s, want %s", said, c.want)
				}
			} else {
				if err == nil || !strings.Contains(err.Error(), c.end) {
					t.Errorf("%v, want an end with %s", err, c.end)
				}
				eventually(t, 20*time.Second, "started again", func() bool { return h.Status()[0].Restarts > 0 && h.Status()[0].State == Running })
				if tail := strings.Join(h.Status()[0].Tail, "\n"); !strings.Contains(tail, c.tail) {
					t.Errorf("tail: %s", tail)
				}
			}
			if _, err := enricher(t, h, "enrichment.good").Enrich(t.Context(), ask(1)); err != nil {
				t.Errorf("the other: %v", err)
			}
			if now := h.Status()[1]; now.PID != before[1].PID {
				t.Errorf("the other was touched: %+v", now)
			}
			if err := exec.Command("/bin/true").Run(); err != nil {
				t.Errorf("the core: %v", err)
			}
		})
	}
}

// passable lets others through the test's own folders.
func passable(t testing.TB, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != "/tmp"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
}

// A limit holds from the first instruction on, and nothing that the process starts is
// without it.
func TestLimitsAreInherited(t *testing.T) {
	a := trying("enrichment.a", fakeConfig{Try: []string{"read /proc/self/limits"}})
	a.Confinement.Limits = Limits{Files: 321, CPU: time.Hour}
	h := started(t, settings(t, quick(), a), quiet())
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", h.Status()[0].PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Max open files            321                  321", "Max cpu time              3600                 3600", "Max core file size        0                    0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("limits:\n%s\nwant %s", text, want)
		}
	}
}
