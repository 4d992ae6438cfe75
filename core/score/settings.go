// Package score adds up evidence. A score is its reasons: every item, combination,
// division, cap, rounding and weight is a line, in integer hundredths.
package score

import "github.com/kelpie-sec/kelpie/core/expr"

// Settings of the score block, its preset's factors included.
type Settings struct {
	Preset string
	// Round is the step to which the total is rounded, in points; 0: not at all.
	Round   int
	Factors []Factor
}

// Factor is a weighted part of the score.
type Factor struct {
	Name string
	// Weight as exact decimal text, "0.8".
	Weight string
	// Combine is "max", "sum" or "decay".
	Combine string
	// Divide is what the combined points are divided by; 0: nothing.
	Divide int
	// Round is the step to which they are rounded then, in points; 0: not at all.
	Round    int
	Evidence []Evidence
}

// Evidence is a kind of reason. With ForEach it counts once for each element, as
// each.key and each.value; factor.points is what the factor's lines before it add
// up to.
//
// Source, At and Reliability say where it comes from. Without them they are the
// element's own: its source, its at, or else its time, and its confidence.
type Evidence struct {
	Name    string
	ForEach *expr.Program // nil: once
	When    *expr.Program // nil: always
	Points  *expr.Program // 0 to 100; null counts nothing
	Because *expr.Program // text

	Source      *expr.Program // text
	At          *expr.Program // RFC 3339
	Reliability *expr.Program // 0 to 100
}

// Steps are what a factor or a total may be rounded to: a score of 100 stays one.
func Steps() []int { return []int{1, 2, 4, 5, 10, 20, 25, 50} }

// MaxDivide bounds Factor.Divide.
const MaxDivide = 1000
