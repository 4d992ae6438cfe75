//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
)

// variant is what a reload may change of a world's configuration: nothing that makes a
// difference to what must come out.
type variant struct {
	interval int // of the feed that grows, in milliseconds: its instance changes
	patience int // for the wild lookup, in seconds
	timeout  int // of the action edr, in milliseconds
	process  int // in the environment of the action desk: its process is replaced
}

var firstVariant = variant{interval: 10, patience: 2, timeout: 1500}

func drawVariant(r *rand.Rand) variant {
	return variant{interval: 10 + r.IntN(10), patience: 1 + r.IntN(3), timeout: 1400 + r.IntN(200), process: r.IntN(3)}
}

// configReloaded changes the configuration under load, by an order or by SIGHUP.
type configReloaded struct{}

func (configReloaded) Name() string { return "config reloaded" }

func (configReloaded) Apply(w *World, r *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	if err := w.writeConfig(w.configuration(drawVariant(r))); err != nil {
		return work, err
	}
	if r.IntN(3) == 0 {
		err := syscall.Kill(w.Pid(), syscall.SIGHUP)
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		return work, err
	}
	var a api.Application
	if err := w.post("apply", api.ApplyOrder{}, &a); err != nil {
		return work, err
	}
	switch a.Outcome {
	case api.Applied:
		return work, nil
	case api.Unchanged:
		return Work{}, nil
	}
	return work, fmt.Errorf("a good configuration was %s: %s", a.Outcome, a.Error)
}

// configBroken offers a configuration that does not hold, which must change nothing.
type configBroken struct{}

func (configBroken) Name() string { return "broken config refused" }

func (configBroken) Apply(w *World, r *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	good, err := os.ReadFile(w.path("config.hcl"))
	if err != nil {
		return work, err
	}
	bad := pick(r, []string{"rule \"x\" {", "detector \"file\" \"more\" {\n}\n", "pipeline \"alerts\" {\n  from = []\n}\n"})
	if err := w.writeConfig(string(good) + "\n" + bad); err != nil {
		return work, err
	}
	var a api.Application
	if err := w.post("apply", api.ApplyOrder{}, &a); err != nil {
		return work, err
	}
	if a.Outcome != api.Refused {
		return work, fmt.Errorf("a broken configuration was %s", a.Outcome)
	}
	return work, w.writeConfig(string(good))
}

func (w *World) writeConfig(text string) error {
	return os.WriteFile(w.path("config.hcl"), []byte(text), 0o600)
}
