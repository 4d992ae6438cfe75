package respond

import (
	"github.com/kelpie-sec/kelpie/core/model"
)

// lostForGood is the state of an attempt whose answer was lost and of which Check,
// too, could say nothing.
const lostForGood model.IntentState = "lost"

// what is to be done next about an intent.
type what int

const (
	try what = iota
	check
	report
)

type todo struct {
	what    what
	outcome model.Outcome
}

// next decides from the journal alone, so that a restart goes on where the crash
// was. An attempt of an older epoch without outcome was cut off by a crash; one of
// this epoch by a lost answer: both may have taken effect.
func (r *Responder) next(in model.Intent, attempts []Attempt) todo {
	if len(attempts) == 0 {
		return todo{what: try}
	}
	last := attempts[len(attempts)-1]
	verb := r.verb(in)
	switch last.State {
	case model.IntentDone, model.IntentAlready, model.IntentRefused:
		return todo{what: report, outcome: outcome(last, last.State, attempts, in)}
	case model.IntentFailed:
		if last.Retry && len(attempts) < r.maxAttempts() {
			return todo{what: try}
		}
		return todo{what: report, outcome: outcome(last, model.IntentFailed, attempts, in)}
	case lostForGood:
		return todo{what: report, outcome: outcome(last, model.IntentUnknown, attempts, in)}
	}
	// No outcome, or a lost answer.
	switch {
	case in.DryRun, verb.Idempotent, in.Verb == Notify:
		if lost(attempts) >= MaxLost || len(attempts) >= r.maxAttempts() {
			return todo{what: report, outcome: outcome(last, model.IntentUnknown, attempts, in)}
		}
		return todo{what: try}
	case verb.Check:
		return todo{what: check}
	}
	return todo{what: report, outcome: outcome(last, model.IntentUnknown, attempts, in)}
}

func (r *Responder) maxAttempts() int {
	if r.Settings.MaxAttempts == 0 {
		return DefaultMaxAttempts
	}
	return r.Settings.MaxAttempts
}

// lost counts the attempts that may have taken effect without our knowing.
func lost(attempts []Attempt) int {
	n := 0
	for _, a := range attempts {
		if a.State != model.IntentFailed {
			n++
		}
	}
	return n
}

func (r *Responder) verb(in model.Intent) Verb {
	return r.Settings.Actions[in.Action].Verbs[in.Verb]
}

func outcome(a Attempt, state model.IntentState, attempts []Attempt, in model.Intent) model.Outcome {
	repeat := false
	for _, before := range attempts[:len(attempts)-1] {
		// Only a lost answer can have been an effect; a failure is known to be none.
		repeat = repeat || before.State != model.IntentFailed
	}
	return model.Outcome{
		Intent: a.Intent, State: state, Attempts: len(attempts),
		Reference: a.Reference, UndoToken: a.UndoToken, Message: a.Message,
		Repeat: repeat && in.Verb == Notify,
	}
}
