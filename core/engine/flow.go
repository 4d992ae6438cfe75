package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// flow is what lasts as long as Run: the host of the plugins, the stages, and the ends of
// the log between them. What they do is for the generation in force to say.
type flow struct {
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
	matchers  []*match.Matcher
	meter     *match.Meter
	gate      gate
	tables    tableWatch
	schedules scheduleWatch
	answering *answering
	rules     atomic.Pointer[[]decide.RuleStat] // as decide told last; nil: not yet
	lead      lead
	wake      chan struct{}      // of the responder
	due       chan time.Duration // of the ticker
	// paused is whether actions were paused after the last commit; true before the first.
	paused  bool
	changes *changes
	page    *page
}

// prepare makes the stages; only plugins run when it returns. Whatever it returns,
// plugins and joiners are to be stopped.
func (f *flow) prepare(ctx context.Context) error {
	if err := f.k.checkSocket(); err != nil {
		return err
	}
	if err := f.openPage(); err != nil {
		return err
	}
	if err := f.k.fill(ctx); err != nil {
		return err
	}
	err := f.follow(ctx)
	if err != nil {
		return err
	}
	if f.trial, err = f.k.trial(ctx); err != nil {
		return err
	}
	if err = f.joiner(ctx, "people", &f.people); err != nil {
		return err
	}
	if err = f.startPlugins(ctx); err != nil {
		return err
	}
	var answers, outcomes reporter
	if err = errors.Join(f.joiner(ctx, "enrich", &answers), f.joiner(ctx, "respond", &outcomes)); err != nil {
		return err
	}
	c := f.options.Configuration
	f.detector = &detect.Detector{
		Settings: detect.Settings{Once: f.options.Once, Rewind: f.options.Rewind},
		Plugins:  detectors{f.host}, Log: detectLog{f.k.log}, Logger: f.logger, Now: f.k.clock.now,
	}
	for _, in := range c.detectors() {
		if !f.options.Once || in.Finite {
			f.detector.Settings.Instances = append(f.detector.Settings.Instances, in)
		}
	}
	f.enricher = &enrich.Enricher{
		Settings: c.Config.Enrich, Backlog: f.k.store, Asker: enrichments{f.host}, Reporter: enrichReporter{answers},
		Shelf: f.k.store, Book: f.k.store, Log: f.logger, Now: f.k.clock.now,
	}
	var epoch int64
	if err := f.patiently(ctx, func() (err error) { epoch, err = f.k.store.NextEpoch(ctx); return err }); err != nil {
		return err
	}
	f.responder = &respond.Responder{
		Settings: c.Config.Respond, Journal: f.k.store, Caller: actions{f}, Reporter: respondReporter{outcomes},
		Log: f.logger, Epoch: epoch, Now: f.k.clock.now, Uptime: f.k.uptime, Links: f.links,
	}
	if f.options.Once {
		f.responder.Settings.MaxAttempts = onceAttempts
		f.enricher.Linger = onceLinger
	}
	f.decider = newDecider(f.k, f.wakeUp)
	f.decider.loop.Store = claimingStore{f.k.store, f.responder}
	return nil
}

// onceAttempts bounds the calls for one intent when somebody waits for the end, and
// onceLinger the wait for shadows.
const (
	onceAttempts = 4
	onceLinger   = 5 * time.Second
)

func (f *flow) joiner(ctx context.Context, name string, r *reporter) error {
	j, err := f.k.log.Joiner(ctx, name)
	if err != nil {
		return err
	}
	f.joiners = append(f.joiners, j)
	*r = reporter{joiner: j, now: f.k.clock.now}
	return nil
}

// wakeUp tells those who wait for decide's rows that there are new ones. Of intents the
// responder hears with the commit.
func (f *flow) wakeUp(c decide.Changes) {
	f.dueAfter(c.Due)
	f.gate.tell(c.Memory, f.k.clock.now())
	if c.Memory.Rules != nil {
		f.rules.Store(&c.Memory.Rules)
	}
	f.lead.decide(c.Position.Seq)
	if len(c.Asks) > 0 {
		f.enricher.Wake()
	}
	if c.Flags == nil || c.Flags.Paused == f.paused {
		return
	}
	f.paused = c.Flags.Paused
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flow) stopJoiners() error {
	ctx, cancel := context.WithTimeout(context.Background(), joinerStop)
	defer cancel()
	var errs []error
	for _, j := range f.joiners {
		errs = append(errs, j.Close(ctx))
	}
	return errors.Join(errs...)
}

