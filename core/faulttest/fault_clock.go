//go:build linux

package faulttest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/contain/world"
)

// clockForward puts the wall clock forward, clockBack puts it back, each from where it is.
type (
	clockForward struct{}
	clockBack    struct{}
)

// rebooted ends the core as a restart of the machine does: what follows is another life of
// the machine, in which the clock may have been set as well.
type rebooted struct{}

func (rebooted) Name() string { return "machine restarted" }

func (rebooted) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	if err := w.Kill(); err != nil {
		return work, err
	}
	if r.IntN(2) == 0 {
		if err := w.SetClock(w.clock + pick(r, []time.Duration{-time.Hour, -5 * time.Second, 30 * time.Second, 3 * time.Hour})); err != nil {
			return work, err
		}
	}
	if err := w.newLife(); err != nil {
		return work, err
	}
	return work, w.Start()
}

// newLife begins another life of the machine, whose uptime counts from now.
func (w *World) newLife() error {
	now := world.Uptime()
	if w.moved {
		// What the clock did at the end of a life nobody can tell from a long night.
		w.doubts = append(w.doubts, now)
	}
	w.lives, w.moved = w.lives+1, false
	return w.writeClock(8, uint64(w.lives), uint64(now))
}

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
	w.clock, w.ahead, w.moved = offset, max(w.ahead, offset), true
	return w.writeClock(0, uint64(offset))
}

// writeClock writes words of the file by which the core knows the time.
func (w *World) writeClock(at int64, words ...uint64) error {
	f, err := os.OpenFile(w.path("clock"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var text []byte
	for _, word := range words {
		text = binary.NativeEndian.AppendUint64(text, word)
	}
	_, err = f.WriteAt(text, at)
	return err
}
