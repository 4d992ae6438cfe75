// Package decide is the deterministic state machine in the middle: INPUTS in;
// cases, scores, questions and intents out. A Machine reads no clock, no network
// and no file: the same inputs from a checkpoint give the same bytes. The Loop
// around it reads INPUTS, commits what the machine makes of them, and writes the
// checkpoints.
package decide

import (
	"net/netip"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/score"
)

// Settings is all of a configuration that decisions depend on.
type Settings struct {
	// Hash of the configuration that it was made from.
	Hash string
	// Names of now of what was renamed, by the addresses under which it is known.
	Names     map[string]string
	Correlate correlate.Settings
	Score     score.Settings
	Plan      plan.Settings
	Sources   []Source
	// Rules over several events, and over signals. None reads itself, by whatever others.
	Rules []Rule
	// Plainly is what a rule or pipeline says for who is no analyst, by its address.
	Plainly map[string]string
	// Networks and Domains are the organisation's own: never asked of a source that
	// is not internal, inside URLs neither.
	Networks []netip.Prefix
	Domains  []string
	// Schedules are the addresses of those that routes may read.
	Schedules []string
	// Memory bounds what is kept at hand.
	Memory Limits
}

// Source says which enrichment to ask about what.
type Source struct {
	Address  string   // "enrichment.assets"
	Takes    []string // kinds of observables
	Internal bool
}

// Compiler makes settings of the text that INPUTS carries, the same for the same
// text for ever.
type Compiler func(model.Config) (*Settings, error)
