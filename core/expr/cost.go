package expr

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// CostKind is why a part of an expression takes longer than a few look-ups.
type CostKind string

// The kinds of cost. Each grows with the data that it is about.
const (
	// Scan passes over JSON text at every evaluation: no [Index] can tell beforehand where to look.
	Scan CostKind = "scan"
	// Loop goes through a list or an object.
	Loop CostKind = "loop"
	// Pattern holds a regular expression against a text.
	Pattern CostKind = "pattern"
	// Decode makes a value of an encoded text, or the other way round.
	Decode CostKind = "decode"
)

// Cost is a part of an expression that takes longer than a few look-ups.
type Cost struct {
	Kind  CostKind
	Range hcl.Range
}

// Costs are the parts of the program that take longer than a few look-ups, in the order in which they are written. What
// is known beforehand costs nothing.
func (p *Program) Costs() []Cost { return p.costs }

// Lookups counts the different paths that the program reads by their numbers in an [Index].
func (p *Program) Lookups() int {
	slots := make([]int, len(p.places))
	for i, at := range p.places {
		slots[i] = at.slot
	}
	slices.Sort(slots)
	return len(slices.Compact(slots))
}

func (c *compiler) cost(kind CostKind, at hcl.Range) {
	c.costs = append(c.costs, Cost{Kind: kind, Range: at})
}

// ordered are the costs by where they are written, each once.
func ordered(costs []Cost) []Cost {
	slices.SortStableFunc(costs, func(a, b Cost) int { return a.Range.Start.Byte - b.Range.Start.Byte })
	return slices.Compact(costs)
}

// scans notes a path that is read from the JSON text of the index, but not by a number.
func (c *compiler) scans(path []string, at hcl.Range) {
	x := c.env.Index
	if x != nil && len(path) > 0 && slices.Equal(path[:min(len(path), len(x.root))], x.root[:min(len(path), len(x.root))]) {
		c.cost(Scan, at)
	}
}

// callCosts notes what a call does that grows with its arguments.
func (c *compiler) callCosts(f *Function, args []node, at hcl.Range) {
	switch {
	case f.prepare != nil && f.params[0].name == "pattern":
		c.cost(Pattern, at)
	case f.Group == "encoding":
		c.cost(Decode, at)
	}
	for i, arg := range args {
		kind := arg.kind()
		if !arg.constant && (kind >= ListKind || f.param(i).kinds&^(listKind|objectKind) == 0) {
			c.cost(Loop, at)
			return
		}
	}
}
