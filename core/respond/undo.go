package respond

import (
	"context"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// An undo is an intent of its own, which names the one that it undoes: it is journaled,
// claimed, checked and reported by the same rules, under its own key.

// perform makes an attempt's call.
func (r *Responder) perform(ctx context.Context, in model.Intent, a Attempt, lost int) (Result, error) {
	if in.Undoes != "" {
		return r.Caller.Undo(ctx, call(in, a, 1+lost))
	}
	c := call(in, a, 1+lost)
	if r.Links == nil {
		return r.Caller.Execute(ctx, c)
	}
	var hide func(string) string
	c.Parameters, hide = r.Links(in)
	res, err := r.Caller.Execute(ctx, c)
	if hide != nil {
		res.Message, res.Reference = hide(res.Message), hide(res.Reference)
		if err != nil {
			err = hidden{err, hide}
		}
	}
	return res, err
}

// hidden is an error without what nobody but a reader may know.
type hidden struct {
	error
	hide func(string) string
}

func (h hidden) Error() string { return h.hide(h.error.Error()) }

func (h hidden) Unwrap() error { return h.error }

// can tells whether an action may be asked for what an intent wants.
func (a Action) can(in model.Intent) bool { return in.Undoes != "" || !a.UndoOnly }

// unsettled is how long an attempt may still take effect: until its not_after, and the
// verb's settling time after it. That is counted from the claim, by the machine's uptime
// where that is known, so that no change of the clock makes a call forgotten that is
// still on its way.
func (r *Responder) unsettled(in model.Intent, a Attempt) time.Duration {
	window := r.settings().Actions[in.Action].Verbs[in.Verb].Settle
	if a.Claimed.IsZero() {
		return a.NotAfter.Add(window).Sub(r.Now())
	}
	passed := max(r.Now().Sub(a.Claimed), 0)
	if boot, uptime := r.uptime(); boot != "" && boot == a.Boot {
		passed = max(uptime-a.Uptime, 0)
	}
	return a.NotAfter.Sub(a.Claimed) + window - passed
}

func (r *Responder) uptime() (boot string, uptime time.Duration) {
	if r.Uptime == nil {
		return "", 0
	}
	return r.Uptime()
}

// early is how long a report has to wait: that nobody knows whether a hold is in force
// is told when it can't change any more, since what is planned then may rely on it.
func (r *Responder) early(in model.Intent, attempts []Attempt, o model.Outcome) time.Duration {
	if in.Hold == "" || o.State != model.IntentUnknown {
		return 0
	}
	return r.unsettled(in, attempts[len(attempts)-1])
}
