// Package enrich answers what decide asks: cached, batched, one call for many
// askers, within each source's limits, each with a deadline.
package enrich

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Settings is what the configuration says about enrichments.
type Settings struct {
	Sources []Source
	// Shadows are asked what another one is asked, and only compared with it.
	Shadows []Source
	// Own tells what names the organisation: nobody is told it who is not internal. nil:
	// nothing does.
	Own func(sdk.Observable) bool
}

// Source is one enrichment instance.
type Source struct {
	Address  string   // "enrichment.assets"
	Takes    []string // kinds of observables
	Internal bool     // may name subjects; may be told the organisation's own names
	// TTL of its answers; NegativeTTL of "has nothing".
	TTL, NegativeTTL time.Duration
	// Patience is how long a case waits for it.
	Patience time.Duration
	// Timeout of one call.
	Timeout    time.Duration
	BatchLimit int
	PerMinute  int // 0: no limit
	PerDay     int
	// Key of what its answers depend on: the plugin's hash and its configuration's.
	Key string
	// Shadow is the address of the source that it is compared with; empty: it counts itself.
	Shadow string
}

// Defaults of an enrichment block.
const (
	DefaultTTL         = 24 * time.Hour
	DefaultNegativeTTL = 10 * time.Minute
	DefaultPatience    = 30 * time.Second
	DefaultTimeout     = 10 * time.Second
)
