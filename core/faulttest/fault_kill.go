//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
)

// coreKilled ends the core with SIGKILL at any moment, also while it starts.
type coreKilled struct{}

func (coreKilled) Name() string { return "core killed" }

func (coreKilled) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	if err := w.Kill(); err != nil {
		return work, err
	}
	return work, w.Start()
}

// pluginKilled ends one plugin's process with SIGKILL.
type pluginKilled struct{}

func (pluginKilled) Name() string { return "plugin killed" }

func (pluginKilled) Apply(w *World, r *rand.Rand) (Work, error) {
	pid, work, err := w.victim(r)
	if err != nil || pid == 0 {
		return Work{}, err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return Work{}, nil // it has just ended by itself
	}
	return work, nil
}

// plugins that a fault may be after.
var plugins = []string{"file", "script", "lookup", "vendor", "email", "contain"}

// victim draws a plugin that has work, and gives one of its processes; 0: there is none.
func (w *World) victim(r *rand.Rand) (pid int, work Work, err error) {
	order, n := r.Perm(len(plugins)), r.IntN(8)
	work, err = w.Press(func() Work {
		works, children := w.WorkOf(), w.Children()
		for _, i := range order {
			name := plugins[i]
			if pids := children[name]; works[name].Any() && len(pids) > 0 {
				pid = pids[n%len(pids)]
				return works[name]
			}
		}
		return Work{}
	})
	return pid, work, err
}

// killedAtPoint has the core or a plugin killed at one of the named points.
type killedAtPoint struct{}

func (killedAtPoint) Name() string { return "killed at a point" }

func (killedAtPoint) Apply(w *World, r *rand.Rand) (Work, error) {
	point := pick(r, fault.Points())
	victim := "core"
	if r.IntN(3) == 0 {
		victim = pick(r, plugins)
	}
	return w.KillAt(point, victim, 1+r.IntN(4), pointPatience)
}

// aimedKill kills one victim at one point.
type aimedKill struct {
	point, victim string
	hit           int
}

func (a aimedKill) Name() string { return "killed at a point, aimed" }

func (a aimedKill) Apply(w *World, _ *rand.Rand) (Work, error) {
	if a.victim != "core" {
		if err := w.runs(a.victim); err != nil {
			return Work{}, err
		}
	}
	work, err := w.KillAt(a.point, a.victim, a.hit, patience)
	if err == nil && !work.Any() {
		err = fmt.Errorf("%s was not killed at %s, or nothing was under way", a.victim, a.point)
	}
	return work, err
}

// runs waits until a plugin does, and starts it at once if it waits for its next start.
func (w *World) runs(name string) error {
	return w.Until(name+" to run", func() (bool, error) {
		var all []plugin
		if w.get("plugins", &all) != nil {
			return false, w.alive()
		}
		for _, p := range all {
			// The core may not know yet that it has ended.
			if p.Plugin == name && p.State == "running" && slices.Contains(w.Children()[name], p.PID) {
				return true, nil
			}
		}
		return false, w.revive()
	})
}

// Aimed are schedules that kill core or file plugin at every point, the first hits times
// that it is passed.
func Aimed(hits int) [][]Step {
	var all [][]Step
	for hit := range hits {
		for _, victim := range []string{"core", "file"} {
			var steps []Step
			for _, point := range fault.Points() {
				steps = append(steps, Step{After: 200 * time.Millisecond, Fault: aimedKill{point, victim, hit + 1}})
			}
			all = append(all, steps)
		}
	}
	return all
}

// KillAt has a victim killed when the core comes to a point for the hit-th time from
// now. To have come there is to have found work: each point is between two steps of
// something.
func (w *World) KillAt(point, victim string, hit int, limit time.Duration) (Work, error) {
	before := len(w.kills())
	plan := fmt.Sprintf("%s@%d=%s", point, hit, victim)
	if err := os.WriteFile(w.path("plan"), []byte(plan), 0o600); err != nil {
		return Work{}, err
	}
	var work Work
	err := w.within(limit, point, func() (bool, error) {
		if len(w.kills()) > before {
			return true, nil
		}
		if work = w.Work(); work.Events > maxBehind {
			return false, nil
		}
		return false, w.Drip(2)
	})
	switch removed := os.Remove(w.path("plan")); {
	case removed == nil:
		return Work{}, ignorePatience(err) // nobody came there
	case !errors.Is(removed, os.ErrNotExist):
		return Work{}, removed
	}
	// It was taken away by who kills, if only at the last moment.
	if err := w.Until("the kill", func() (bool, error) { return len(w.kills()) > before, nil }); err != nil {
		return Work{}, err
	}
	var name, who string
	var pid int
	last := w.kills()[len(w.kills())-1]
	if _, err := fmt.Sscanf(last, "%s %s %d", &name, &who, &pid); err != nil {
		return Work{}, fmt.Errorf("kill %q: %w", last, err)
	}
	if victim == "core" {
		if err := w.Killed(); err != nil {
			return Work{}, err
		}
		return work, w.Start()
	}
	if pid == 0 {
		return Work{}, nil // it was not there
	}
	return work, nil
}

const (
	// pointPatience is how long a point is waited for by chance.
	pointPatience = 2 * time.Second
	// maxBehind is how many events may wait while more are offered.
	maxBehind = 100
)

// kills lists what armed points have killed: lines of point, victim and process.
func (w *World) kills() []string {
	data, err := os.ReadFile(w.path("kills"))
	if err != nil || len(data) == 0 {
		return nil
	}
	whole := data[:strings.LastIndexByte(string(data), '\n')+1]
	return strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n")
}

// coreRestarted stops the core in good order, under load.
type coreRestarted struct{}

func (coreRestarted) Name() string { return "core restarted" }

func (coreRestarted) Apply(w *World, _ *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	if err := w.Stop(); err != nil {
		return work, err
	}
	return work, w.Start()
}
