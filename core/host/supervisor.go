package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// supervisor keeps one process running, for as long as run does.
//
//	starting ──▶ running ──▶ restarting ──▶ starting …
//	   └──────────┴────────────┴──▶ failed ──(restart)──▶ starting
//	                                 any ──(stop)──▶ stopped
type supervisor struct {
	launch   launch
	identity string // by Settings.identity
	stateDir string
	log      *slog.Logger

	restart chan struct{} // capacity 1: what Host.Restart asks
	first   chan struct{} // closed after the first attempt to start
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended

	// Guarded by Host.mu.
	prepared bool // no change that is in force has an instance in it
	joining  int  // changes that are about to give it an instance
	ending   bool // it serves nobody any more

	mu          sync.Mutex
	instances   []*instance
	changed     chan struct{} // closed and replaced with each change
	state       State
	since       time.Time
	process     *process // nil unless calls may use it
	alive       *process // nil unless there is one, in use or not
	pid         int
	about       model.Plugin
	sha256      string
	starts      int
	crashes     []time.Time // within the window
	attempt     int         // of starts without HealthyAfter of health between them
	lastError   string
	errorAt     time.Time
	why, line   string
	tail        []string
	dropped     int64
	greed       greed        // of all processes one after the other, unless somebody restarts it
	behind      time.Time    // since when the process comes after all others; zero: it does not
	diagnostics []Diagnostic // of the last start
	deadline    time.Time    // of the stop, once that is asked for
}

// members are the instances that the process serves now.
func (s *supervisor) members() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.instances)
}

func newSupervisor(l launch, stateDir string) *supervisor {
	return &supervisor{
		launch: l, stateDir: stateDir, log: l.log,
		restart: make(chan struct{}, 1), first: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
		state: Starting, since: time.Now(),
	}
}

// run until ctx ends. It owns the process and everything that watches it.
func (s *supervisor) run(ctx context.Context) {
	first := sync.OnceFunc(func() { close(s.first) })
	defer first()
	for ctx.Err() == nil {
		select {
		case <-s.restart: // this start is what was asked for
		default:
		}
		s.set(Starting, nil)
		p, err := s.launch.start(ctx)
		if err == nil {
			err = s.configureAll(ctx, p)
		}
		if ctx.Err() != nil {
			s.end(p, s.launch.timing.Stop)
			break
		}
		if err == nil {
			s.set(Running, p)
			first()
			patience := s.launch.timing.Stop
			if err = s.watch(ctx, p); err != nil { // it is gone, or answers nobody
				patience = min(patience, 2*s.launch.timing.HealthTimeout)
			}
			s.end(p, patience)
		}
		if err == nil { // asked to stop, or to start again
			s.forgive()
			continue
		}
		s.crashed(p, err)
		first()
		s.rest(ctx, err)
	}
	s.set(Stopped, nil)
}

// set changes the state and tells all who wait for it.
func (s *supervisor) set(state State, p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != s.state {
		s.since = time.Now()
	}
	s.state, s.process, s.pid = state, p, 0
	if p != nil {
		s.starts++
		s.about, s.sha256 = p.about, p.sha256
		s.pid = p.runner.pid
		if s.starts > 1 {
			for t := range s.tallies() {
				t.restarts.Add(1)
			}
		}
		s.log.Info("plugin runs", "version", p.about.Version, "pid", s.pid, "start", s.starts)
	}
	s.announce()
}

func (s *supervisor) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// end takes the process out of use and ends it. Calls in flight may finish; new ones
// wait for the next process.
func (s *supervisor) end(p *process, patience time.Duration) {
	if p == nil {
		return
	}
	s.mu.Lock()
	deadline := s.deadline
	s.process = nil
	if s.state == Running {
		s.state, s.since = Restarting, time.Now()
	}
	s.announce()
	s.mu.Unlock()
	if deadline.IsZero() {
		deadline = time.Now().Add(patience)
	}
	var open []string
	for _, i := range s.members() {
		open = append(open, i.name)
	}
	p.stop(deadline, open)
	s.mu.Lock()
	s.pid, s.alive = 0, nil
	s.dropped += p.runner.output.dropped.Load()
	s.mu.Unlock()
}

