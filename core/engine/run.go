package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// RunOptions say what to run.
type RunOptions struct {
	Config *config.Config
	// Instances with their secrets, and the lock by which their plugins are pinned.
	Instances []host.Instance
	Lock      host.Lock
	LockFile  string
	PluginDir string
	// Once reads every finite source to its end, finishes all work, and returns.
	Once bool
	// Rewind reads every source from its beginning again.
	Rewind bool
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

// RefusedError: plugins complained about their blocks.
type RefusedError struct{ Diagnostics []host.Diagnostic }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%d complaints of plugins about the configuration", len(e.Diagnostics))
}

// Times of a start and a stop.
const (
	pluginStart  = 20 * time.Second
	pluginStop   = 10 * time.Second
	joinerStop   = 5 * time.Second
	matchWorkers = 2
	tickInterval = time.Minute
)

// generation is what one configuration runs.
type generation struct {
	k       *Kelpie
	options RunOptions
	began   time.Time
	logger  *slog.Logger

	host      *host.Host
	detector  *detect.Detector
	enricher  *enrich.Enricher
	responder *respond.Responder
	decider   *decider
	joiners   []*eventlog.Joiner
	people    reporter
	wake      chan struct{} // of the responder
}

// Run runs a configuration until ctx ends or, with Once, until all work is done. It
// stops in order: what was taken in is in the log, and calls that have begun are
// waited for, inside their deadlines.
func (k *Kelpie) Run(ctx context.Context, o RunOptions) (err error) {
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // to be told to stop is no failure, whenever it comes
		}
	}()
	g := &generation{k: k, options: o, began: k.clock.now(), logger: k.logger, wake: make(chan struct{}, 1)}
	if err := k.fill(ctx); err != nil {
		return err
	}
	if err := g.build(ctx); err != nil {
		return errors.Join(err, g.stopJoiners())
	}
	stopAPI, err := k.serve(g)
	if err != nil {
		return errors.Join(err, g.stopPlugins(), g.stopJoiners())
	}
	defer func() { err = errors.Join(err, stopAPI()) }()
	return g.run(ctx)
}

// build makes the stages; only plugins run when it returns.
func (g *generation) build(ctx context.Context) error {
	var err error
	if err = g.joiner(ctx, "people", &g.people); err != nil {
		return err
	}
	if err = g.startPlugins(ctx); err != nil {
		return err
	}
	var answers, outcomes reporter
	if err = errors.Join(g.joiner(ctx, "enrich", &answers), g.joiner(ctx, "respond", &outcomes)); err != nil {
		return errors.Join(err, g.stopPlugins())
	}
	c := g.options.Config
	g.detector = &detect.Detector{
		Settings: detect.Settings{Once: g.options.Once, Rewind: g.options.Rewind},
		Plugins:  detectors{g.host}, Log: detectLog{g.k.log}, Logger: g.logger, Now: g.k.clock.now,
	}
	for _, d := range c.Detectors {
		if !g.options.Once || d.Finite {
			g.detector.Settings.Instances = append(g.detector.Settings.Instances, detect.Instance{Address: d.Address, Finite: d.Finite})
		}
	}
	g.enricher = &enrich.Enricher{
		Settings: c.Enrich, Backlog: g.k.store, Asker: enrichments{g.host}, Reporter: enrichReporter{answers},
		Shelf: g.k.store, Log: g.logger, Now: g.k.clock.now,
	}
	epoch, err := g.k.store.NextEpoch(ctx)
	if err != nil {
		return errors.Join(err, g.stopPlugins())
	}
	g.responder = &respond.Responder{
		Settings: c.Respond, Journal: g.k.store, Caller: actions{g.host}, Reporter: respondReporter{outcomes},
		Log: g.logger, Epoch: epoch, Now: g.k.clock.now,
	}
	if g.options.Once {
		g.responder.Settings.MaxAttempts = onceAttempts
	}
	g.decider = newDecider(g.k, g.wakeUp)
	return nil
}

// onceAttempts bounds the calls for one intent when somebody waits for the end.
const onceAttempts = 4

func (g *generation) joiner(ctx context.Context, name string, r *reporter) error {
	j, err := g.k.log.Joiner(ctx, name)
	if err != nil {
		return err
	}
	g.joiners = append(g.joiners, j)
	*r = reporter{joiner: j, now: g.k.clock.now}
	return nil
}

