package respond

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

// sink is a vendor. It counts what took effect, by key, and may do so late.
type sink struct {
	effects  map[string]int
	unmarked map[string]int // effects of calls that did not say that they may be repeats
	late     []lateEffect
}

type lateEffect struct {
	key string
	at  time.Time
}

// catchUp lets what was under way take effect.
func (s *sink) catchUp() {
	rest := s.late[:0]
	for _, l := range s.late {
		if l.at.After(time.Now()) {
			rest = append(rest, l)
			continue
		}
		s.effects[l.key]++
	}
	s.late = rest
}

func (s *sink) effect(c Call, idempotent bool) model.IntentState {
	if idempotent && s.effects[c.Key] > 0 {
		return model.IntentAlready
	}
	s.effects[c.Key]++
	if c.Attempt == 1 {
		s.unmarked[c.Key]++
	}
	return model.IntentDone
}

// world is a responder's surroundings, which crash now and then: from then on nothing
// that this life of it does has any consequence.
type world struct {
	*memoryJournal
	decider *decider
	sink    sink
	draws   []int // what happens, one for each occasion
	dead    bool
	died    func()
	vendor  sync.Mutex // guards sink and early
	// early are the intents of holds that were told unknown while on their way.
	early []string
}

func (w *world) intent(id string) model.Intent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.intents[id]
}

var errCrash = errors.New("crashed")

// occasions are what may happen, each as likely as the other.
var occasions = func() (all []int) {
	for i := range 24 {
		all = append(all, i)
	}
	return all
}()

// draw says what happens this time: a number below n, most often 0.
func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.draws) == 0 {
		return 0
	}
	d := w.draws[0]
	w.draws = w.draws[1:]
	return d % n
}

// crash tells whether this life is over, which it may be from here on.
func (w *world) crash(now bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now && !w.dead {
		w.dead = true
		w.died()
	}
	if w.dead {
		return errCrash
	}
	return nil
}

func (w *world) Claim(ctx context.Context, a Attempt) error {
	if err := w.crash(w.draw(8) == 7); err != nil {
		return err
	}
	if err := w.memoryJournal.Claim(ctx, a); err != nil {
		return err
	}
	return w.crash(w.draw(8) == 7)
}

func (w *world) ClaimFirst(ctx context.Context, firsts []Attempt, can func(*model.Intent) bool) ([]Claimed, error) {
	return claimFirst(ctx, w, firsts, can)
}

func (w *world) SaveAttempt(ctx context.Context, a Attempt) error {
	if err := w.crash(w.draw(8) == 7); err != nil {
		return err
	}
	if w.draw(6) == 5 {
		return errDisk
	}
	if err := w.memoryJournal.SaveAttempt(ctx, a); err != nil {
		return err
	}
	return w.crash(w.draw(8) == 7)
}

func (w *world) Report(ctx context.Context, o model.Outcome) error {
	if err := w.crash(w.draw(8) == 7); err != nil {
		return err
	}
	w.heard(o)
	if err := w.decider.Report(ctx, o); err != nil {
		return err
	}
	return w.crash(w.draw(8) == 7)
}

// heard notes an outcome that is told too early.
func (w *world) heard(o model.Outcome) {
	in := w.intent(o.Intent)
	w.vendor.Lock()
	defer w.vendor.Unlock()
	w.sink.catchUp()
	if in.Hold != "" && o.State == model.IntentUnknown {
		for _, l := range w.sink.late {
			if l.key == in.ID {
				w.early = append(w.early, in.ID)
			}
		}
	}
}

func (w *world) Execute(_ context.Context, c Call) (Result, error) {
	if err := w.crash(w.draw(8) == 7); err != nil {
		return Result{}, err // before it was sent
	}
	w.vendor.Lock()
	defer w.vendor.Unlock()
	w.sink.catchUp()
	verb := testActions[c.Action].Verbs[c.Verb]
	switch w.draw(6) {
	case 1:
		return Result{State: model.IntentFailed}, nil
	case 2: // the answer is lost, and nothing happened
		return Result{}, errors.New("no answer")
	case 3: // the answer is lost, and it happened
		w.sink.effect(c, verb.Idempotent)
		return Result{}, errors.New("no answer")
	case 4: // the answer is lost, and it happens later
		if (verb.Check || w.intent(c.Key).Hold != "") && !verb.Idempotent {
			w.sink.late = append(w.sink.late, lateEffect{c.Key, c.NotAfter.Add(verb.Settle - time.Millisecond)})
		}
		return Result{}, errors.New("no answer")
	case 5:
		return Result{State: model.IntentRefused}, nil
	}
	state := w.sink.effect(c, verb.Idempotent)
	if err := w.crash(w.draw(8) == 7); err != nil {
		return Result{}, err // before the answer came
	}
	return Result{State: state}, nil
}

