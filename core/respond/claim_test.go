package respond

import (
	"context"
	"fmt"
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

// TestClaimedAndNeverCalled: an action was quick and hangs now. What was claimed ahead
// and had no turn while its time lasted was not called, is tried again, and is called
// once in the end; when all is to stop it is not begun.
func TestClaimedAndNeverCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		add := func(from, to int) {
			for i := from; i < to; i++ {
				j.add(scored(fmt.Sprint(i), 100))
			}
		}
		add(0, 1)
		var hangs atomic.Bool
		effects := map[string]int{}
		g := begin(t, j, caller{execute: func(ctx context.Context, c Call) (Result, error) {
			if hangs.Load() {
				<-ctx.Done()
				time.Sleep(time.Millisecond)                                   // by now the others' time is over as well
				return Result{State: model.IntentFailed, Message: "busy"}, nil // known not to have happened
			}
			effects[c.Key]++
			return Result{State: model.IntentDone}, nil
		}}, func(r *Responder) { r.Settings.Workers = 1 })
		time.Sleep(time.Second)
		synctest.Wait()
		hangs.Store(true)
		add(1, 20)
		g.wake <- struct{}{}
		time.Sleep(testActions["action.edr"].Timeout - time.Second)
		synctest.Wait()
		if n := claimedOf(j, 20); n != 20 {
			t.Errorf("%d claimed, want all 20", n)
		}
		time.Sleep(time.Second + 2*time.Millisecond)
		synctest.Wait()
		never := 0
		for i := 1; i < 20; i++ {
			if a := j.attemptsOf(fmt.Sprint(i)); a[0].State == model.IntentFailed && a[0].Message == "it was claimed and never called" {
				never++
			}
		}
		if never != 18 {
			t.Errorf("%d were claimed and never called, want all but the one that was called", never)
		}
		hangs.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i := range 20 {
			if n := effects[fmt.Sprint(i)]; n != 1 {
				t.Errorf("%d took effect %d times", i, n)
			}
		}
		hangs.Store(true)
		add(20, 30)
		g.wake <- struct{}{}
		time.Sleep(time.Second)
		synctest.Wait()
		g.stop()
		called := 0
		for i := 20; i < 30; i++ {
			for _, a := range j.attemptsOf(fmt.Sprint(i)) {
				if a.Message != "it was claimed and never called" {
					called++
				}
			}
		}
		if called != 1 {
			t.Errorf("%d were called, want the one that was under way", called)
		}
	})
}
