package respond

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Errors of Journal.Claim.
var (
	// ErrPaused means that actions are paused: nothing is claimed.
	ErrPaused = errors.New("actions are paused")
	// ErrFenced means that a later epoch has begun: another responder has taken over.
	ErrFenced = errors.New("another responder has taken over")
	// ErrSettled means that the intent waits for no attempt of this number.
	ErrSettled = errors.New("the intent is not waiting for this attempt")
)

// Backlog is what waits to be carried out.
type Backlog interface {
	// Paused tells whether actions are paused.
	Paused(ctx context.Context) (bool, error)
	// PendingActions lists the actions that have pending intents.
	PendingActions(ctx context.Context) ([]string, error)
	// PendingIntents lists an action's pending intents, the most urgent first;
	// OldestIntents the oldest first.
	PendingIntents(ctx context.Context, action string, limit int) ([]Waiting, error)
	OldestIntents(ctx context.Context, action string, limit int) ([]Waiting, error)
}

// Claimed is an attempt that is in the journal, and what it is of.
type Claimed struct {
	Intent  model.Intent
	Attempt Attempt
}

// Journal is the durable record of intents and attempts.
type Journal interface {
	Backlog
	// Journal returns an intent and its attempts, by number.
	Journal(ctx context.Context, intent string) (model.Intent, []Attempt, error)
	// Claim writes a new attempt; durable when it returns. Nothing was written if it
	// fails with ErrPaused, ErrFenced or ErrSettled.
	Claim(ctx context.Context, a Attempt) error
	// ClaimFirst writes the first attempts of several intents, in one transaction, and
	// gives those that it wrote, with their intents: none of an intent that has an
	// attempt or is not pending, or that can refuses. Durable when it returns. Nothing
	// was written if it fails with ErrPaused or ErrFenced. can may be called more than
	// once for each.
	ClaimFirst(ctx context.Context, firsts []Attempt, can func(*model.Intent) bool) ([]Claimed, error)
	// SaveAttempt writes what became of a claimed attempt; durable when it returns.
	SaveAttempt(ctx context.Context, a Attempt) error
}

// Caller calls actions.
type Caller interface {
	// Execute, Undo and Check return an error if no outcome was learnt. They obey ctx.
	Execute(ctx context.Context, call Call) (Result, error)
	Undo(ctx context.Context, call Call) (Result, error)
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
	// Attempt is 1, and higher by each earlier attempt that may have taken effect.
	Attempt int
	// Undo: it is what UndoToken undoes, or a check of that.
	Undo      bool
	UndoToken []byte
	// Maker is who was in force when the attempt was claimed.
	Maker Maker
}

// Result of a call. State is never pending.
type Result struct {
	State     model.IntentState
	Reference string
	UndoToken []byte
	// SameKey: it is already so because of an earlier call with the same key.
	SameKey bool
	Message string
	// RetryAfter is the vendor's wish, with a failure that may pass.
	RetryAfter time.Duration
	// Unavailable: it failed since it could not be called.
	Unavailable bool
}

func (r Result) kind() string {
	if r.Unavailable {
		return KindUnavailable
	}
	return KindFailed
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
	// Links gives the parameters of a call, with where their reader can answer, and what
	// takes that out of what the connector says (nil: nothing has to be); it is asked
	// for calls alone, so that nothing else has it. nil: there are no links.
	Links func(in model.Intent) (parameters []byte, hide func(string) string)
	// Uptime of the machine in the life of it that boot names, empty if nobody knows;
	// nil: only the clock is known.
	Uptime func() (boot string, uptime time.Duration)

	applied atomic.Pointer[Settings] // nil: Settings hold

	mu       sync.Mutex
	stats    map[string]Stat
	schedule *schedule // while Run runs
}

// Run carries out intents until ctx ends; then it waits for the calls that are under
// way, which have their own deadlines, and writes down and reports what became of
// them. It reads the journal at each value of wake, every few seconds, and when Committed
// tells of something that it can't take up at once.
func (r *Responder) Run(ctx context.Context, wake <-chan struct{}) error {
	s := newSchedule(ctx, r)
	r.use(s)
	defer r.use(nil)
	defer s.close()
	look := true
	for ctx.Err() == nil {
		if look || s.wants() {
			s.look()
		}
		s.start()
		timer := time.NewTimer(s.idle())
		look = false
		select {
		case <-ctx.Done():
		case <-wake:
			look = true
		case <-s.change:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// Apply goes on by other settings, which must not change afterwards, from each intent's
// next turn on; calls that are under way end by those under which they began.
func (r *Responder) Apply(s Settings) { r.applied.Store(&s) }

func (r *Responder) settings() *Settings {
	if s := r.applied.Load(); s != nil {
		return s
	}
	return &r.Settings
}

func (r *Responder) use(s *schedule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule = s
}
