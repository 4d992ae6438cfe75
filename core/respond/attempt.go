package respond

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// carryOut does what is to be done about an intent until it has ended or has to wait.
// When ctx ends it begins nothing more, but brings home what it has begun.
func (r *Responder) carryOut(ctx context.Context, t *task) step {
	log := r.Log.With("intent", t.Intent)
	for {
		next, err := r.turn(ctx, t, log)
		now := r.Now()
		switch {
		case errors.Is(err, errEnded):
			return step{}
		case errors.Is(err, ErrPaused):
			return step{paused: true}
		case errors.Is(err, ErrFenced):
			return step{fenced: true}
		case err != nil:
			log.Error("an intent can't be carried on; trying again", "error", err)
			return step{again: now.Add(firstRetry)}
		case next.After(now):
			return step{again: next}
		}
	}
}

// errEnded means that there is nothing more to do about an intent, for now or for good.
var errEnded = errors.New("nothing more to do")

// turn does one thing about an intent, and says when the next may be done.
func (r *Responder) turn(ctx context.Context, t *task, log *slog.Logger) (time.Time, error) {
	in, attempts, err := r.read(ctx, t.Intent)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the journal: %w", err)
	}
	if in.State.Final() {
		return time.Time{}, errEnded
	}
	if n := len(attempts); n > 0 && attempts[n-1].Number == t.uncalled && attempts[n-1].State == "" {
		a := attempts[n-1]
		a.State, a.Message = model.IntentFailed, "it was claimed and never called"
		return a.Again, r.settle(ctx, a, log)
	}
	todo := r.settings().next(in, attempts)
	switch {
	case todo.what == report:
		if wait := r.early(in, attempts, todo.outcome); wait > 0 && ctx.Err() == nil {
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
		return r.check(ctx, in, attempts[len(attempts)-1], log)
	}
	return r.try(ctx, in, attempts, t, log)
}

func (r *Responder) read(ctx context.Context, intent string) (model.Intent, []Attempt, error) {
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
	return errEnded
}

// try claims an attempt and makes its call.
func (r *Responder) try(ctx context.Context, in model.Intent, attempts []Attempt, t *task, log *slog.Logger) (time.Time, error) {
	now := r.Now()
	a := Attempt{
		Intent: in.ID, Number: len(attempts) + 1, Epoch: r.Epoch,
		Claimed: now, NotAfter: now.Add(r.settings().timeout(in.Action)),
	}
	a.Boot, a.Uptime = r.uptime()
	if err := r.claim(ctx, a); err != nil {
		if errors.Is(err, ErrSettled) {
			return time.Time{}, errEnded
		}
		t.uncalled = a.Number
		return time.Time{}, fmt.Errorf("claiming an attempt: %w", err)
	}
	t.uncalled = 0
	fault.Point(fault.AttemptClaimed)
	// A call that has begun is not cut off by a stop: its outcome is worth waiting
	// for, until its own deadline.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.NotAfter.Sub(r.Now()))
	defer cancel()
	res, err := r.perform(callCtx, in, a, countLost(attempts))
	fault.Point(fault.ActionAnswered)
	if err != nil {
		res = Result{State: model.IntentUnknown, Message: err.Error()}
	}
	a = r.learnt(in, a, res)
	return a.Again, r.settle(ctx, a, log)
}

func (r *Responder) claim(ctx context.Context, a Attempt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	return r.Journal.Claim(ctx, a)
}

// check asks what became of an attempt whose answer was lost.
func (r *Responder) check(ctx context.Context, in model.Intent, a Attempt, log *slog.Logger) (time.Time, error) {
	callCtx, cancel := context.WithTimeout(ctx, r.settings().timeout(in.Action))
	defer cancel()
	res, err := r.Caller.Check(callCtx, call(in, a, 1))
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
	return a.Again, r.settle(ctx, a, log)
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
		a.Again = r.Now().Add(max(backoff(a.Number), min(res.RetryAfter, longestRetry)))
		r.trouble(in.Action, res.Message)
	case model.IntentDone, model.IntentAlready:
		r.trouble(in.Action, "")
	}
	return a
}

// settle writes what became of an attempt, for as long as it takes: who forgets it
// would have to treat it as lost. When all is to stop it tries a few times more.
func (r *Responder) settle(ctx context.Context, a Attempt, log *slog.Logger) error {
	for stopping := 0; ; {
		err := r.save(ctx, a)
		if err == nil {
			return nil
		}
		log.Error("what became of a call can't be written down; trying again", "state", a.State, "error", err)
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
		Undo: in.Undoes != "", UndoToken: in.UndoToken,
	}
}
