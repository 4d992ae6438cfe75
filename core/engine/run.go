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

// ErrCut means that a run with an end was told to stop before it.
var ErrCut = errors.New("stopped before all work was done; the next run goes on from here")

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
	trial     *trial
	wake      chan struct{} // of the responder
}

// Run runs a configuration until ctx ends or, with Once, until all work is done; it
// returns ErrCut if ctx ends before that. It stops in order: what was taken in is in
// the log, and calls that have begun are waited for, inside their deadlines.
func (k *Kelpie) Run(ctx context.Context, o RunOptions) (err error) {
	g := &generation{k: k, options: o, began: k.clock.now(), logger: k.logger, wake: make(chan struct{}, 1)}
	if err := g.prepare(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = g.cut() // to be told to stop is no failure, whenever it comes
		}
		return errors.Join(err, g.stopPlugins(), g.stopJoiners())
	}
	stopAPI, err := k.serve(g)
	if err != nil {
		return errors.Join(err, g.stopPlugins(), g.stopJoiners())
	}
	defer func() { err = errors.Join(err, stopAPI()) }()
	return g.run(ctx)
}

// prepare makes the stages; only plugins run when it returns. Whatever it returns,
// plugins and joiners are to be stopped.
func (g *generation) prepare(ctx context.Context) error {
	if err := g.k.checkSocket(); err != nil {
		return err
	}
	if err := g.k.fill(ctx); err != nil {
		return err
	}
	var err error
	if g.trial, err = g.k.trial(ctx); err != nil {
		return err
	}
	if err = g.joiner(ctx, "people", &g.people); err != nil {
		return err
	}
	if err = g.startPlugins(ctx); err != nil {
		return err
	}
	var answers, outcomes reporter
	if err = errors.Join(g.joiner(ctx, "enrich", &answers), g.joiner(ctx, "respond", &outcomes)); err != nil {
		return err
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
		return err
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
		return ctx.Err()
	}
	if err != nil {
		g.logger.Warn("not every plugin has started yet; the others go on", "error", err)
	}
	if refused := refusals(h, found); len(refused) > 0 {
		return &RefusedError{refused}
	}
	for _, d := range found {
		g.logger.Warn(d.Summary, "instance", d.Instance, "detail", d.Detail)
	}
	return nil
}

// refusals are the errors of plugins that run about attributes of their blocks: what
// they complain about is in the configuration. What has no place there (a plugin that
// does not run, a vendor that can't be reached) is tried again, and stops nobody else.
func refusals(h *host.Host, found []host.Diagnostic) []host.Diagnostic {
	runs := map[string]bool{}
	for _, p := range h.Status() {
		for _, in := range p.Instances {
			runs[in.Address] = p.State == host.Running
		}
	}
	var refused []host.Diagnostic
	for _, d := range found {
		if !d.Warning && len(d.Path) > 0 && runs[d.Instance] {
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
	done chan struct{} // closed when it has ended
	err  error         // read after done
}

// start runs a stage. Its failure ends the run.
func start(ctx context.Context, fail context.CancelCauseFunc, run func(context.Context) error) *stage {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = run(ctx)
		if s.err != nil && ctx.Err() == nil {
			fail(s.err)
		}
	}()
	return s
}

// end stops stages, all at once, and waits for them. It returns why they failed,
// whenever that was; that they were told to stop is no failure.
func end(stages ...*stage) error {
	var errs []error
	for _, s := range stages {
		if s != nil {
			s.stop()
		}
	}
	for _, s := range stages {
		if s == nil {
			continue
		}
		if <-s.done; !errors.Is(s.err, context.Canceled) {
			errs = append(errs, s.err)
		}
	}
	return errors.Join(errs...)
}

// run starts the stages from the far end of the flow to its beginning, and stops them
// from its beginning to the far end.
func (g *generation) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	deciding := start(base, fail, g.decider.run)
	tending := start(base, fail, g.tend)
	var ticking, enriching, responding, detecting *stage
	var matching []*stage
	var consumer *eventlog.Consumer
	err := g.announce(work)
	if err == nil {
		ticking = start(base, fail, g.tick)
		enriching = start(base, fail, g.enricher.Run)
		// Respond begins when decide has read INPUTS to the end that it has now, so
		// that nothing is done that a later input took back.
		err = g.decider.caughtUp(work, deciding)
	}
	if err == nil {
		responding = start(base, fail, func(ctx context.Context) error { return g.responder.Run(ctx, g.wake) })
		if err = g.trial.begin(work); err == nil {
			consumer, err = g.k.log.Events(work)
		}
		if err == nil {
			matching, err = g.match(base, fail, consumer)
		}
	}
	if err == nil {
		detecting = start(base, fail, g.detector.Run)
		err = g.wait(work, detecting)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = g.cut()
	case work.Err() != nil:
		err = nil // a stage has failed, which tells so below
	}

	errs := []error{err, end(detecting), end(matching...)}
	if consumer != nil {
		consumer.Close()
	}
	g.trial.end()
	errs = append(errs, end(responding, enriching, ticking), g.stopPlugins(), g.stopJoiners())
	errs = append(errs, g.decider.finish(deciding), end(tending))
	return errors.Join(errs...)
}

// cut is what a run that was told to stop returns.
func (g *generation) cut() error {
	if g.options.Once {
		return ErrCut
	}
	return nil
}

// announce puts the configuration into INPUTS. While there is no room, decide and the
// trimmer, which run already, make some.
func (g *generation) announce(ctx context.Context) error {
	version, err := g.options.Config.Source.Version()
	if err != nil {
		return err
	}
	version.Once = g.options.Once
	for told := false; ; told = true {
		_, err := g.people.input(ctx, model.Input{Config: &version})
		if !errors.Is(err, eventlog.ErrFull) && !errors.Is(err, eventlog.ErrSick) {
			return err
		}
		if !told {
			g.logger.Error("the log takes nothing; the start waits until it does", "error", err)
		}
		if !pause(ctx, healthInterval) {
			return context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
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
			Rejects: rejects{g.k.log}, Trial: g.trial.Trial, MaxResult: eventlog.MaxPart,
			Log: g.logger, Now: g.k.clock.now,
		}
		all = append(all, start(ctx, fail, m.Run))
	}
	return all, nil
}

func (g *generation) tend(ctx context.Context) error {
	g.k.tend(ctx)
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
