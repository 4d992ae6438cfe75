//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// What keeps a file from running as a plugin, and what is said about it.
func TestStartErrors(t *testing.T) {
	for _, c := range []struct {
		role      string
		permanent bool
		want      []string
	}{
		{"prints", true, []string{
			`is not the handshake: a plugin must not print before sdk.Serve`,
			`its first line of output was "hello, I am starting"`, `it said: about to serve`, "bin/fake",
		}},
		{"silent", false, []string{"made no handshake in time", "it said: thinking"}},
		{"exits", false, []string{"ended without a handshake", "exit status 3", "it said: cannot find libfoo.so"}},
		{"elsewhere", true, []string{`listens on tcp "127.0.0.1:9" and not on a socket`}},
		{"nocert", true, []string{"gives no certificate"}},
		{"tomorrow", true, []string{`speaks version "7" of the plugin protocol, this Kelpie speaks version 1`}},
		{"liar", true, []string{`says that it is plugin "somebody_else"`}},
		{"versionless", true, []string{`says that its version is "latest", which is no semantic version`}},
	} {
		t.Run(c.role, func(t *testing.T) {
			timing := quick()
			timing.Crashes = 1
			if timing.Start = 20 * time.Second; c.role == "silent" {
				timing.Start = time.Second
			}
			s := settings(t, timing, enrichment("enrichment.a", c.role, ""))
			bin := filepath.Join(s.PluginDir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(pluginPath(s.PluginDir, "fake"), pluginPath(bin, "fake")); err != nil {
				t.Fatal(err)
			}
			s.PluginDir = bin
			h, found := startedWith(t, s, quiet())
			if len(found) != 1 || found[0].Instance != "enrichment.a" || found[0].Summary != `plugin "fake" does not start` || found[0].Warning {
				t.Fatalf("diagnostics: %+v", found)
			}
			for _, part := range c.want {
				if !strings.Contains(found[0].Detail, part) {
					t.Errorf("said %q, want it to have %q", found[0].Detail, part)
				}
			}
			eventually(t, 10*time.Second, "failed", func() bool { return h.Status()[0].State == Failed })
			_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
			checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: ErrFailed}, "kelpie plugin restart fake")
			if left, _ := filepath.Glob(filepath.Join(h.run.path, "[wp]*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, s *Settings, path string)
		want  string
	}{
		{"missing", func(t *testing.T, _ *Settings, path string) { os.Remove(path) }, "does not exist"},
		{"a folder", func(t *testing.T, _ *Settings, path string) { os.Remove(path); os.Mkdir(path, 0o755) }, "is not a regular file"},
		{"a FIFO", func(t *testing.T, _ *Settings, path string) { os.Remove(path); syscall.Mkfifo(path, 0o755) }, "is not a regular file"},
		{"not executable", func(t *testing.T, _ *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, nil, 0o644)
		}, `is not executable: run "chmod +x" on it`},
		{"world-writable", func(t *testing.T, _ *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)
			os.Chmod(path, 0o777)
		}, "may be written by everybody"},
		{"in a world-writable folder", func(t *testing.T, _ *Settings, path string) {
			os.Chmod(filepath.Dir(path), 0o777)
		}, "may be written by everybody"},
		{"linked from elsewhere that is world-writable", func(t *testing.T, _ *Settings, path string) {
			elsewhere := filepath.Join(t.TempDir(), "fake")
			os.Rename(path, elsewhere)
			os.Chmod(filepath.Dir(elsewhere), 0o777)
			os.Symlink(elsewhere, path)
		}, "may be written by everybody"},
		{"not locked", func(t *testing.T, s *Settings, _ string) { s.Lock = Lock{} }, `plugin "fake" is not in kelpie.lock.hcl: run "kelpie plugin lock"`},
		{"locked for others", func(t *testing.T, s *Settings, _ string) {
			s.Lock.Plugins[0].SHA256 = map[string]string{"plan9_mips": "00"}
		}, "has no sha256 of plugin \"fake\" for " + Platform()},
		{"not what was locked", func(t *testing.T, s *Settings, _ string) {
			s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): strings.Repeat("0", 64)}
		}, "is not the file that was locked"},
		{"no program", func(t *testing.T, s *Settings, path string) {
			os.Remove(path)
			os.WriteFile(path, []byte{0x7f, 'E', 'L', 'F'}, 0o755)
			exe, err := openExecutable(path)
			if err != nil {
				t.Fatal(err)
			}
			exe.close()
			s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): exe.sha256}
		}, "exec format error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(t, quick(), enrichment("enrichment.a", "well", ""))
			c.spoil(t, &s, pluginPath(s.PluginDir, "fake"))
			_, found := startedWith(t, s, quiet())
			if len(found) != 1 || !strings.Contains(found[0].Detail, c.want) {
				t.Errorf("diagnostics %v, want one with %q", found, c.want)
			}
		})
	}
}

