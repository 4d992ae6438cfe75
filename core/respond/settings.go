// Package respond carries out intents: it claims each in the journal, calls the
// action, and reports the outcome. An intent may be tried more than once; it
// never takes effect twice by Respond's doing.
//
// What may separate a call from its outcome is a crash. The journal therefore
// holds an attempt before its call. An attempt without outcome is asked about
// (Check) where the connector can tell, sent again where the vendor takes one key
// once, sent again and marked where the verb is notify, and otherwise left to a
// person as unknown.
package respond

import (
	"cmp"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Settings of responding.
type Settings struct {
	// Actions by address.
	Actions map[string]Action
	// Workers is how many intents of one action are carried out at once;
	// 0: DefaultWorkers. An action that hangs holds up no other.
	Workers int
	// MaxAttempts bounds the calls for one intent; 0: DefaultMaxAttempts.
	MaxAttempts int
	// Retries says of steps, as "response.contain.isolate", how they are tried again; of
	// others it is as Default says.
	Retries map[string]Retry
}

// Retry is how a step is tried again.
type Retry struct {
	// On are the kinds of errors after which it is.
	On []string
	// Times is how often it is tried in all.
	Times int
	// First is the pause after the first try, which doubles up to Most.
	First, Most time.Duration
}

// The kinds of errors after which it is known that nothing has happened.
const (
	// KindFailed: the action says so.
	KindFailed = "failed"
	// KindUnavailable: it could not be called.
	KindUnavailable = "unavailable"
)

// Kinds are all of them.
func Kinds() []string { return []string{KindFailed, KindUnavailable} }

// previewTries bounds the tries of a dry run that somebody waits for.
const previewTries = 3

// retry is how an intent is tried again. An undo is tried as long as ever.
func (s *Settings) retry(in *model.Intent) Retry {
	r, ok := s.Retries[in.Response+"."+in.Step]
	if !ok || in.Undoes != "" {
		r = Retry{On: Kinds(), Times: s.maxAttempts(), First: firstRetry, Most: lastRetry}
	}
	if in.Preview {
		r.Times = min(r.Times, previewTries)
	}
	return r
}

// pause after the n-th try.
func (r Retry) pause(n int) time.Duration {
	d := r.First
	for range n - 1 {
		if d *= 2; d >= r.Most {
			return r.Most
		}
	}
	return d
}

// Action is one action instance.
type Action struct {
	// Timeout of one call; nothing takes effect after it.
	Timeout time.Duration
	Verbs   map[string]Verb
	// Answers: it hands back what people chose.
	Answers bool
	// Maker is who does it now.
	Maker Maker
	// Others: what was done here may be another's, whose verbs promise something else.
	Others bool
	// UndoOnly: the configuration has it no more, and it is there to undo what it holds.
	UndoOnly bool
}

// Maker is an action instance as it was when it did something: who takes its address
// later can't undo that.
type Maker struct {
	// Instance names plugin, connector and configuration.
	Instance string `json:"instance"`
	// Config is the hash of a configuration that has it.
	Config string `json:"config"`
}

// Verb is what the connector said of it.
type Verb struct {
	Check      bool
	Idempotent bool
	// Settle is how long after a call's not_after its effect may still come to light.
	Settle time.Duration
}

// Defaults and bounds.
const (
	DefaultWorkers = 16
	DefaultTimeout = 30 * time.Second
	// DefaultMaxAttempts is about an hour of trying what fails and may pass.
	DefaultMaxAttempts = 64
	// MaxLost bounds the calls whose answers were lost: each may have taken effect,
	// or reached a reader, already.
	MaxLost = 3
	// MaxChecks bounds the questions about one lost answer that bring no answer
	// either: some minutes, in which a plugin comes back.
	MaxChecks = 10
	// firstRetry and lastRetry bound the wait between attempts, which doubles. A
	// vendor may ask for more, up to longestRetry.
	firstRetry   = time.Second
	lastRetry    = time.Minute
	longestRetry = time.Hour
	// claimAhead is how many intents of an action that answers quickly are claimed while
	// its workers are busy, so that none of them waits for the disk. What is claimed is
	// called before what is more urgent and comes later: a moment, as long as calls take
	// no longer than quickCall, as the last one. What has no turn within half of its time
	// is not called, and waits as before.
	claimAhead = 128
	quickCall  = 50 * time.Millisecond
	// laneLimit is how many intents of one action are taken up at once: called, waiting
	// for their next attempt (retryLimit at most), or reported and not yet committed.
	// The others wait in the journal, of which window are looked at at a time.
	laneLimit  = 2048
	retryLimit = 1024
	window     = 128
	// fairShare: of so many turns one goes to the oldest, however urgent the others are.
	fairShare = 8
	// relook bounds how often the journal is read for what is more urgent.
	relook = 10 * time.Millisecond
	// rescan is how often the journal is read without being woken.
	rescan = 5 * time.Second
	// ioTimeout bounds one use of the journal or the log, which a stop does not cut
	// off.
	ioTimeout = 10 * time.Second
	// stopTries is how often an outcome is written in vain when all is to stop.
	stopTries = 5
	stopRetry = 200 * time.Millisecond
)

// Notify is the verb that is sent again after a lost answer.
const Notify = "notify"

// Attempt is one try of an intent, in the journal before its call.
type Attempt struct {
	Intent   string    `json:"intent"`
	Number   int       `json:"number"` // from 1
	Epoch    int64     `json:"epoch"`
	Claimed  time.Time `json:"claimed"`
	NotAfter time.Time `json:"not_after"`
	// Maker is whom the call was for; zero in attempts of before that was noted. Of an
	// undo it says nothing: that goes to who did what it undoes.
	Maker Maker `json:"maker,omitzero"`
	// Boot and Uptime tell when it was claimed by a clock that nobody can set.
	Boot   string        `json:"boot,omitempty"`
	Uptime time.Duration `json:"uptime,omitempty"`
	// State is empty until the outcome is known; IntentUnknown: the answer was lost.
	State     model.IntentState `json:"state,omitempty"`
	Reference string            `json:"reference,omitempty"`
	UndoToken []byte            `json:"undo_token,omitempty"`
	Message   string            `json:"message,omitempty"`
	// Uncalled: it was claimed only, and is no attempt that counts.
	Uncalled bool `json:"uncalled,omitempty"`
	// Checks counts the questions about a lost answer that brought none either.
	Checks int `json:"checks,omitempty"`
	// Again is when the next thing may be done about the intent.
	Again time.Time `json:"again,omitzero"`
}

// countCalled is how many attempts were made, or may have been.
func countCalled(attempts []Attempt) (n int) {
	for _, a := range attempts {
		if !a.Uncalled {
			n++
		}
	}
	return n
}

// lost tells whether the attempt may have taken effect without our knowing.
func (a Attempt) lost() bool { return a.State == "" || a.State == model.IntentUnknown }

// Waiting is a pending intent, and what its turn depends on.
type Waiting struct {
	Intent string
	// Score of its case; the higher goes first.
	Score model.Hundredths
	// Deadline by which it should have taken effect; of equal scores the nearer goes
	// first. Zero: none.
	Deadline time.Time
	// Place in the order of planning; the lower goes first of what is equal in all else.
	Place int64
}

func waitingOf(in *model.Intent, place int64) Waiting {
	return Waiting{Intent: in.ID, Score: in.Score, Deadline: in.Deadline, Place: place}
}

// compare is below 0 if w is more urgent than o.
func (w Waiting) compare(o Waiting) int {
	if c := cmp.Compare(o.Score, w.Score); c != 0 {
		return c
	}
	switch {
	case w.Deadline.Equal(o.Deadline):
	case w.Deadline.IsZero():
		return 1
	case o.Deadline.IsZero():
		return -1
	default:
		return w.Deadline.Compare(o.Deadline)
	}
	return cmp.Or(cmp.Compare(w.Place, o.Place), cmp.Compare(w.Intent, o.Intent))
}