// wakeUp tells those who wait for decide's rows that there are new ones.
func (g *generation) wakeUp() {
	g.enricher.Wake()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *generation) startPlugins(ctx context.Context) error {
	h, err := host.New(host.Settings{
		PluginDir: g.options.PluginDir, LockFile: g.options.LockFile, Lock: g.options.Lock,
		StateDir:  filepath.Join(g.k.settings.DataDir, pluginsDir),
		RunDir:    filepath.Join(g.k.settings.DataDir, runDir),
		Instances: g.options.Instances,
	}, g.logger)
	if err != nil {
		return err
	}
	g.host = h
	startCtx, cancel := context.WithTimeout(ctx, pluginStart)
	defer cancel()
	found, err := h.Start(startCtx)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), g.stopPlugins())
	}
	if err != nil {
		g.logger.Warn("not every plugin has started yet; the others go on", "error", err)
	}
	if refused := refusals(h, found); len(refused) > 0 {
		return errors.Join(&RefusedError{refused}, g.stopPlugins())
	}
	for _, d := range found {
		g.logger.Warn(d.Summary, "instance", d.Instance, "detail", d.Detail)
	}
	return nil
}

// refusals are the errors of plugins that run: what they complain about is in the
// configuration. A plugin that does not run is tried again, and stops nobody else.
func refusals(h *host.Host, found []host.Diagnostic) []host.Diagnostic {
	runs := map[string]bool{}
	for _, p := range h.Status() {
		for _, in := range p.Instances {
			runs[in.Address] = p.State == host.Running
		}
	}
	var refused []host.Diagnostic
	for _, d := range found {
		if !d.Warning && runs[d.Instance] {
			refused = append(refused, d)
		}
	}
	return refused
}

func (g *generation) stopPlugins() error {
	if g.host == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pluginStop)
	defer cancel()
	return g.host.Stop(ctx)
}

func (g *generation) stopJoiners() error {
	ctx, cancel := context.WithTimeout(context.Background(), joinerStop)
	defer cancel()
	var errs []error
	for _, j := range g.joiners {
		errs = append(errs, j.Close(ctx))
	}
	return errors.Join(errs...)
}

// stage is a part that runs until it is stopped, or fails.
type stage struct {
	stop context.CancelFunc
	done chan error
}

// start runs a stage. Its failure ends the run.
func start(ctx context.Context, fail context.CancelCauseFunc, run func(context.Context) error) *stage {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{stop: cancel, done: make(chan error, 1)}
	go func() {
		err := run(ctx)
		if err != nil && ctx.Err() == nil {
			fail(err)
		}
		s.done <- err
	}()
	return s
}

// end stops a stage and waits for it.
func (s *stage) end() {
	if s == nil {
		return
	}
	s.stop()
	<-s.done
}

// run starts the stages from the far end of the flow to its beginning, and stops them
// from its beginning to the far end.
func (g *generation) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	version, err := g.options.Config.Source.Version()
	if err == nil {
		version.Once = g.options.Once
		_, err = g.people.input(ctx, model.Input{Config: &version})
	}
	if err != nil {
		return errors.Join(err, g.stopPlugins(), g.stopJoiners())
	}
	deciding := start(base, fail, g.decider.run)
	tending := start(base, fail, g.tend)
	ticking := start(base, fail, g.tick)
	enriching := start(base, fail, g.enricher.Run)
	var responding, detecting *stage
	var matching []*stage
	var consumer *eventlog.Consumer

	// Respond begins when decide has read INPUTS to the end that it has now, so that
	// nothing is done that a later input took back.
	if err = g.decider.caughtUp(work, deciding); err == nil {
		responding = start(base, fail, func(ctx context.Context) error { return g.responder.Run(ctx, g.wake) })
		if consumer, err = g.k.log.Events(work); err == nil {
			matching, err = g.match(base, fail, consumer)
		}
	}
	if err == nil {
		detecting = start(base, fail, g.detector.Run)
		err = g.wait(work, detecting)
	}

	detecting.end()
	for _, s := range matching {
		s.end()
	}
	if consumer != nil {
		consumer.Close()
	}
	responding.end()
	enriching.end()
	ticking.end()
	errStop := g.stopPlugins()
	errStop = errors.Join(errStop, g.stopJoiners())
	g.decider.finish(deciding)
	tending.end()
	if cause := context.Cause(work); cause != nil && ctx.Err() == nil {
		err = cause
	}
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, errStop)
}

func (g *generation) match(ctx context.Context, fail context.CancelCauseFunc, consumer *eventlog.Consumer) ([]*stage, error) {
	var out reporter
	if err := g.joiner(ctx, "match", &out); err != nil {
		return nil, err
	}
	var all []*stage
	for range matchWorkers {
		m := &match.Matcher{
			Settings: &g.options.Config.Match, Events: matchEvents{consumer}, Inputs: matchInputs{out.joiner},
			Rejects: rejects{g.k.log}, Log: g.logger, Now: g.k.clock.now,
		}
		all = append(all, start(ctx, fail, m.Run))
	}
	return all, nil
}

func (g *generation) tend(ctx context.Context) error {
	tend(ctx, g.k.log, g.k.trimmable, g.logger)
	return nil
}

// tick passes time to decide.
func (g *generation) tick(ctx context.Context) error {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if _, err := g.people.input(ctx, model.Input{Tick: &model.Tick{}}); err != nil && ctx.Err() == nil {
				g.logger.Warn("time can't be told to the log", "error", err)
			}
		}
	}
}
