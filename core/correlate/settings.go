// Package correlate puts the signals that belong together into cases. Which
// signals make a case, and its id, depend on the set of signals alone, not on
// the order in which they came.
package correlate

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Settings of the case block.
type Settings struct {
	// Window: signals that share a value no further apart than this are one case.
	Window time.Duration
	// Lateness is how far behind the newest event of its source an event may be.
	Lateness time.Duration
	// NeverJoin lists canonical values that make no case.
	NeverJoin []sdk.Observable
	// Most is how many signals one case may have, so that a flood with one value in
	// common is no endless case: what comes beyond begins another. 0: DefaultMost.
	Most int
}

// Defaults of the case block.
const (
	DefaultWindow   = 24 * time.Hour
	DefaultLateness = 10 * time.Minute
	DefaultMost     = 50_000
)
