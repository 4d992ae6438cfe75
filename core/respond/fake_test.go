package respond

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("no room on the disk")

// memoryJournal keeps to the contract of Journal. Its funcs come before what they are
// named for, if they are set.
type memoryJournal struct {
	mu       sync.Mutex
	epoch    int64
	paused   bool
	order    []string
	intents  map[string]model.Intent
	attempts map[string][]Attempt

	claim func(Attempt) error
	save  func(Attempt) error
	read  func(intent string) error
}

func newMemoryJournal(all ...model.Intent) *memoryJournal {
	j := &memoryJournal{intents: map[string]model.Intent{}, attempts: map[string][]Attempt{}}
	for _, in := range all {
		j.add(in)
	}
	return j
}

func (j *memoryJournal) add(in model.Intent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if in.State == "" {
		in.State = model.IntentPending
	}
	j.intents[in.ID] = in
	j.order = append(j.order, in.ID)
}

func (j *memoryJournal) pause(on bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.paused = on
}

func (j *memoryJournal) Paused(context.Context) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.paused, nil
}

func (j *memoryJournal) PendingActions(context.Context) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[string]bool{}
	var actions []string
	for _, in := range j.intents {
		if !in.State.Final() && !all[in.Action] {
			all[in.Action] = true
			actions = append(actions, in.Action)
		}
	}
	return actions, nil
}

func (j *memoryJournal) PendingIntents(_ context.Context, action string, limit int) ([]Waiting, error) {
	all := j.pending(action)
	slices.SortFunc(all, Waiting.compare)
	return all[:min(limit, len(all))], nil
}

func (j *memoryJournal) OldestIntents(_ context.Context, action string, limit int) ([]Waiting, error) {
	all := j.pending(action)
	return all[:min(limit, len(all))], nil
}

// pending are an action's, the oldest first.
func (j *memoryJournal) pending(action string) (all []Waiting) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, id := range j.order {
		if in := j.intents[id]; in.Action == action && !in.State.Final() {
			all = append(all, waitingOf(&in, int64(i+1)))
		}
	}
	return all
}

func (j *memoryJournal) Journal(_ context.Context, intent string) (model.Intent, []Attempt, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.read != nil {
		if err := j.read(intent); err != nil {
			return model.Intent{}, nil, err
		}
	}
	return j.intents[intent], slices.Clone(j.attempts[intent]), nil
}

func (j *memoryJournal) Claim(_ context.Context, a Attempt) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.epoch > a.Epoch:
		return ErrFenced
	case j.paused:
		return ErrPaused
	case j.intents[a.Intent].State.Final() || a.Number != len(j.attempts[a.Intent])+1:
		return ErrSettled
	}
	if j.claim != nil {
		if err := j.claim(a); err != nil {
			return err
		}
	}
	j.attempts[a.Intent] = append(j.attempts[a.Intent], a)
	return nil
}

func (j *memoryJournal) ClaimFirst(ctx context.Context, firsts []Attempt, can func(*model.Intent) bool) ([]Claimed, error) {
	return claimFirst(ctx, j, firsts, can)
}

// claimFirst claims one after the other.
func claimFirst(ctx context.Context, j Journal, firsts []Attempt, can func(*model.Intent) bool) ([]Claimed, error) {
	var written []Claimed
	for _, a := range firsts {
		in, attempts, err := j.Journal(ctx, a.Intent)
		if err != nil {
			return nil, err
		}
		if len(attempts) > 0 || in.State.Final() || !can(&in) {
			continue
		}
		if err := j.Claim(ctx, a); err != nil {
			return nil, err
		}
		written = append(written, Claimed{Intent: in, Attempt: a})
	}
	return written, nil
}

func (j *memoryJournal) SaveAttempt(_ context.Context, a Attempt) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.save != nil {
		if err := j.save(a); err != nil {
			return err
		}
	}
	j.attempts[a.Intent][a.Number-1] = a
	return nil
}

func (j *memoryJournal) attemptsOf(intent string) []Attempt {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.attempts[intent])
}

// decider settles what is reported, as decide does, and counts.
type decider struct {
	journal  *memoryJournal
	tell     func(changed, planned []model.Intent, place int64) // what was committed
	report   func(model.Outcome) error
	outcomes map[string][]model.Outcome
}

func (d *decider) Report(_ context.Context, o model.Outcome) error {
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	if d.report != nil {
		if err := d.report(o); err != nil {
			return err
		}
	}
	if d.outcomes == nil {
		d.outcomes = map[string][]model.Outcome{}
	}
	d.outcomes[o.Intent] = append(d.outcomes[o.Intent], o)
	in := d.journal.intents[o.Intent]
	in.State = o.State
	d.journal.intents[o.Intent] = in
	if d.tell != nil {
		d.tell([]model.Intent{in}, nil, 0)
	}
	return nil
}

func (d *decider) of(intent string) []model.Outcome {
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	return slices.Clone(d.outcomes[intent])
}

// caller is an action of funcs.
type caller struct {
	execute func(ctx context.Context, c Call) (Result, error)
	undo    func(ctx context.Context, c Call) (Result, error)
	check   func(ctx context.Context, c Call) (Result, error)
}

func (c caller) Execute(ctx context.Context, call Call) (Result, error) { return c.execute(ctx, call) }

func (c caller) Undo(ctx context.Context, call Call) (Result, error) {
	if c.undo == nil {
		return Result{}, errors.New("asked to undo, though it can't")
	}
	return c.undo(ctx, call)
}

func (c caller) Check(ctx context.Context, call Call) (Result, error) {
	if c.check == nil {
		return Result{}, errors.New("asked, though it can't tell")
	}
	return c.check(ctx, call)
}

// Verbs of action.edr in tests.
var testActions = map[string]Action{
	"action.edr": {Timeout: 10 * time.Second, Verbs: map[string]Verb{
		"plain":      {},
		"checked":    {Check: true, Settle: 5 * time.Second},
		"idempotent": {Idempotent: true},
		"both":       {Check: true, Idempotent: true},
		Notify:       {},
	}},
	"action.dead": {Timeout: 10 * time.Second, Verbs: map[string]Verb{"plain": {}}},
}

func intent(id, verb string) model.Intent {
	return model.Intent{ID: id, Action: "action.edr", Verb: verb, Target: model.Target{Kind: "host", Value: id}}
}

type rig struct {
	*Responder
	journal *memoryJournal
	decider *decider
	wake    chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}
}

// begin runs a responder until the test ends or stop.
func begin(t interface{ Errorf(string, ...any) }, j *memoryJournal, c Caller, change func(*Responder)) *rig {
	g := &rig{journal: j, decider: &decider{journal: j}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	g.Responder = &Responder{
		Settings: Settings{Actions: testActions}, Journal: j, Caller: c, Reporter: g.decider,
		Log: slog.New(slog.DiscardHandler), Epoch: j.epoch, Now: time.Now,
	}
	g.decider.tell = g.Committed
	if change != nil {
		change(g.Responder)
	}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.ended)
		if err := g.Run(ctx, g.wake); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return g
}

func (g *rig) stop() {
	g.cancel()
	<-g.ended
}
