//go:build linux

package faulttest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"
)

// clockForward puts the wall clock forward, clockBack puts it back, each from where it is.
type (
	clockForward struct{}
	clockBack    struct{}
)

func (clockForward) Name() string { return "clock put forward" }

func (clockForward) Apply(w *World, r *rand.Rand) (Work, error) {
	return w.moveClock(pick(r, []time.Duration{2 * time.Second, 30 * time.Second, 5 * time.Minute, 3 * time.Hour}))
}

func (clockBack) Name() string { return "clock put back" }

func (clockBack) Apply(w *World, r *rand.Rand) (Work, error) {
	return w.moveClock(-pick(r, []time.Duration{5 * time.Second, time.Minute, time.Hour, 48 * time.Hour}))
}

func (w *World) moveClock(by time.Duration) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	return work, w.SetClock(w.clock + by)
}

// SetClock moves the core's wall clock away from the machine's.
func (w *World) SetClock(offset time.Duration) error {
	f, err := os.OpenFile(w.path("clock"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	w.clock, w.ahead = offset, max(w.ahead, offset)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset)), 0)
	return err
}
