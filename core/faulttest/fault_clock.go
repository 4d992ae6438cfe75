//go:build linux

package faulttest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"
)

// clockMoved puts the wall clock forward or back, or right again.
type clockMoved struct{}

func (clockMoved) Name() string { return "clock moved" }

var offsets = []time.Duration{
	-48 * time.Hour, -time.Hour, -5 * time.Second, 0, 0, 2 * time.Second, 30 * time.Second, 5 * time.Minute, 3 * time.Hour,
}

func (clockMoved) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	return work, w.SetClock(pick(r, offsets))
}

// SetClock moves the core's wall clock away from the machine's.
func (w *World) SetClock(offset time.Duration) error {
	f, err := os.OpenFile(w.path("clock"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	w.ahead = max(w.ahead, offset)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset)), 0)
	return err
}