// run starts the stages from the far end of the flow to its beginning, and stops them
// from its beginning to the far end.
func (f *flow) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	deciding := start(base, fail, f.decider.run)
	tending := start(base, fail, f.tend)
	var ticking, enriching, responding, answering, detecting *stage
	var matching []*stage
	var consumer *eventlog.Consumer
	err := f.announce(work)
	if err == nil {
		err = f.patiently(work, func() error { return f.beginSchedules(work) })
	}
	var scheduling *stage
	if err == nil {
		if !f.options.Once {
			scheduling = start(base, fail, f.followSchedules)
		}
		ticking = start(base, fail, f.tick)
		enriching = start(base, fail, f.enricher.Run)
		// Respond begins when decide has read INPUTS to the end that it has now, so
		// that nothing is done that a later input took back.
		err = f.patiently(work, func() error { return f.decider.caughtUp(work, deciding) })
	}
	if err == nil {
		err = f.patiently(work, func() error { return f.recall(work) })
	}
	if err == nil {
		responding = start(base, fail, func(ctx context.Context) error { return f.responder.Run(ctx, f.wake) })
		if !f.options.Once {
			answering = start(base, fail, f.followAnswers)
		}
		if err = f.patiently(work, func() error { return f.k.resume(work) }); err == nil {
			err = f.patiently(work, func() error { return f.trial.begin(work) })
		}
		if err == nil {
			err = f.patiently(work, func() (err error) { consumer, err = f.k.log.Events(work); return err })
		}
		if err == nil {
			matching, err = f.match(base, fail, consumer)
		}
	}
	if err == nil {
		detecting = start(base, fail, f.detector.Run)
		f.changes.open()
		reloading := start(work, fail, f.reloadWhenTold)
		following := start(work, fail, f.followTables)
		err = errors.Join(f.wait(work, detecting), end(reloading, following))
	}
	f.changes.close()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = f.cut()
	case work.Err() != nil:
		err = nil // a stage has failed, which tells so below
	}

	errs := []error{err, end(detecting), end(matching...)}
	if consumer != nil {
		consumer.Close()
	}
	f.trial.end()
	errs = append(errs, end(answering, responding, enriching, ticking, scheduling), f.stopPlugins(), f.stopJoiners())
	errs = append(errs, f.decider.finish(deciding), end(tending))
	return errors.Join(errs...)
}

// cut is what a run that was told to stop returns.
func (f *flow) cut() error {
	if f.options.Once {
		return ErrCut
	}
	return nil
}

// announce puts the configuration into INPUTS. While there is no room, decide and the
// trimmer, which run already, make some.
func (f *flow) announce(ctx context.Context) error {
	version, err := f.options.Config.Source.Version()
	if err != nil {
		return err
	}
	version.Once = f.options.Once
	if err := f.k.tables.put(f.options.Config); err != nil {
		return err
	}
	return f.patiently(ctx, func() error {
		_, err := f.people.input(ctx, model.Input{Config: &version})
		return err
	})
}

func (f *flow) match(ctx context.Context, fail context.CancelCauseFunc, consumer *eventlog.Consumer) ([]*stage, error) {
	var out reporter
	if err := f.joiner(ctx, "match", &out); err != nil {
		return nil, err
	}
	var all []*stage
	for range matchWorkers {
		m := &match.Matcher{
			Settings: &f.options.Config.Match, Events: matchEvents{consumer, &f.gate, &f.lead}, Inputs: matchInputs{out.joiner, &f.lead},
			Rejects: rejects{f.k.log}, Trial: f.trial.Trial, MaxResult: eventlog.MaxPart, Meter: f.meter,
			Log: f.logger, Now: f.k.clock.now,
		}
		f.matchers = append(f.matchers, m)
		all = append(all, start(ctx, fail, m.Run))
	}
	return all, nil
}

func (f *flow) tend(ctx context.Context) error {
	f.k.tend(ctx)
	return nil
}