func (w *world) Undo(ctx context.Context, c Call) (Result, error) {
	if in := w.intent(c.Key); in.Undoes == "" || !c.Undo || string(c.UndoToken) != "token" {
		return Result{State: model.IntentRefused, Message: "that is no undo"}, nil
	}
	return w.Execute(ctx, c)
}

func (w *world) Check(_ context.Context, c Call) (Result, error) {
	if err := w.crash(w.draw(8) == 7); err != nil {
		return Result{}, err
	}
	w.vendor.Lock()
	defer w.vendor.Unlock()
	w.sink.catchUp()
	switch {
	case w.draw(6) == 5:
		return Result{}, errors.New("no answer")
	case w.sink.effects[c.Key] > 0:
		return Result{State: model.IntentDone}, nil
	}
	return Result{State: model.IntentFailed}, nil
}

// TestEffectsAreOnce: through crashes at any point, whatever the action answers, an
// intent takes effect once at most, and what is said of it is true.
func TestEffectsAreOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 5 {
			rapid.Check(struct{ testing.TB }{t}, oneWorld) // in a bubble there is no Deadline
		}
	})
}

func oneWorld(t *rapid.T) {
	verbs := []string{"plain", "checked", "idempotent", "both", Notify}
	j := newMemoryJournal()
	for i, verb := range rapid.SliceOfN(rapid.SampledFrom(verbs), 1, 6).Draw(t, "verbs") {
		in := intent(fmt.Sprintf("%s-%d", verb, i), verb)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1: // what is held
			in.Hold = "h-" + in.ID
		case 2: // and an undo
			in.Hold, in.Undoes, in.UndoToken = "h-"+in.ID, "i-"+in.ID, []byte("token")
		}
		j.add(in)
	}
	w := &world{
		memoryJournal: j, decider: &decider{journal: j},
		sink:  sink{effects: map[string]int{}, unmarked: map[string]int{}},
		draws: rapid.SliceOfN(rapid.SampledFrom(occasions), 0, 80).Draw(t, "what happens"),
	}
	lives(t, w)
	w.sink.catchUp()
	if len(w.early) > 0 {
		t.Errorf("%v were told unknown while they were on their way", w.early)
	}
	for id, in := range j.intents {
		w.judge(t, id, in)
	}
}

// lives runs responders one after the other until every intent has its outcome.
func lives(t *rapid.T, w *world) {
	for life := int64(1); ; life++ {
		w.dead, w.epoch = false, life
		over := make(chan struct{})
		w.died = func() { close(over) }
		g := begin(t, w.memoryJournal, w, func(r *Responder) {
			r.Settings.Workers, r.Epoch = 1, life
			r.Journal, r.Reporter = w, w
		})
		deadline := time.NewTimer(24 * time.Hour)
		tick := time.NewTicker(time.Minute)
		for pending := true; pending; {
			select {
			case <-over:
				pending = false
			case <-tick.C:
				actions, _ := w.PendingActions(context.Background())
				pending = len(actions) > 0
			case <-deadline.C:
				t.Fatal("not done in a day")
			}
		}
		deadline.Stop()
		tick.Stop()
		g.stop()
		if !w.dead {
			return
		}
	}
}

func (w *world) judge(t *rapid.T, id string, in model.Intent) {
	n := w.sink.effects[id]
	verb := testActions[in.Action].Verbs[in.Verb]
	switch in.State {
	case model.IntentDone, model.IntentAlready:
		if n == 0 {
			t.Errorf("%s is %s, and did not happen", id, in.State)
		}
	case model.IntentFailed, model.IntentRefused:
		// A refusal speaks of its own call; before it, one may have got lost that a
		// resend was allowed for.
		if n > 0 && !verb.Idempotent && in.Verb != Notify {
			t.Errorf("%s is %s, and happened", id, in.State)
		}
	case model.IntentUnknown:
		if verb.Check && len(w.draws) > 0 && w.attemptsOf(id) == nil {
			t.Errorf("%s is unknown without an attempt", id)
		}
	default:
		t.Errorf("%s is %q", id, in.State)
	}
	if in.Verb != Notify && n > 1 {
		t.Errorf("%s took effect %d times", id, n)
	}
	if in.Verb == Notify && w.sink.unmarked[id] > 1 {
		t.Errorf("%s was sent %d times without a mark", id, w.sink.unmarked[id])
	}
	for _, o := range w.decider.of(id) {
		if in.Verb == Notify && n > 1 && !o.Repeat && o.State == model.IntentDone {
			t.Errorf("%s was sent %d times, and its outcome does not say so", id, n)
		}
	}
}