// stopBy says until when the end of the process may last, once that has begun.
func (s *supervisor) stopBy(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = deadline
	s.announce()
}

// watch returns when the process has to be replaced: nil if somebody asked for it.
func (s *supervisor) watch(ctx context.Context, p *process) error {
	t := s.launch.timing
	health := time.NewTicker(t.HealthEvery)
	defer health.Stop()
	missed := map[string]int{}
	var looking <-chan bool
	retry := newRetry(t)
	defer retry.timer.Stop()
	s.greed.pid = p.runner.pid
	s.greed.yield()
	watch := time.NewTimer(s.greed.next())
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.restart:
			return nil
		case <-p.exited():
			return fmt.Errorf("it ended by itself: %s", p.runner.exitReason())
		case <-health.C:
			if err := s.checkHealth(ctx, p, missed); err != nil {
				return err
			}
			if time.Since(p.since) > t.HealthyAfter {
				s.calm()
			}
			if looking == nil {
				looking = s.launch.look(p)
			}
		case grown := <-looking:
			if looking = nil; grown {
				s.log.Info("a file that the plugin may touch is there now, or is another; it is started again, so that it may touch that")
				return nil
			}
		case <-watch.C:
			if !p.attached && s.greed.look() {
				s.tamed()
			}
			watch.Reset(s.greed.next())
		case <-retry.timer.C:
			s.configureRefused(ctx, p)
			retry.next()
		}
	}
}

// tamed keeps that the process has come to be behind all others.
func (s *supervisor) tamed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = time.Now()
	s.log.Warn("the plugin keeps all processors busy with many threads at once; from now on it comes after everything else")
}

// forgive forgets all that earlier processes did.
func (s *supervisor) forgive() {
	s.calm()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind, s.greed = time.Time{}, greed{}
}

// kill ends whatever process there is, at once.
func (s *supervisor) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alive != nil {
		s.alive.runner.signal(signalKill)
	}
}

// retry paces new attempts to configure the instances that were refused.
type retry struct {
	timing  Timing
	attempt int
	timer   *time.Timer
}

func newRetry(t Timing) *retry { return &retry{timing: t, timer: time.NewTimer(backoff(t, 0))} }

func (r *retry) next() {
	r.attempt++
	r.timer.Reset(backoff(r.timing, r.attempt))
}

// backoff is a random time between the least and a limit that doubles ("full jitter"),
// so that what failed together does not come back together.
func backoff(t Timing, attempt int) time.Duration {
	limit := t.BackoffMax
	if attempt < 16 { // beyond, it could overflow
		limit = min(limit, t.BackoffMin<<(attempt+1))
	}
	if limit <= t.BackoffMin {
		return t.BackoffMin
	}
	return t.BackoffMin + rand.N(limit-t.BackoffMin)
}

// calm forgets earlier crashes.
func (s *supervisor) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt, s.crashes = 0, nil
}