// A script is a plugin too, if it serves; the interpreter reads the file that was
// hashed.
func TestScriptIsRunByItsInterpreter(t *testing.T) {
	s := settings(t, quick(), enrichment("enrichment.a", "well", ""))
	path := pluginPath(s.PluginDir, "fake")
	real := filepath.Join(t.TempDir(), "real")
	if err := os.Rename(path, real); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec "+real+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := openExecutable(path)
	if err != nil {
		t.Fatal(err)
	}
	exe.close()
	s.Lock.Plugins[0].SHA256 = map[string]string{Platform(): exe.sha256}
	started(t, s, quiet())
}

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
	h, found := startedWith(t, settings(t, quick(), enrichment("enrichment.a", "well", "refuse once")), quiet())
	if len(found) != 1 || found[0].Summary != "not now" {
		t.Fatalf("diagnostics: %v", found)
	}
	eventually(t, 10*time.Second, "it is configured", func() bool {
		_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
		return err == nil
	})
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
func TestChildrenGoWithThePlugin(t *testing.T) {
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "child")), quiet())
	child := int(details(t, enricher(t, h, "enrichment.a"))["pid"].(float64))
	if !alive(child) {
		t.Fatal("the child does not run")
	}
	syscall.Kill(h.Status()[0].PID, syscall.SIGKILL)
	eventually(t, 20*time.Second, "started again", func() bool { return h.Status()[0].Restarts == 1 })
	eventually(t, 5*time.Second, "the child is gone", func() bool { return !alive(child) })
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
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "sick"), enrichment("enrichment.b", "well", "well")), quiet())
	eventually(t, 20*time.Second, "its trouble is known", func() bool { return h.Status()[0].Instances[0].Trouble != "" })
	got := h.Status()[0]
	if a := got.Instances[0]; a.Trouble != "the vendor is away; key (secret)" || a.State != Running {
		t.Errorf("a: %+v", a)
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
	checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: context.DeadlineExceeded}, `plugin "fake" is restarting, and was not up in time`)
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

func TestStop(t *testing.T) {
	t.Run("waits for calls, and closes instances", func(t *testing.T) {
		log, lines := recording()
		h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "slow")), log)
		e, result := enricher(t, h, "enrichment.a"), make(chan error, 1)
		go func() {
			_, err := e.Enrich(context.Background(), ask(1))
			result <- err
		}()
		s := h.supervisors[0]
		p := current(s)
		eventually(t, 5*time.Second, "the call is in flight", func() bool { return p.calls.count() == 1 })
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Errorf("a call in flight: %v", err)
		}
		if lines.count("INFO closed") != 1 {
			t.Error("the instance was not closed")
		}
		if reason := p.runner.exitReason(); reason != "exit status 0" {
			t.Errorf("it ended by %q", reason)
		}
		_, err := e.Enrich(t.Context(), ask(1))
		checkError(t, err, Error{NotSent: true, Err: ErrStopped}, "Kelpie stops")
		if got := h.Status()[0]; got.State != Stopped || got.PID != 0 || got.Instances[0].State != Stopped {
			t.Errorf("status: %+v", got)
		}
		if _, err := os.Stat(h.run.path); !os.IsNotExist(err) {
			t.Errorf("its folder is left: %v", err)
		}
		if err := h.Stop(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("does not wait for ever", func(t *testing.T) {
		h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "hang"), enrichment("enrichment.b", "well", "well")), quiet())
		result := make(chan error, 1)
		go func() {
			_, err := enricher(t, h, "enrichment.a").Enrich(context.Background(), ask(1))
			result <- err
		}()
		p := current(h.supervisors[0])
		eventually(t, 5*time.Second, "the call is in flight", func() bool { return p.calls.count() == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := h.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 1300*time.Millisecond {
			t.Errorf("took %s", took)
		}
		if err := <-result; err == nil {
			t.Error("the call that hung was answered")
		}
	})
	t.Run("sooner than a restart that was under way", func(t *testing.T) {
		h := started(t, settings(t, quick(), enrichment("enrichment.a", "well", "hang")), quiet())
		go enricher(t, h, "enrichment.a").Enrich(context.Background(), ask(1))
		p := current(h.supervisors[0])
		eventually(t, 5*time.Second, "the call is in flight", func() bool { return p.calls.count() == 1 })
		h.Restart("fake")
		eventually(t, 5*time.Second, "the restart is under way", func() bool { return h.Status()[0].State == Restarting })
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := h.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 800*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
	t.Run("without start", func(t *testing.T) {
		h, err := New(settings(t, quick(), enrichment("enrichment.a", "well", "well")), quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := h.Start(t.Context()); err == nil {
			t.Error("it starts after a stop")
		}
	})
	t.Run("during a start", func(t *testing.T) {
		h, err := New(settings(t, quick(), enrichment("enrichment.a", "silent", "")), quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := h.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start: %v", err)
		}
		begin := time.Now()
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// current process of a supervisor.
func current(s *supervisor) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
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
