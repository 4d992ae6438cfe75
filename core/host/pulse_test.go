//go:build linux

package host

import (
	"errors"
	"io"
	"testing"
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
