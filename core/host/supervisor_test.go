//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestConfigureDiagnostics(t *testing.T) {
	good := enrichment("enrichment.good", "well", "well")
	bad := enrichment("enrichment.bad", "well", "refuse")
	foreign := fakeInstance(model.Action, "action.foreign", "well", "well")
	foreign.Connector = "mail"
	h, found := startedWith(t, settings(t, quick(), good, bad, foreign), quiet())
	want := []Diagnostic{
		{Instance: "action.foreign", Summary: "the plugin does not offer this", Detail: `plugin "fake" has no action "mail"; it has [""]`},
		{Instance: "enrichment.bad", Path: []string{"do"}, Summary: "this is old", Warning: true},
		{Instance: "enrichment.bad", Path: []string{"inner", "a", "list", "0"}, Connection: true, Summary: "no such thing", Detail: "the key (secret) is not known"},
	}
	if len(found) != len(want) {
		t.Fatalf("got %v, want %v", found, want)
	}
	for n := range want {
		if fmt.Sprintf("%+v", found[n]) != fmt.Sprintf("%+v", want[n]) {
			t.Errorf("diagnostic %d\n got %+v\nwant %+v", n, found[n], want[n])
		}
	}
	if _, err := enricher(t, h, "enrichment.good").Enrich(t.Context(), ask(1)); err != nil {
		t.Errorf("the good instance: %v", err)
	}
	_, err := enricher(t, h, "enrichment.bad").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: ErrFailed}, "refuses the configuration: no such thing: the key (secret)")
}

// An instance that was refused is tried again: what it needs may have come.
func TestRefusedInstanceIsTriedAgain(t *testing.T) {
	log, lines := recording()
	h, found := startedWith(t, settings(t, quick(), enrichment("enrichment.a", "well", "refuse once")), log)
	if len(found) != 1 || found[0].Summary != "not now" {
		t.Fatalf("diagnostics: %v", found)
	}
	eventually(t, 10*time.Second, "it is configured", func() bool {
		_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
		return err == nil
	})
	if n := lines.count("ERROR plugin refuses the configuration plugin=fake instance=enrichment.a error=not now"); n != 1 {
		t.Errorf("it was logged %d times that it was refused", n)
	}
	if h.supervisors[0].complaints()[0].Summary != "not now" || len(h.supervisors[0].complaints()) != 1 {
		t.Error("later attempts add to the diagnostics of the start")
	}
}

func TestPluginThatCrashesWhenConfigured(t *testing.T) {
	h, found := startedWith(t, settings(t, quick(), enrichment("enrichment.a", "well", "crash at once"), enrichment("enrichment.b", "well", "well")), quiet())
	for n, address := range []string{"enrichment.a", "enrichment.b"} {
		if len(found) != 2 || found[n].Instance != address || found[n].Detail != "it ended while it was configured: exit status 5" {
			t.Fatalf("diagnostics: %+v", found)
		}
	}
	eventually(t, 30*time.Second, "failed", func() bool { return h.Status()[0].State == Failed })
}

func TestCrashLoopFailsUntilRestart(t *testing.T) {
	log, lines := recording()
	timing := quick()
	timing.HealthyAfter = time.Hour
	s := settings(t, timing, enrichment("enrichment.a", "crashes", ""))
	h, _ := startedWith(t, s, log)
	eventually(t, 60*time.Second, "failed", func() bool { return h.Status()[0].State == Failed })
	if n := lines.count("ERROR plugin is not running"); n != 5 {
		t.Errorf("it was started %d times, want 5", n)
	}
	got := h.Status()[0]
	if len(got.Tail) == 0 || got.Tail[0] != "panic: this always happens" || got.PID != 0 {
		t.Errorf("status: %+v", got)
	}
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "failed again", func() bool { return lines.count("plugin has failed") == 2 })
	if n := lines.count("ERROR plugin is not running"); n != 10 {
		t.Errorf("it was started %d times, want 10", n)
	}
	if err := h.Restart("other"); !errors.Is(err, ErrUnknown) {
		t.Errorf("restart of another: %v", err)
	}
}

