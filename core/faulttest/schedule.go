//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/disk"
)

// Step of a schedule: a fault, and how long the world is left alone before it.
type Step struct {
	After time.Duration
	Fault Fault
	// name of its own stream of chance.
	stream string
}

// faultsOfSeed is how many faults a schedule has.
const faultsOfSeed = 20

// Schedule draws what happens in a seed's world. Equal seeds have equal schedules; what
// a fault finds when its time comes depends on the machine as well. Where the data has
// a disk of its own, half of the faults are the disk's.
func Schedule(seed uint64, d *disk.Disk) []Step {
	r := stream(seed, "schedule")
	var steps []Step
	for i := range faultsOfSeed {
		after := time.Duration(20+r.IntN(250)) * time.Millisecond
		if r.IntN(5) == 0 {
			after = 0 // one on the heels of another
		}
		fault := drawFault(r, Faults)
		if d != nil && r.IntN(2) == 0 {
			fault = pick(r, DiskFaults(d))
		}
		steps = append(steps, Step{After: after, Fault: fault, stream: fmt.Sprint("step ", i)})
	}
	return steps
}

func (s Step) rand(seed uint64) *rand.Rand { return stream(seed, s.stream) }

// Text of a schedule, a line each.
func Text(steps []Step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%3d  after %-6s %s\n", i+1, s.After, s.Fault.Name())
	}
	return b.String()
}
