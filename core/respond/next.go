package respond

import (
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// what is to be done next about an intent.
type what int

const (
	try what = iota
	check
	report
)

// todo is the next thing to do, at the earliest at a time.
type todo struct {
	what    what
	at      time.Time // zero: now
	outcome model.Outcome
}

// next decides from the journal alone, so that a restart goes on where the crash
// was. An attempt without outcome was cut off by a crash, one that is unknown by a
// lost answer: both may have taken effect.
func (s *Settings) next(in model.Intent, attempts []Attempt) todo {
	action, configured := s.Actions[in.Action]
	configured = configured && action.can(in)
	verb := action.Verbs[in.Verb]
	if len(attempts) == 0 {
		if !configured {
			return todo{what: report, outcome: model.Outcome{
				Intent: in.ID, State: model.IntentFailed,
				Message: in.Action + " is not configured any more; nothing was done",
			}}
		}
		return todo{what: try}
	}
	last := attempts[len(attempts)-1]
	more := configured && countCalled(attempts) < s.retry(&in).Times
	switch {
	case !last.lost() && last.State != model.IntentFailed:
		return todo{what: report, outcome: outcome(in, attempts, last.State)}
	case last.State == model.IntentFailed && more && !last.final():
		return todo{what: try, at: last.Again}
	case last.State == model.IntentFailed:
		return todo{what: report, outcome: outcome(in, attempts, model.IntentFailed)}
	}
	// No outcome, or a lost answer.
	resend := in.DryRun || in.Verb == Notify || verb.Idempotent && !action.other(in, last)
	switch {
	case !in.DryRun && verb.Check && last.Checks < s.maxChecks():
		return todo{what: check, at: last.Again}
	case resend && more && countLost(attempts) < MaxLost:
		return todo{what: try, at: last.Again}
	case in.DryRun: // nothing can have happened
		return todo{what: report, outcome: outcome(in, attempts, model.IntentFailed)}
	}
	return todo{what: report, outcome: outcome(in, attempts, model.IntentUnknown)}
}

// other tells whether an attempt was, or may have been, somebody else's than who is in
// force now: then nobody knows whether the same key does it once.
func (a Action) other(in model.Intent, last Attempt) bool {
	if in.Undoes != "" {
		return a.Others
	}
	return last.Maker.Instance != "" && last.Maker.Instance != a.Maker.Instance
}

func (s *Settings) maxAttempts() int {
	if s.MaxAttempts == 0 {
		return DefaultMaxAttempts
	}
	return s.MaxAttempts
}

// maxChecks is lower where somebody waits for the end.
func (s *Settings) maxChecks() int { return min(MaxChecks, s.maxAttempts()) }

func (s *Settings) timeout(action string) time.Duration {
	if t := s.Actions[action].Timeout; t > 0 {
		return t
	}
	return DefaultTimeout
}

// can tells whether the configuration has who does what an intent wants.
func (s *Settings) can(in *model.Intent) bool {
	action, configured := s.Actions[in.Action]
	return configured && action.can(*in)
}

func (s *Settings) workers() int {
	if s.Workers == 0 {
		return DefaultWorkers
	}
	return s.Workers
}

// final tells whether an attempt failed in a way after which there is no other.
func (a Attempt) final() bool {
	return a.State == model.IntentFailed && !a.Uncalled && a.Again.IsZero()
}

func countLost(attempts []Attempt) int {
	n := 0
	for _, a := range attempts {
		if a.lost() {
			n++
		}
	}
	return n
}

func outcome(in model.Intent, attempts []Attempt, state model.IntentState) model.Outcome {
	last := attempts[len(attempts)-1]
	o := model.Outcome{
		Intent: in.ID, State: state, Attempts: len(attempts),
		Reference: last.Reference, UndoToken: last.UndoToken, Message: last.Message,
		// Only a lost answer can have been an effect; a failure is known to be none.
		Repeat: in.Verb == Notify && countLost(attempts[:len(attempts)-1]) > 0,
	}
	if o.Message == "" && last.lost() {
		o.Message = fmt.Sprintf("attempt %d has no answer, and nothing tells what became of it", last.Number)
	}
	return o
}

// backoff before the attempt that follows the n-th.
func backoff(n int) time.Duration {
	d := firstRetry
	for range n - 1 {
		if d *= 2; d >= lastRetry {
			return lastRetry
		}
	}
	return d
}
