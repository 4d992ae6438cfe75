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

// Faults are all kinds that a schedule draws from, each as often as its weight says.
var Faults = []struct {
	Fault
	Weight int
}{
	{coreKilled{}, 10},
	{killedAtPoint{}, 10},
	{pluginKilled{}, 10},
	{coreStopped{}, 6},
	{pluginStopped{}, 6},
	{coreRestarted{}, 3},
	{socketCut{}, 4},
	{clockMoved{}, 3},
}

// drawFault gives one of them.
func drawFault(r *rand.Rand) Fault {
	total := 0
	for _, f := range Faults {
		total += f.Weight
	}
	k := r.IntN(total)
	for _, f := range Faults {
		if k -= f.Weight; k < 0 {
			return f.Fault
		}
	}
	return Faults[0].Fault
}
