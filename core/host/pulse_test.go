//go:build linux

package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// pulsing is a session of a plugin of a role, with a short pulse.
func pulsing(t *testing.T, role, do string, pulse time.Duration) *Session {
	t.Helper()
	timing := quick()
	timing.Pulse = pulse
	h := started(t, settings(t, timing, fakeInstance(model.Detector, "detector.eve", role, do)), quiet())
	d, err := h.Detector("detector.eve")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, d, SessionStart{})
	if err := s.Credit(1); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSilentSessionIsCut(t *testing.T) {
	s := pulsing(t, "alive", "well", 50*time.Millisecond)
	if b, err := recvBatch(s); err != nil || b.Number != 1 {
		t.Fatal(b, err)
	}
	began := time.Now()
	_, err := s.Recv()
	if !errors.Is(err, ErrSilent) {
		t.Fatalf("a session that says nothing ends with %v", err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("it was cut after %s, before three signs of life were missing", took)
	}
	if _, again := s.Recv(); !errors.Is(again, ErrSilent) {
		t.Errorf("asked again, it says %v", again)
	}
}

func TestSignsOfLifeKeepASession(t *testing.T) {
	s := pulsing(t, "alive", "beat", 400*time.Millisecond)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
}

// A plugin that does not know of signs of life is not asked for any (or the fake ends
// the session with an error), and may be silent.
func TestOlderPluginsMayBeSilent(t *testing.T) {
	s := pulsing(t, "well", "well", 10*time.Millisecond)
	if b, err := recvBatch(s); err != nil || b.Number != 1 {
		t.Fatal(b, err)
	}
	stop := time.AfterFunc(200*time.Millisecond, func() { _ = s.Stop() })
	defer stop.Stop()
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("it ends with %v", err)
	}
}

// stoppedEnv makes TestStandstill the process that is stopped.
const stoppedEnv = "KELPIE_TEST_STOPPED"

// TestStandstill: a process that was stopped for longer than all ticks last has time to
// read what came meanwhile.
func TestStandstill(t *testing.T) {
	const tick = 200 * time.Millisecond
	if os.Getenv(stoppedEnv) != "" {
		silent := make(chan struct{})
		stop := afterTicks(tick, 3, func() { close(silent) })
		fmt.Println("waits")
		_, _ = os.Stdin.Read(make([]byte, 1))
		select { // who reads has to be woken, and may come late to it
		case <-silent:
			t.Error("it was taken to be silent")
		case <-time.After(tick / 2):
		}
		stop()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStandstill$")
	cmd.Env = append(os.Environ(), stoppedEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * tick) // that is what is tested
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after a standstill: %v\n%s", err, said)
	}
}

func TestAfterTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int32
		stop := afterTicks(time.Second, 3, func() { called.Add(1) })
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		if called.Load() != 0 {
			t.Error("called before the third tick")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if called.Load() != 1 {
			t.Errorf("called %d times", called.Load())
		}
		stop = afterTicks(time.Second, 3, func() { called.Add(1) })
		time.Sleep(2500 * time.Millisecond)
		stop()
		time.Sleep(time.Hour)
		if called.Load() != 1 {
			t.Error("called although it was stopped")
		}
	})
}
