//go:build linux

package faulttest

import (
	"math/rand/v2"
)

// Fault is one kind of thing that goes wrong.
type Fault interface {
	// Name of the kind: what the summary counts under.
	Name() string
	// Apply does it once, and returns when it is over or has begun to last. It tells
	// what it found under way; a fault that found no work proves nothing, and is not
	// counted. Chance comes from r alone. An error is the harness's own, or the
	// program's if it did what no fault excuses.
	Apply(w *World, r *rand.Rand) (Work, error)
}

// Weighted is a kind of fault and how often it is drawn.
type Weighted struct {
	Fault
	Weight int
}

// Faults are all kinds that every schedule draws from.
var Faults = []Weighted{
	{coreKilled{}, 10},
	{killedAtPoint{}, 10},
	{pluginKilled{}, 12},
	{coreStopped{}, 8},
	{pluginStopped{}, 8},
	{tornTail{}, 3},
	{tornAcknowledged{}, 2},
	{coreRestarted{}, 2},
	{socketCut{}, 4},
	{clockForward{}, 2},
	{clockBack{}, 2},
	{rebooted{}, 3},
	{released{}, 2},
	{extended{}, 1},
	{configReloaded{}, 4},
	{configBroken{}, 1},
	{tableReplaced{}, 6},
}

// KillsAndStops are the kinds that end a process with SIGKILL, or hold it with SIGSTOP.
var KillsAndStops = []Fault{
	coreKilled{},
	killedAtPoint{},
	aimedKill{},
	rebooted{},
	pluginKilled{},
	coreStopped{},
	pluginStopped{},
	tornTail{},
	tornAcknowledged{},
	powerCut{},
}

// drawFault gives one of some.
func drawFault(r *rand.Rand, all []Weighted) Fault {
	total := 0
	for _, f := range all {
		total += f.Weight
	}
	k := r.IntN(total)
	for _, f := range all {
		if k -= f.Weight; k < 0 {
			return f.Fault
		}
	}
	return all[0].Fault
}
