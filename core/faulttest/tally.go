//go:build linux

package faulttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Tally is what many runs come to.
type Tally struct {
	// Worlds that ran; Seeds are those with a schedule of chance.
	Worlds int `json:"worlds"`
	Seeds  int `json:"seeds"`
	// Faults that found work, by kind; Idle is how many found none.
	Faults map[string]int `json:"faults"`
	Idle   int            `json:"idle"`
	// Events offered; Lost are those that are not in the log, or of whose alert there
	// is no signal.
	Events  int `json:"events"`
	Lost    int `json:"lost"`
	Signals int `json:"signals"`
	// Reported are those of them that rules over several events or over signals made.
	Reported int `json:"reported"`
	Cases    int `json:"cases"`
	// Effects at the far end, by verb; Doubled are those that came twice and were not
	// marked as a repeat.
	Effects map[string]int `json:"effects"`
	Doubled int            `json:"doubled"`
	// Lifted counts the holds that ended with their time, each looked at for how long it
	// lasted.
	Lifted int `json:"lifted"`
	// Unknown are the steps that were left to a person.
	Unknown int `json:"unknown"`
	// Ledgers, as "kelpie ledger" prints them, that were right, and wrong.
	LedgersRight int `json:"ledgers_right"`
	LedgersWrong int `json:"ledgers_wrong"`
	// Audits that "kelpie audit verify" found whole.
	Audits int `json:"audits"`
	// Took is the sum over all runs.
	Took time.Duration `json:"took"`
}

// NewTally is that of no run.
func NewTally() Tally { return Tally{Faults: map[string]int{}, Effects: map[string]int{}} }

// Add adds another.
func (t *Tally) Add(o Tally) {
	for k, n := range o.Faults {
		t.Faults[k] += n
	}
	for k, n := range o.Effects {
		t.Effects[k] += n
	}
	t.Worlds += o.Worlds
	t.Seeds += o.Seeds
	t.Idle += o.Idle
	t.Events += o.Events
	t.Lost += o.Lost
	t.Signals += o.Signals
	t.Reported += o.Reported
	t.Cases += o.Cases
	t.Doubled += o.Doubled
	t.Lifted += o.Lifted
	t.Unknown += o.Unknown
	t.LedgersRight += o.LedgersRight
	t.LedgersWrong += o.LedgersWrong
	t.Audits += o.Audits
	t.Took += o.Took
}

// KillsAndStops that found work, of all kinds.
func (t Tally) KillsAndStops() int {
	n := 0
	for _, f := range KillsAndStops {
		n += t.Faults[f.Name()]
	}
	return n
}

// Line is the sum of it all.
func (t Tally) Line() string {
	return fmt.Sprintf("%d kills and stops that found work, over %d seeds in %.2f hours of running: "+
		"%d events and %d lost, %d effects and %d doubled, %d ledgers right and %d wrong",
		t.KillsAndStops(), t.Seeds, t.Took.Hours(), t.Events, t.Lost, sum(t.Effects), t.Doubled, t.LedgersRight, t.LedgersWrong)
}

func sum(counts map[string]int) int {
	n := 0
	for _, k := range counts {
		n += k
	}
	return n
}

// String is the table for people.
func (t Tally) String() string {
	var b strings.Builder
	row := func(name string, n any) { fmt.Fprintf(&b, "%-44s %8v\n", name, n) }
	row("worlds", t.Worlds)
	row("  of these from seeds", t.Seeds)
	row("hours of running", fmt.Sprintf("%.2f", t.Took.Hours()))
	b.WriteString("\nfaults that found work\n")
	for _, k := range slices.Sorted(maps.Keys(t.Faults)) {
		row("  "+k, t.Faults[k])
	}
	row("  (found none, not counted)", t.Idle)
	b.WriteString("\n")
	row("events offered", t.Events)
	row("events lost", t.Lost)
	row("signals", t.Signals)
	row("  of these by rules over several", t.Reported)
	row("cases", t.Cases)
	row("effects", sum(t.Effects))
	for _, k := range slices.Sorted(maps.Keys(t.Effects)) {
		row("  "+k, t.Effects[k])
	}
	row("effects doubled", t.Doubled)
	row("holds that ended in time", t.Lifted)
	row("steps left to a person", t.Unknown)
	row("ledgers right", t.LedgersRight)
	row("ledgers wrong", t.LedgersWrong)
	row("audits that hold", t.Audits)
	b.WriteString("\n" + t.Line() + "\n")
	return b.String()
}