func TestRestartEndsInGoodOrder(t *testing.T) {
	log, lines := recording()
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "slow")), log)
	before := h.Status()[0]
	// A call in flight is waited for, and one that comes meanwhile is for the next.
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := enricher(t, h, "enrichment.a").Enrich(context.Background(), ask(1)); err != nil {
				t.Error(err)
			}
		})
	}
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	eventually(t, 20*time.Second, "restarted", func() bool {
		now := h.Status()[0]
		return now.Restarts == 1 && now.State == Running && now.PID != before.PID
	})
	if got := h.Status()[0]; got.LastError != "" {
		t.Errorf("a restart that was asked for counts as an error: %q", got.LastError)
	}
	lines.await(t, "INFO closed plugin=fake instance=enrichment.a")
}

// What a plugin started goes with it, and does not hold up its next start.
// What a plugin has started ends with it, also what has left its group.
func TestChildrenGoWithThePlugin(t *testing.T) {
	for name, leaves := range map[string]int{"in its group": 0, "in a session of its own": 1} {
		t.Run(name, func(t *testing.T) {
			a := enrichment("enrichment.a", "well", "child")
			a.Config = fmt.Appendf(nil, `{"do":"child","times":%d}`, leaves)
			a.Confinement.Limits = DefaultLimits()
			h := started(t, settings(t, quick(), a), quiet())
			details(t, enricher(t, h, "enrichment.a"))
			all := childrenOf(h.Status()[0].PID)
			if len(all) != 1 {
				t.Fatalf("it has started %d processes", len(all))
			}
			syscall.Kill(h.Status()[0].PID, syscall.SIGKILL)
			eventually(t, 20*time.Second, "started again", func() bool { return h.Status()[0].Restarts == 1 })
			if alive(all[0]) {
				t.Error("the child lives on")
			}
		})
	}
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

func TestHungPluginIsStartedAgain(t *testing.T) {
	timing := quick()
	timing.HealthTimeout = 300 * time.Millisecond
	h := started(t, settings(t, timing, enrichment("enrichment.a", "well", "well")), quiet())
	before := h.Status()[0]
	if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "started again", func() bool {
		now := h.Status()[0]
		return now.State == Running && now.PID != before.PID
	})
	if got := h.Status()[0].LastError; got != "it did not answer within 300ms, 3 times in a row" {
		t.Errorf("last error %q", got)
	}
	if alive(before.PID) {
		t.Error("the hung process still runs")
	}
}

func TestHungInstanceIsStartedAgain(t *testing.T) {
	timing := quick()
	timing.HealthTimeout = 300 * time.Millisecond
	h := started(t, settings(t, timing, enrichment("enrichment.a", "well", "deaf"), enrichment("enrichment.b", "well", "well")), quiet())
	eventually(t, 30*time.Second, "started again", func() bool { return h.Status()[0].Restarts > 0 })
	if got := h.Status()[0].LastError; !strings.HasPrefix(got, "its instance enrichment.a did not answer within 300ms") {
		t.Errorf("last error %q", got)
	}
}

func TestTroubleIsShown(t *testing.T) {
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "sick"), enrichment("enrichment.b", "well", "well"),
		enrichment("enrichment.c", "well", "odd")), quiet())
	eventually(t, 20*time.Second, "an answer that is an error is known", func() bool { return h.Status()[0].Instances[2].Trouble != "" })
	eventually(t, 20*time.Second, "its trouble is known", func() bool { return h.Status()[0].Instances[0].Trouble != "" })
	got := h.Status()[0]
	if a := got.Instances[0]; a.Trouble != "the vendor is away; key (secret)" || a.State != Running {
		t.Errorf("a: %+v", a)
	}
	if c := got.Instances[2]; c.Trouble != "its health cannot be told: what is health? (secret)" || got.Restarts != 0 {
		t.Errorf("c: %+v, %d restarts", c, got.Restarts)
	}
	if b := got.Instances[1]; b.Trouble != "" || b.State != Running || b.Address != "enrichment.b" {
		t.Errorf("b: %+v", b)
	}
	if got.Plugin != "fake" || got.Version != "1.2.3" || got.SHA256 != h.settings.Lock.Plugins[0].SHA256[Platform()] || !alive(got.PID) || got.Since.IsZero() {
		t.Errorf("status: %+v", got)
	}
}