// crashed keeps why the process is gone.
func (s *supervisor) crashed(p *process, err error) {
	var line string
	var tail []string
	why := err
	start := (*StartError)(nil)
	switch {
	case errors.As(err, &start):
		why, line, tail = start.Err, start.Line, start.Tail
	case p != nil:
		tail = p.runner.output.last()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before := s.lastError
	scrub := s.launch.roster.scrub()
	s.lastError, s.errorAt = scrub.message(err.Error()), now
	s.why, s.line, s.tail = scrub.message(why.Error()), line, tail
	s.crashes = append(slices.DeleteFunc(s.crashes, func(t time.Time) bool {
		return now.Sub(t) > s.launch.timing.CrashWindow
	}), now)
	s.attempt++
	for t := range s.tallies() {
		t.ending.Store(&Ending{Reason: s.lastError, At: now, Tail: tail})
	}
	level := slog.LevelError
	if s.launch.attached != nil && s.lastError == before {
		level = slog.LevelDebug // it is looked for every second
	}
	s.log.Log(context.Background(), level, "plugin is not running", "error", s.lastError)
}

// tallies of the addresses that the process serves. The caller holds mu.
func (s *supervisor) tallies() map[*tally]bool {
	all := map[*tally]bool{}
	for _, i := range s.instances {
		all[i.tally] = true
	}
	return all
}

// rest waits before the next start: a while, or, if the plugin has failed, until
// somebody asks.
func (s *supervisor) rest(ctx context.Context, err error) {
	t := s.launch.timing
	start := (*StartError)(nil)
	permanent := errors.As(err, &start) && start.Permanent
	s.mu.Lock()
	failed := permanent || len(s.crashes) >= t.Crashes
	wait := backoff(t, s.attempt-1)
	if s.launch.attached != nil {
		wait = min(wait, attachedPause)
	}
	s.mu.Unlock()
	if failed {
		s.set(Failed, nil)
		s.log.Error("plugin has failed and is not started again by itself",
			"remedy", fmt.Sprintf("kelpie plugin restart %s", s.launch.name))
		select {
		case <-ctx.Done():
		case <-s.restart:
			s.forgive()
		}
		return
	}
	s.set(Restarting, nil)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s.restart:
		s.forgive()
	case <-timer.C:
	}
}

// acquire gives the process for one call of an instance, as soon as it runs and is
// configured; instance.leave hands it back. The error is an *Error with NotSent.
func (s *supervisor) acquire(ctx context.Context, i *instance) (*process, error) {
	for waits := false; ; {
		s.mu.Lock()
		p, state, changed := s.process, s.state, s.changed
		ready, trouble, lastError := i.state == Running, i.trouble, s.lastError
		refused, left := i.state == Failed, i.state == Stopped
		if p != nil && p.endsWithin(0) {
			p, state = nil, Restarting // the supervisor is about to learn it
		}
		if p != nil && ready && ctx.Err() == nil {
			p.calls.enter()
			i.calls.enter()
			s.mu.Unlock()
			return p, nil
		}
		stopping := !s.deadline.IsZero()
		s.mu.Unlock()
		e := &Error{Instance: i.Address, Reason: sdk.Failed, Fault: sdk.FaultPlugin, NotSent: true}
		switch {
		case left:
			e.Reason, e.Fault, e.Message = sdk.Retry, "", "it was replaced or removed meanwhile; nothing was sent"
			return nil, e
		case p == nil && state == Restarting && s.launch.attached != nil:
			e.Reason, e.Err = sdk.Retry, ErrCrashed
			e.Message = fmt.Sprintf("plugin %q is attached, and nobody serves %s now; start it again with --debug", i.Plugin, s.launch.attached.Socket)
			return nil, e
		case state == Stopped || stopping:
			e.Err, e.Fault, e.Message = ErrStopped, "", "Kelpie stops"
			return nil, e
		case state == Failed:
			e.Err = ErrFailed
			e.Message = fmt.Sprintf("plugin %q has failed (%s); \"kelpie plugin restart %s\" starts it again", i.Plugin, lastError, i.Plugin)
			return nil, e
		case p != nil && refused:
			e.Err = ErrFailed
			e.Message = fmt.Sprintf("plugin %q refuses the configuration: %s", i.Plugin, trouble)
			return nil, e
		}
		if !waits {
			waits = true
			i.tally.waiting.Add(1)
			defer i.tally.waiting.Add(-1)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			e := i.ended(ctx.Err())
			e.NotSent = true
			if errors.Is(e.Err, context.DeadlineExceeded) {
				e.Message = fmt.Sprintf("plugin %q was not up in time: it is %s", i.Plugin, state)
			}
			return nil, e
		}
	}
}
