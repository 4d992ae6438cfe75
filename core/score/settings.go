// Package score adds up evidence. A score is its reasons: every item, combination,
// cap and weight is a line, in integer hundredths.
package score

import "github.com/kelpie-sec/kelpie/core/expr"

// Settings of the score block, its preset's factors included.
type Settings struct {
	Preset  string
	Factors []Factor
}

// Factor is a weighted part of the score.
type Factor struct {
	Name string
	// Weight as exact decimal text, "0.8".
	Weight string
	// Combine is "max", "sum" or "decay".
	Combine  string
	Evidence []Evidence
}

// Evidence is a kind of reason. With ForEach it counts once for each element, as
// each.key and each.value.
type Evidence struct {
	Name    string
	ForEach *expr.Program // nil: once
	When    *expr.Program // nil: always
	Points  *expr.Program // 0 to 100; null counts nothing
	Because *expr.Program // text
}