func TestProcessesAreSharedByIdentity(t *testing.T) {
	own := enrichment("enrichment.own", "well", "well")
	own.Own = true
	other := enrichment("enrichment.other", "well", "well")
	other.Env = append(other.Env, "A=b")
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "well"), own, other, enrichment("enrichment.b", "well", "well")), quiet())
	var got []string
	for _, s := range h.Status() {
		var names []string
		for _, i := range s.Instances {
			names = append(names, strings.TrimPrefix(i.Address, "enrichment."))
		}
		got = append(got, strings.Join(names, "+"))
	}
	if want := "a+b own other"; strings.Join(got, " ") != want {
		t.Errorf("processes %v, want %s", got, want)
	}
	// One that ends does not touch the others.
	pids := h.Status()
	syscall.Kill(pids[0].PID, syscall.SIGKILL)
	eventually(t, 20*time.Second, "a+b again", func() bool { return h.Status()[0].Restarts == 1 && h.Status()[0].State == Running })
	for n := 1; n < 3; n++ {
		if now := h.Status()[n]; now.PID != pids[n].PID || now.Restarts != 0 {
			t.Errorf("process %d was touched: %+v", n, now)
		}
	}
}

func TestCallsWaitWhileThePluginIsDown(t *testing.T) {
	timing := quick()
	timing.BackoffMin, timing.BackoffMax = time.Hour, time.Hour
	h := started(t, settings(t, timing, enrichment("enrichment.a", "well", "well")), quiet())
	syscall.Kill(h.Status()[0].PID, syscall.SIGKILL)
	eventually(t, 20*time.Second, "down", func() bool { return h.Status()[0].State == Restarting })

	e := enricher(t, h, "enrichment.a")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := e.Enrich(ctx, ask(1))
	checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: context.DeadlineExceeded}, `plugin "fake" was not up in time: it is restarting`)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.Enrich(cancelled, ask(1))
	checkError(t, err, Error{NotSent: true, Err: context.Canceled}, "the call was cancelled")

	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := e.Enrich(t.Context(), ask(1)); err != nil {
				t.Errorf("a call that waited: %v", err)
			}
		})
	}
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
}

func TestUnknownInstances(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", "well"))
	h, err := New(s, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	if _, err := h.Action("enrichment.a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("action: %v", err)
	}
	if _, err := h.Enricher("enrichment.b"); !errors.Is(err, ErrUnknown) {
		t.Errorf("enricher: %v", err)
	}
	for _, wrong := range []Instance{
		enrichment("enrichment.a", "well", "well"),
		enrichment("../x", "well", "well"),
		enrichment("enrichment.../../x", "well", "well"),
		{Address: "action.x", Kind: model.Action, Plugin: "../fake"},
	} {
		s.Instances = append(s.Instances[:1:1], wrong)
		if _, err := New(s, quiet()); err == nil {
			t.Errorf("%s of %s is taken", wrong.Address, wrong.Plugin)
		}
	}
}

func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timing := Timing{
			BackoffMin: time.Duration(rapid.IntRange(1, 1e9).Draw(t, "min")),
			BackoffMax: time.Duration(rapid.IntRange(1, 1e11).Draw(t, "max")),
		}
		attempt := rapid.IntRange(0, 1000).Draw(t, "attempt")
		got := backoff(timing, attempt)
		if got < timing.BackoffMin || got > max(timing.BackoffMin, timing.BackoffMax) {
			t.Errorf("%s is not between %s and %s", got, timing.BackoffMin, timing.BackoffMax)
		}
		if attempt == 0 && got > 2*timing.BackoffMin {
			t.Errorf("the first wait is %s", got)
		}
	})
}

func TestStagesAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		deadline := now.Add(time.Duration(rapid.Int64Range(-1e10, 1e12).Draw(t, "left")))
		s := stagesUntil(now, deadline)
		last := now
		for _, at := range []time.Time{s.drained, s.closed, s.asked, s.told} {
			if at.Before(last) {
				t.Errorf("stages %+v are not in order", s)
			}
			last = at
		}
		if deadline.After(now) && last.After(deadline) {
			t.Errorf("the last stage is after the deadline")
		}
	})
}
