package respond

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// carrier is a task in its turn.
type carrier struct {
	*task
	log *slog.Logger
	s   *schedule
	// read: intent and attempts are what the journal has.
	read     bool
	intent   model.Intent
	attempts []Attempt
}

// carryOut does what is to be done about an intent until it has ended or has to wait.
// When the schedule's ctx ends it begins nothing more, but brings home what it has begun.
func (s *schedule) carryOut(t *task) step {
	return s.r.carry(s.ctx, &carrier{task: t, log: s.r.Log.With("intent", t.Intent), s: s}, nil)
}

// carryClaimed makes the call of a first attempt that is in the journal, and goes on
// from there.
func (s *schedule) carryClaimed(t *task, c Claimed) step {
	fault.Point(fault.AttemptClaimed)
	carrier := &carrier{
		task: t, log: s.r.Log.With("intent", t.Intent), s: s,
		read: true, intent: c.Intent, attempts: []Attempt{c.Attempt},
	}
	return s.r.carry(s.ctx, carrier, func() (time.Time, error) { return s.r.execute(s.ctx, carrier) })
}

// carry takes turns, beginning with the first if there is one.
func (r *Responder) carry(ctx context.Context, c *carrier, first func() (time.Time, error)) step {
	for {
		var next time.Time
		var err error
		if first != nil {
			next, err = first()
			first = nil
		} else {
			next, err = r.turn(ctx, c)
		}
		now := r.Now()
		switch {
		case errors.Is(err, errTold):
			return step{told: true}
		case errors.Is(err, errEnded):
			return step{}
		case errors.Is(err, ErrPaused):
			return step{paused: true}
		case errors.Is(err, ErrFenced):
			return step{fenced: true}
		case err != nil:
			c.log.Error("an intent can't be carried on; trying again", "error", err)
			return step{again: now.Add(firstRetry)}
		case next.After(now), !c.working:
			return step{again: maxTime(next, now)}
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

var (
	// errEnded means that nothing more is done about an intent in this turn.
	errEnded = errors.New("nothing more to do")
	// errTold means that its outcome is reported.
	errTold = errors.New("its outcome is reported")
)

// turn does one thing about an intent, and says when the next may be done.
func (r *Responder) turn(ctx context.Context, c *carrier) (time.Time, error) {
	if !c.read {
		var err error
		if c.intent, c.attempts, err = r.journal(ctx, c.Intent); err != nil {
			return time.Time{}, fmt.Errorf("reading the journal: %w", err)
		}
		c.read = true
	}
	if c.intent.State.Final() {
		return time.Time{}, errEnded
	}
	if n := len(c.attempts); n > 0 && c.attempts[n-1].Number == c.uncalled && c.attempts[n-1].Epoch == r.Epoch && c.attempts[n-1].State == "" {
		return r.notCalled(ctx, c)
	}
	todo := r.settings().next(c.intent, c.attempts)
	switch {
	case todo.what == report:
		if wait := r.early(c.intent, c.attempts, todo.outcome); wait > 0 && ctx.Err() == nil {
			return r.Now().Add(wait), nil
		} else if wait > 0 {
			return time.Time{}, errEnded
		}
		return time.Time{}, r.report(ctx, todo.outcome)
	case ctx.Err() != nil:
		return time.Time{}, errEnded // the next start goes on
	case todo.at.After(r.Now()):
		return todo.at, nil
	case todo.what == check:
		return r.check(ctx, c)
	}
	return r.try(ctx, c)
}

// notCalled writes that the last attempt was only claimed.
func (r *Responder) notCalled(ctx context.Context, c *carrier) (time.Time, error) {
	a := &c.attempts[len(c.attempts)-1]
	a.State, a.Message, a.Uncalled = model.IntentFailed, "it was claimed and never called", true
	return a.Again, r.settle(ctx, c, *a)
}

func (r *Responder) journal(ctx context.Context, intent string) (model.Intent, []Attempt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	return r.Journal.Journal(ctx, intent)
}

// report tells decide, also when all is to stop: what is known is worth a moment.
func (r *Responder) report(ctx context.Context, o model.Outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	if err := r.Reporter.Report(ctx, o); err != nil {
		return fmt.Errorf("reporting an outcome: %w", err)
	}
	return errTold
}

// attempt is the claim of an intent's next one, at once.
func (r *Responder) attempt(intent, action string, number int) Attempt {
	now := r.Now()
	a := Attempt{
		Intent: intent, Number: number, Epoch: r.Epoch,
		Claimed: now, NotAfter: now.Add(r.settings().timeout(action)), Maker: r.settings().Actions[action].Maker,
	}
	a.Boot, a.Uptime = r.uptime()
	return a
}

// try claims an attempt and makes its call.
func (r *Responder) try(ctx context.Context, c *carrier) (time.Time, error) {
	a := r.attempt(c.intent.ID, c.intent.Action, len(c.attempts)+1)
	c.read = false // until it is known what came of it
	if err := r.claim(ctx, a); err != nil {
		if errors.Is(err, ErrSettled) {
			return r.Now().Add(firstRetry), nil
		}
		c.uncalled = a.Number
		return time.Time{}, fmt.Errorf("claiming an attempt: %w", err)
	}
	c.uncalled = 0
	c.attempts = append(c.attempts, a)
	fault.Point(fault.AttemptClaimed)
	return r.execute(ctx, c)
}

// execute makes the call of the last attempt, which is claimed, and writes down what
// became of it.
func (r *Responder) execute(ctx context.Context, c *carrier) (time.Time, error) {
	last := len(c.attempts) - 1
	a := c.attempts[last]
	left := a.NotAfter.Sub(r.Now())
	if left <= 0 { // the disk took all the time there was
		return r.notCalled(ctx, c)
	}
	// A call that has begun is not cut off by a stop: its outcome is worth waiting
	// for, until its own deadline.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	if !c.s.enter(ctx, left-r.settings().timeout(c.intent.Action)/2, c.task) {
		return r.notCalled(ctx, c)
	}
	began := r.Now()
	res, err := r.perform(callCtx, c.intent, a, countLost(c.attempts[:last]))
	fault.Point(fault.ActionAnswered)
	c.s.called(c.task, r.Now().Sub(began))
	if err != nil {
		res = Result{State: model.IntentUnknown, Message: err.Error()}
	}
	return r.learn(ctx, c, r.learnt(c.intent, a, res))
}

// learn writes down what became of the last attempt. If that is the end of the intent
// it is reported at once: the report alone is durable enough, since after a crash
// nothing is carried on before decide has read it.
func (r *Responder) learn(ctx context.Context, c *carrier, a Attempt) (time.Time, error) {
	c.attempts[len(c.attempts)-1] = a
	todo := r.settings().next(c.intent, c.attempts)
	if todo.what != report || r.early(c.intent, c.attempts, todo.outcome) > 0 {
		return a.Again, r.settle(ctx, c, a)
	}
	var settling sync.WaitGroup
	defer settling.Wait()
	settling.Go(func() { _ = r.settle(ctx, c, a) })
	return time.Time{}, r.report(ctx, todo.outcome)
}

func (r *Responder) claim(ctx context.Context, a Attempt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	return r.Journal.Claim(ctx, a)
}

// check asks what became of an attempt whose answer was lost.
func (r *Responder) check(ctx context.Context, c *carrier) (time.Time, error) {
	in, a := c.intent, c.attempts[len(c.attempts)-1]
	if !c.s.enter(ctx, r.settings().timeout(in.Action), c.task) {
		return time.Time{}, errEnded
	}
	callCtx, cancel := context.WithTimeout(ctx, r.settings().timeout(in.Action))
	defer cancel()
	res, err := r.Caller.Check(callCtx, call(in, a, 1))
	c.s.leave(c.task)
	if ctx.Err() != nil && err != nil {
		return time.Time{}, errEnded
	}
	now, unsettled := r.Now(), r.unsettled(in, a)
	switch {
	case err != nil:
		a.State, a.Message = model.IntentUnknown, "asked what became of it: "+err.Error()
		a.Checks++
		a.Again = now.Add(backoff(a.Checks))
		r.trouble(in.Action, a.Message)
	case unsettled > 0 && (res.State == model.IntentFailed || res.State == model.IntentUnknown):
		// It may still be on its way: ask again when it can't be any more.
		a.State, a.Message, a.Again = model.IntentUnknown, res.Message, now.Add(unsettled)
	case res.State == model.IntentUnknown:
		// The vendor itself can't tell: asking again is no use.
		a.State, a.Message, a.Checks, a.Again = model.IntentUnknown, res.Message, MaxChecks, time.Time{}
	default:
		a = r.learnt(in, a, res)
	}
	return r.learn(ctx, c, a)
}

// learnt is the attempt with its outcome.
func (r *Responder) learnt(in model.Intent, a Attempt, res Result) Attempt {
	if len(res.UndoToken) > 0 {
		a.UndoToken = res.UndoToken
	}
	if res.Reference != "" {
		a.Reference = res.Reference
	}
	a.State, a.Message, a.Again = res.State, res.Message, time.Time{}
	if res.State == model.IntentAlready && res.SameKey {
		a.State = model.IntentDone // by an earlier attempt
	}
	switch a.State {
	case model.IntentFailed, model.IntentUnknown:
		retry := r.settings().retry(&in)
		a.Again = r.Now().Add(max(retry.pause(a.Number), min(res.RetryAfter, longestRetry)))
		if a.State == model.IntentFailed && !slices.Contains(retry.On, res.kind()) {
			a.Again = time.Time{} // see final
		}
		r.trouble(in.Action, res.Message)
	case model.IntentDone, model.IntentAlready:
		r.trouble(in.Action, "")
	}
	return a
}

// settle writes what became of an attempt, for as long as it takes: who forgets it
// would have to treat it as lost. When all is to stop it tries a few times more.
func (r *Responder) settle(ctx context.Context, c *carrier, a Attempt) error {
	for stopping := 0; ; {
		err := r.save(ctx, a)
		if err == nil {
			return nil
		}
		c.log.Error("what became of a call can't be written down; trying again", "state", a.State, "error", err)
		wait := firstRetry
		if ctx.Err() != nil {
			if stopping++; stopping >= stopTries {
				return errEnded
			}
			wait = stopRetry
		}
		timer := time.NewTimer(wait)
		if stopping > 0 {
			<-timer.C
			continue
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (r *Responder) save(ctx context.Context, a Attempt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	return r.Journal.SaveAttempt(ctx, a)
}

func call(in model.Intent, a Attempt, attempt int) Call {
	return Call{
		Action: in.Action, Verb: in.Verb, Target: in.Target, Parameters: in.Parameters,
		Key: in.ID, NotAfter: a.NotAfter, DryRun: in.DryRun, Attempt: attempt,
		Undo: in.Undoes != "", UndoToken: in.UndoToken, Maker: a.Maker,
	}
}
