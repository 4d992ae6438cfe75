package respond

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// slow is an action that notes how many of its calls are made at once.
type slow struct {
	takes     time.Duration
	now, most atomic.Int32
	calls     atomic.Int32
}

func (s *slow) call(context.Context, Call) (Result, error) {
	s.calls.Add(1)
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for {
		most := s.most.Load()
		if n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	time.Sleep(s.takes)
	return Result{State: model.IntentDone}, nil
}

// TestClaimsAhead: while an action answers quickly, more is claimed than is called; not
// so while it is slow. Never are more called at once than there are workers.
func TestClaimsAhead(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		ahead int
	}{{quickCall, claimAhead}, {quickCall + time.Millisecond, 0}} {
		t.Run(c.takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const workers, all = 4, 200
				j := newMemoryJournal()
				for i := range all {
					j.add(scored(fmt.Sprint(i), 100))
				}
				s := &slow{takes: c.takes}
				g := begin(t, j, caller{execute: s.call}, func(r *Responder) { r.Settings.Workers = workers })
				defer g.stop()
				time.Sleep(5*c.takes + c.takes/2)
				synctest.Wait()
				if claimed, called := claimedOf(j, all), int(s.calls.Load()); claimed-called != c.ahead {
					t.Errorf("%d claimed and %d called, want %d ahead", claimed, called, c.ahead)
				}
				if most := s.most.Load(); most != workers {
					t.Errorf("%d calls at once, want %d", most, workers)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := s.calls.Load(); n != all {
					t.Errorf("%d calls, want %d", n, all)
				}
			})
		})
	}
}

func claimedOf(j *memoryJournal, all int) (n int) {
	for i := range all {
		n += len(j.attemptsOf(fmt.Sprint(i)))
	}
	return n
}

// hanging is an action that answers at once, or, while it hangs, that it has done
// nothing when its time is over.
type hanging struct {
	hangs   atomic.Bool
	mu      sync.Mutex
	begun   map[string]int // calls
	effects map[string]int
}

func newHanging() *hanging { return &hanging{begun: map[string]int{}, effects: map[string]int{}} }

func (h *hanging) call(ctx context.Context, c Call) (Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun[c.Key]++
	if h.hangs.Load() {
		h.mu.Unlock()
		<-ctx.Done()
		h.mu.Lock()
		return Result{State: model.IntentFailed, Message: "busy"}, nil
	}
	h.effects[c.Key]++
	return Result{State: model.IntentDone}, nil
}

func (h *hanging) calls() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.begun {
		n += b
	}
	return n
}

// ahead has one worker at an action that was quick and hangs now, and 19 intents claimed
// of which one is called.
func ahead(t *testing.T) (*hanging, *rig) {
	j, h := newMemoryJournal(scored("0", 100)), newHanging()
	g := begin(t, j, caller{execute: h.call}, func(r *Responder) { r.Settings.Workers = 1 })
	time.Sleep(time.Second)
	synctest.Wait()
	h.hangs.Store(true)
	for i := 1; i < 20; i++ {
		j.add(scored(fmt.Sprint(i), 100))
	}
	g.wake <- struct{}{}
	synctest.Wait()
	if claimed, called := claimedOf(j, 20), h.calls(); claimed != 20 || called != 2 {
		t.Errorf("%d claimed and %d called, want all 20, and the first and one more", claimed, called)
	}
	return h, g
}

func neverCalled(j *memoryJournal, all int) (n int) {
	for i := range all {
		for _, a := range j.attemptsOf(fmt.Sprint(i)) {
			if a.Uncalled && a.State == model.IntentFailed {
				n++
			}
		}
	}
	return n
}

// TestClaimedAndNeverCalled: an action was quick and hangs now. What was claimed ahead
// and has no turn within half of its time is not called; nothing more is claimed ahead,
// and each is called once in the end.
func TestClaimedAndNeverCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := ahead(t)
		defer g.stop()
		time.Sleep(testActions["action.edr"].Timeout - time.Second)
		synctest.Wait()
		if never, claimed, called := neverCalled(g.journal, 20), claimedOf(g.journal, 20), h.calls(); never != 18 || claimed != 20 || called != 2 {
			t.Errorf("%d of %d claims were never called, and %d were; want 18 of 20, and 2", never, claimed, called)
		}
		h.hangs.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i := range 20 {
			if n := h.effects[fmt.Sprint(i)]; n != 1 {
				t.Errorf("%d took effect %d times", i, n)
			}
		}
	})
}

// TestPauseHoldsBackWhatIsClaimed: so does a stop.
func TestPauseHoldsBackWhatIsClaimed(t *testing.T) {
	for name, hold := range map[string]func(*rig){
		"pause": func(g *rig) {
			g.journal.pause(true)
			g.wake <- struct{}{}
		},
		"stop": func(g *rig) { g.cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, g := ahead(t)
				hold(g)
				synctest.Wait()
				h.hangs.Store(false)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := h.calls(); n != 2 {
					t.Errorf("%d calls, want none but those that had begun", n)
				}
				if n := neverCalled(g.journal, 20); n != 18 {
					t.Errorf("%d claims are known to be no calls, want 18", n)
				}
				g.stop()
			})
		})
	}
}

// TestAnEarlierLifesCallIsNotDeniedByAFailedClaim: a call that a crash has cut off stays
// one, also if it was to be claimed with others and that failed.
func TestAnEarlierLifesCallIsNotDeniedByAFailedClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut, other := intent("cut", "plain"), intent("other", "plain")
		j := newMemoryJournal(cut, other)
		j.epoch = 2
		j.attempts["cut"] = []Attempt{{Intent: "cut", Number: 1, Epoch: 1, Claimed: time.Now(), NotAfter: time.Now()}}
		failed := false
		h := newHanging()
		g := begin(t, j, caller{execute: h.call}, nil)
		j.mu.Lock()
		j.claim = func(Attempt) error {
			if !failed {
				failed = true
				return errDisk
			}
			return nil
		}
		j.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		g.stop()
		if got := g.decider.of("cut"); len(got) != 1 || got[0].State != model.IntentUnknown || h.begun["cut"] != 0 {
			t.Errorf("outcomes %+v after %d calls, want unknown after none", got, h.begun["cut"])
		}
		if got := g.decider.of("other"); !failed || len(got) != 1 || got[0].State != model.IntentDone || h.begun["other"] != 1 {
			t.Errorf("outcomes %+v after %d calls, want done after one", got, h.begun["other"])
		}
	})
}
