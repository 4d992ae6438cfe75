// Package correlate puts the signals that belong together into cases. Which
// signals make a case, and its id, depend on the set of signals alone, not on
// the order in which they came.
//
// It also keeps the facts of rules over several: what such a rule reports depends on
// the set of its facts alone. Reports says what that is, slowly; Windows is fast.
package correlate

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
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
	// NeverLike are patterns of such values.
	NeverLike []Pattern
	// Decisions of people that stand, in their order.
	Decisions []model.Decision
	// Lease is how far from when it was seen an address is still taken to be that of the
	// same machine.
	Lease time.Duration
	// Common: a value that joins more signals than this is proposed for NeverJoin.
	Common int
	// Most is how many signals one case may have, so that a flood with one value in
	// common is no endless case: what comes beyond begins another. 0: DefaultMost.
	Most int
}

// Defaults of the case block.
const (
	DefaultWindow   = 24 * time.Hour
	DefaultLateness = 10 * time.Minute
	DefaultMost     = 50_000
	DefaultLease    = 24 * time.Hour
	DefaultCommon   = 500
)

// Bounds of Most: a case has to have room for what it is about, and must not be
// larger than what one start can read.
const (
	LeastMost = 100
	MostMost  = 1_000_000
)

// Equal tells whether two settings group alike.
func (s Settings) Equal(o Settings) bool {
	return s.Window == o.Window && s.most() == o.most() && s.Lease == o.Lease &&
		slices.Equal(s.NeverJoin, o.NeverJoin) && slices.Equal(s.NeverLike, o.NeverLike) &&
		slices.EqualFunc(s.Decisions, o.Decisions, func(a, b model.Decision) bool { return a.ID == b.ID })
}

func (s Settings) most() int {
	if s.Most == 0 {
		return DefaultMost
	}
	return s.Most
}

// Never tells whether settings, decisions aside, let a canonical value join nothing.
func (s Settings) Never(o sdk.Observable) bool {
	o.Role = ""
	return slices.Contains(s.NeverJoin, o) || slices.ContainsFunc(s.NeverLike, func(p Pattern) bool { return p.matches(o) })
}
