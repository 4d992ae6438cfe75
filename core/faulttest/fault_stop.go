//go:build linux

package faulttest

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// Stops last from a moment to longer than any timeout of the world's configuration.
// Most are short, so that there are many.
var stops = []time.Duration{
	20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// coreStopped holds the core with SIGSTOP for a while.
type coreStopped struct{}

func (coreStopped) Name() string { return "core stopped" }

func (coreStopped) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	return work, w.hold(w.Pid(), pick(r, stops))
}

// pluginStopped holds one plugin's process likewise.
type pluginStopped struct{}

func (pluginStopped) Name() string { return "plugin stopped" }

func (pluginStopped) Apply(w *World, r *rand.Rand) (Work, error) {
	pid, work, err := w.victim(r)
	if err != nil || pid == 0 {
		return Work{}, err
	}
	return work, w.hold(pid, pick(r, stops))
}

// hold stops a process and continues it; meanwhile there is more to do.
func (w *World) hold(pid int, long time.Duration) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil // it has ended meanwhile
	}
	err := w.Drip(1 + w.ration/2)
	time.Sleep(long)
	if syscall.Kill(pid, syscall.SIGCONT) != nil {
		return err // it was given up and ended
	}
	return err
}
