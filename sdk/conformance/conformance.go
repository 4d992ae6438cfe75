// Package conformance checks any plugin binary, in any language, against the contract:
// it starts the process as the core does and looks at what it answers.
//
// A Go test calls sdktest.Conform, which runs it; at a shell it is
// "kelpie plugin check". What can be checked depends on what the suite is given. The
// binary alone shows how it starts, describes itself, refuses configurations and ends.
// Configured instances show whether they are kept apart; a source that the suite may
// fill, whether cursors and acks are honest; a far end that it may look at, whether a dry
// run changes nothing. What is not given is skipped, with the reason, and never counts
// as passed.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Settings is what a run is given.
type Settings struct {
	// Binary is the path of the executable.
	Binary string
	// Launcher is a program with arguments that runs the executable, whose path it gets as
	// one more, as its own process: to confine it. It exits with 125 where it will not run
	// it, and as a shell with 126 where the system does not, and with 127 where its
	// interpreter is not there. Empty: it is run as it is.
	Launcher []string
	// Env is the environment of the process, "KEY=value", beside what the handshake puts
	// there.
	Env []string
	// Instances are configured connectors. Several of one connector, with different
	// configurations, show more than one.
	Instances []Instance
	// Record is a file with the events' ids of the last release, and a cursor of it; empty:
	// ids are not compared. With Update it is written.
	Record string
	Update bool
	// Only has the names of the checks to run; empty: all.
	Only []string
	// Patience is how long an event or an answer of a far end is waited for; 0: 10 s.
	Patience time.Duration
	// Each, if not nil, is told every result when it is there.
	Each func(Result)
}

// Instance is one configured connector, and what its far end lets the suite do.
type Instance struct {
	// Name is for people: the address of a block.
	Name string
	Kind sdk.Kind
	// Connector is the connector's name within the plugin; empty: the only one of its kind.
	Connector string
	// Config and Connection are values of the blocks, encoded as JSON by the suite.
	Config     map[string]any
	Connection map[string]any
	// Secrets are the values in them that must turn up nowhere.
	Secrets []string

	// Fill (detectors) makes the source hold these events, in their order, and no others.
	// It is called while no session runs.
	Fill func(payloads [][]byte) error
	// Push (detectors) is Fill's counterpart where the source sends the events itself. It
	// is called while a session runs, and returns when the plugin has taken all; what
	// fails it sends again, under the same keys, until ctx ends.
	Push func(ctx context.Context, payloads [][]byte) error
	// Payload makes the source's own JSON of an event with this id and text; nil:
	// {"id": …, "text": …}.
	Payload func(id, text string) []byte

	// Questions (enrichments) are asked; empty: one of each kind taken, about addresses and
	// names that are reserved for documentation.
	Questions []sdk.Observable

	// Acts (actions) are really done. Empty: only dry runs are asked for, of each verb.
	Acts []Act

	// Limit makes the far end answer that there are too many requests and when to come
	// again, until lift is called.
	Limit func() (lift func())
	// Stall makes the far end hold its answers until release is called. held gets a value
	// when a request is being held.
	Stall func() (held <-chan struct{}, release func())
}

// Act is one thing to do to one target.
type Act struct {
	Verb   string
	Target sdk.Target
	// Parameters; nil: what the verb requires is made up by its schema.
	Parameters map[string]any
	// State is what the far end holds: two equal texts are two equal states. nil: nobody
	// can look, and what needs it is skipped.
	State func() string
}

// Check is one thing that a plugin must do.
type Check struct {
	Name string
	// Why says what goes wrong for whom without it.
	Why string

	of  scope
	run func(context.Context, *trial) error
	// timed: it fails by the clock, and may on a machine that has much else to do. It is
	// tried again.
	timed bool
}

// scope is what a check is run for.
type scope int

const (
	wholePlugin scope = iota
	eachInstance
	eachDetector
	eachEnrichment
	eachAction
)

func (s scope) takes(k sdk.Kind) bool {
	switch s {
	case eachDetector:
		return k == sdk.KindDetector
	case eachEnrichment:
		return k == sdk.KindEnrichment
	case eachAction:
		return k == sdk.KindAction
	}
	return true
}

// Checks lists all checks in the order in which they run. What the last two look at is
// all that was seen during the others.
func Checks() []Check {
	return slices.Concat(startChecks(), configureChecks(), callChecks(),
		detectorChecks(), enrichmentChecks(), actionChecks(), outputChecks())
}

// Outcome of a check.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is what one check found. Its texts may quote the plugin, and so hold anything.
type Result struct {
	Check   string  `json:"check"`
	Subject string  `json:"subject,omitempty"` // an instance's name
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why,omitempty"` // of a failure: what it is checked for
	// Seen is what was wrong, and Do what to do about it; or Seen is why it was skipped.
	Seen string        `json:"seen,omitempty"`
	Do   string        `json:"do,omitempty"`
	Took time.Duration `json:"took_ns"`
}

// failure is the error of a check that failed.
type failure struct{ seen, do string }

func (f *failure) Error() string { return f.seen }

func fail(do, seen string, args ...any) error {
	return &failure{seen: fmt.Sprintf(seen, args...), do: do}
}

// skip is the error of a check that could not be made.
type skip struct{ why string }

func (s *skip) Error() string { return s.why }

func skipf(why string, args ...any) error { return &skip{fmt.Sprintf(why, args...)} }

// Run makes all checks. An error is about the settings, not about the plugin, or says that
// ctx has ended.
func Run(ctx context.Context, settings Settings) (*Report, error) {
	s, err := newSuite(settings)
	if err != nil {
		return nil, err
	}
	defer s.close()
	report := &Report{Binary: settings.Binary, SHA256: s.sha256}
	for _, c := range Checks() {
		if len(settings.Only) > 0 && !slices.Contains(settings.Only, c.Name) {
			continue
		}
		results := s.results(ctx, c)
		if err := ctx.Err(); err != nil {
			return nil, err // what was broken off has not failed
		}
		for _, r := range results {
			report.Results = append(report.Results, r)
			if settings.Each != nil {
				settings.Each(r)
			}
		}
	}
	if s.about != nil {
		report.Plugin, report.Version = s.about.GetName(), s.about.GetVersion()
	}
	return report, s.recorded.write()
}

func (s Settings) check() error {
	for _, name := range s.Only {
		if !slices.ContainsFunc(Checks(), func(c Check) bool { return c.Name == name }) {
			return fmt.Errorf("there is no check %q", name)
		}
	}
	names := map[string]bool{}
	for _, i := range s.Instances {
		if i.Name == "" || names[i.Name] {
			return fmt.Errorf("instance %q: its name is missing or another's too", i.Name)
		}
		names[i.Name] = true
		if i.Fill != nil && i.Push != nil {
			return fmt.Errorf("instance %q: a source is filled or sends itself, not both", i.Name)
		}
		for _, values := range []map[string]any{i.Config, i.Connection} {
			if _, err := json.Marshal(values); err != nil {
				return fmt.Errorf("instance %q: %w", i.Name, err)
			}
		}
	}
	info, err := os.Stat(s.Binary)
	if err != nil {
		return fmt.Errorf("the plugin's binary: %w", err)
	}
	if !info.Mode().IsRegular() {
		return errors.New(s.Binary + " is no file that can be run; name the plugin's program")
	}
	_, err = filepath.Abs(s.Binary)
	return err
}
