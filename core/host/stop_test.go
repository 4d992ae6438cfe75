//go:build linux

package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

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

// Nothing of a host is left when it has stopped: no file, no folder, and, as goleak
// holds for all tests, no goroutine.
func TestNothingIsLeft(t *testing.T) {
	files := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	s := settings(t, quick(), enrichment("enrichment.a", "well", "crash"), enrichment("enrichment.b", "sdk", "{}"))
	round := func() {
		h := started(t, s, quiet())
		_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
		checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, "ended during the call")
		eventually(t, 20*time.Second, "started again", func() bool { return h.Status()[0].Restarts == 1 })
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	round()
	before := files()
	for range 3 {
		round()
	}
	eventually(t, 5*time.Second, "no file is left open", func() bool { return files() <= before })
	if left, _ := filepath.Glob(filepath.Join(s.RunDir, "h*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
