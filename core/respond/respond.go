package respond

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Journal is the durable record of intents and attempts.
type Journal interface {
	// PendingIntents lists intents to carry out, oldest first; none while actions
	// are paused.
	PendingIntents(ctx context.Context) ([]model.Intent, error)
	// Attempts of an intent, by number.
	Attempts(ctx context.Context, intent string) ([]Attempt, error)
	// SaveAttempt writes a claim or what became of it; durable when it returns.
	SaveAttempt(ctx context.Context, a Attempt) error
}

// Caller calls actions.
type Caller interface {
	// Execute and Check return an error if no outcome was learnt. They obey ctx.
	Execute(ctx context.Context, call Call) (Result, error)
	Check(ctx context.Context, call Call) (Result, error)
}

// Reporter tells decide what became of an intent; durable when it returns.
type Reporter interface {
	Report(ctx context.Context, o model.Outcome) error
}

// Call is what an action is asked.
type Call struct {
	Action     string
	Verb       string
	Target     model.Target
	Parameters []byte
	Key        string
	NotAfter   time.Time
	DryRun     bool
	Attempt    int
}

// Result of a call. State is never pending.
type Result struct {
	State     model.IntentState
	Reference string
	UndoToken []byte
	Message   string
	// RetryAfter is the vendor's wish, with a failure that may pass.
	RetryAfter time.Duration
}

// Responder carries out intents.
type Responder struct {
	Settings Settings
	Journal  Journal
	Caller   Caller
	Reporter Reporter
	Log      *slog.Logger
	// Epoch of this process in the journal.
	Epoch int64
	// Now is the clock.
	Now func() time.Time

	mu       sync.Mutex
	inflight map[string]bool
}

// rescan is how often the journal is read without being woken, for intents whose
// reading or claiming failed.
const rescan = 5 * time.Second

// Run carries out intents until ctx ends, then waits for the calls that are under
// way, which have their own deadlines. Each value of wake, and some seconds
// without one, makes it read the journal.
func (r *Responder) Run(ctx context.Context, wake <-chan struct{}) error {
	r.mu.Lock()
	r.inflight = map[string]bool{}
	r.mu.Unlock()
	workers := r.Settings.Workers
	if workers == 0 {
		workers = DefaultWorkers
	}
	slots := make(chan struct{}, workers)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		intents, err := r.Journal.PendingIntents(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.Error("the journal can't be read; trying again", "error", err)
		}
		for _, in := range intents {
			if !r.take(in.ID) {
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			running.Go(func() {
				defer func() {
					<-slots
					r.release(in.ID)
				}()
				r.carryOut(ctx, in)
			})
		}
		timer := time.NewTimer(rescan)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (r *Responder) take(intent string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inflight[intent] {
		return false
	}
	r.inflight[intent] = true
	return true
}

func (r *Responder) release(intent string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inflight, intent)
}

// carryOut brings one intent to its end, or leaves it pending if ctx ends first.
func (r *Responder) carryOut(ctx context.Context, in model.Intent) {
	log := r.Log.With("intent", in.ID, "verb", in.Verb, "target", in.Target.Value)
	for ctx.Err() == nil {
		attempts, err := r.Journal.Attempts(ctx, in.ID)
		if err != nil {
			log.Error("the journal can't be read; trying again", "error", err)
			return
		}
		todo := r.next(in, attempts)
		var wait time.Duration
		switch todo.what {
		case report:
			if err := r.Reporter.Report(ctx, todo.outcome); err != nil && ctx.Err() == nil {
				log.Error("an outcome can't be reported; trying again", "error", err)
			} else if err == nil {
				return
			}
			wait = firstRetry
		case check:
			wait, err = r.check(ctx, in, attempts[len(attempts)-1])
		case try:
			wait, err = r.try(ctx, in, len(attempts)+1)
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Error("the journal can't be written; trying again", "error", err)
			}
			wait = firstRetry
		}
		sleep(ctx, wait)
	}
}

// try claims an attempt and makes its call.
func (r *Responder) try(ctx context.Context, in model.Intent, number int) (time.Duration, error) {
	now := r.Now()
	timeout := r.Settings.Actions[in.Action].Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	a := Attempt{Intent: in.ID, Number: number, Epoch: r.Epoch, Claimed: now, NotAfter: now.Add(timeout)}
	if err := r.Journal.SaveAttempt(ctx, a); err != nil {
		return 0, err
	}
	fault.Point(fault.AttemptClaimed)
	// A call that has begun is not cut off by a stop: its outcome is worth waiting
	// for, until its own deadline.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	res, err := r.Caller.Execute(callCtx, call(in, a))
	fault.Point(fault.ActionAnswered)
	if err != nil {
		res = Result{State: model.IntentUnknown, Message: err.Error()}
	}
	return r.learn(ctx, a, res)
}

// check asks what became of an attempt whose answer was lost.
func (r *Responder) check(ctx context.Context, in model.Intent, a Attempt) (time.Duration, error) {
	timeout := r.Settings.Actions[in.Action].Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := r.Caller.Check(callCtx, call(in, a))
	if ctx.Err() != nil {
		return 0, nil
	}
	settled := a.NotAfter.Add(r.verb(in).Settle)
	switch {
	case err != nil:
		res = Result{State: model.IntentUnknown, Message: "asked what became of it: " + err.Error()}
	case res.State == model.IntentFailed && r.Now().Before(settled):
		// It may still be on its way: ask again when it can't be any more.
		return max(settled.Sub(r.Now()), 0), nil
	}
	a.Message = res.Message
	if res.State == model.IntentUnknown {
		// Nothing was learnt: the attempt stays lost, and a person decides.
		a.State = lostForGood
		return 0, r.Journal.SaveAttempt(context.WithoutCancel(ctx), a)
	}
	return r.learn(ctx, a, res)
}

func (r *Responder) learn(ctx context.Context, a Attempt, res Result) (time.Duration, error) {
	if len(res.UndoToken) > 0 {
		a.UndoToken = res.UndoToken
	}
	a.State, a.Reference, a.Message = res.State, res.Reference, res.Message
	a.Retry = res.State == model.IntentFailed
	err := r.Journal.SaveAttempt(context.WithoutCancel(ctx), a)
	if a.Retry || a.State == model.IntentUnknown {
		return max(backoff(a.Number), res.RetryAfter), err
	}
	return 0, err
}

func call(in model.Intent, a Attempt) Call {
	return Call{
		Action: in.Action, Verb: in.Verb, Target: in.Target, Parameters: in.Parameters,
		Key: in.ID, NotAfter: a.NotAfter, DryRun: in.DryRun, Attempt: a.Number,
	}
}

// backoff before the attempt that follows the n-th.
func backoff(n int) time.Duration {
	d := firstRetry
	for range n - 1 {
		d = min(2*d, lastRetry)
	}
	return d
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
