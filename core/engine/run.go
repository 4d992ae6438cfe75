package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
)

// Configuration is what a Kelpie runs by.
type Configuration struct {
	Config *config.Config
	// Instances with their secrets, and the lock by which their plugins are pinned.
	Instances []host.Instance
	Lock      host.Lock
	LockFile  string
	PluginDir string
	// Secrets are read again for what an earlier configuration had; nil: there are none.
	Secrets config.SecretReader
	// Attached are plugins that somebody else has started. Those of the first
	// configuration hold for all.
	Attached map[string]host.Attached
}

// Reading is what came of reading a configuration. With an error among the diagnostics
// there is none.
type Reading struct {
	Configuration
	Diagnostics config.Diagnostics
	Source      *config.Source // for the lines that diagnostics are about; may be nil
}

// RunOptions say what to run.
type RunOptions struct {
	Configuration
	// Once reads every finite source to its end, finishes all work, and returns.
	Once bool
	// Rewind reads every source from its beginning again.
	Rewind bool
	// Read reads the configuration again from where it was read, for Apply; nil: it can't be
	// changed while it runs.
	Read func() Reading
	// Reload asks for an Apply with each value, as SIGHUP does; what comes of it is logged.
	Reload <-chan os.Signal
	// Progress is told now and then how far a run has come; nil: nobody is.
	Progress func(Progress)
}

// Progress of a run.
type Progress struct {
	Events    uint64 // received from sources, ever
	Unmatched uint64 // log messages that wait
	Answers   int    // that wait
	Steps     int    // that wait
	Ended     int    // sources that have ended, of Sources
	Sources   int
}

// RefusedError: plugins complained about their blocks, or moves can't be made from the
// configuration that was in force last.
type RefusedError struct {
	Diagnostics []host.Diagnostic
	Moves       config.Diagnostics
}

func (e *RefusedError) Error() string {
	if e.Moves.HasErrors() {
		return "the configuration can't follow the one that was in force last: " + firstError(e.Moves)
	}
	return fmt.Sprintf("%d complaints of plugins about the configuration", len(e.Diagnostics))
}

// ErrCut means that a run with an end was told to stop before it.
var ErrCut = errors.New("stopped before all work was done; the next run goes on from here")

// Times of a start and a stop.
const (
	pluginStart  = 20 * time.Second
	pluginStop   = 10 * time.Second
	joinerStop   = 5 * time.Second
	matchWorkers = 2
)

// Run runs a configuration until ctx ends or, with Once, until all work is done; it
// returns ErrCut if ctx ends before that. It stops in order: what was taken in is in
// the log, and calls that have begun are waited for, inside their deadlines.
func (k *Kelpie) Run(ctx context.Context, o RunOptions) (err error) {
	f := &flow{
		k: k, options: o, began: k.clock.now(), logger: k.logger,
		wake: make(chan struct{}, 1), due: make(chan time.Duration, 1), paused: true,
		changes: newChanges(o.Configuration, k.clock.now()), meter: match.NewMeter(), answering: newAnswering(),
	}
	if err := f.prepare(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = f.cut() // to be told to stop is no failure, whenever it comes
		}
		return errors.Join(err, f.stopPage(), f.stopPlugins(), f.stopJoiners())
	}
	stopAPI, err := k.serve(f)
	if err != nil {
		return errors.Join(err, f.stopPage(), f.stopPlugins(), f.stopJoiners())
	}
	defer func() { err = errors.Join(err, stopAPI()) }()
	f.page.serve()
	defer func() { err = errors.Join(f.stopPage(), err) }()
	return f.run(ctx)
}
