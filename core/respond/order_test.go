package respond

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// recorder is an action that takes a while and notes in what order it was called.
type recorder struct {
	mu    sync.Mutex
	keys  []string
	takes time.Duration
}

func (r *recorder) call(_ context.Context, c Call) (Result, error) {
	r.mu.Lock()
	r.keys = append(r.keys, c.Key)
	r.mu.Unlock()
	time.Sleep(r.takes)
	return Result{State: model.IntentDone}, nil
}

func (r *recorder) called() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.keys)
}

func scored(id string, score model.Hundredths) model.Intent {
	in := intent(id, "plain")
	in.Score, in.State = score, model.IntentPending
	return in
}

// TestUrgentGoesBeforeAFlood: behind a flood of low cases, one high one has the next
// worker that is free, and the oldest of the flood have their share.
func TestUrgentGoesBeforeAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		for i := range 3 * laneLimit {
			j.add(scored(fmt.Sprintf("low-%d", i), 100+model.Hundredths(i)))
		}
		r := &recorder{takes: time.Second}
		g := begin(t, j, caller{execute: r.call}, func(r *Responder) { r.Settings.Workers = 1 })
		defer g.stop()
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		before := len(r.called())
		late := scored("soon", 9000)
		late.Deadline = time.Now().Add(time.Hour)
		high := []model.Intent{scored("none", 9000), late, scored("highest", 9500)}
		for _, in := range high {
			j.add(in)
		}
		g.Committed(high, high, 3*laneLimit+1)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		after := r.called()[before:]
		// One of them may have met the turn of the oldest.
		order := slices.DeleteFunc(slices.Clone(after), func(k string) bool { return k[:3] == "low" })
		if len(after) != 6 || !slices.Equal(order, []string{"highest", "soon", "none"}) || slices.Index(after, "none") > 3 {
			t.Errorf("called %v after the high ones came", after)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		all := r.called()
		for i := range len(all) / fairShare / 2 {
			if !slices.Contains(all, fmt.Sprintf("low-%d", i)) {
				t.Errorf("of %d calls none was for low-%d, one of the oldest", len(all), i)
			}
		}
		if !slices.Contains(all, fmt.Sprintf("low-%d", 3*laneLimit-1)) {
			t.Errorf("of %d calls none was for the highest of the flood", len(all))
		}
	})
}

// TestBacklogIsNotRead: however much waits for a dead action, little of it is in
// memory, and other actions are not held up.
func TestBacklogIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		for i := range laneLimit + 500 {
			in := scored(fmt.Sprintf("dead-%d", i), 100)
			in.Action = "action.dead"
			j.add(in)
		}
		g := begin(t, j, caller{execute: func(ctx context.Context, c Call) (Result, error) {
			if c.Action == "action.dead" {
				return Result{State: model.IntentFailed}, nil // and at once
			}
			return Result{State: model.IntentDone}, nil
		}}, nil)
		defer g.stop()
		for range 5 {
			time.Sleep(time.Minute)
			synctest.Wait()
			s := g.schedule
			s.mu.Lock()
			l := s.lanes["action.dead"]
			known, retry, ready := len(l.known), len(l.retry), len(l.ready)
			s.mu.Unlock()
			if known > laneLimit || retry > retryLimit || ready > window+retryLimit {
				t.Fatalf("%d known, %d to be tried again, %d ready", known, retry, ready)
			}
		}
		in := scored("alive", 1)
		j.add(in)
		g.Committed([]model.Intent{in}, []model.Intent{in}, 1)
		time.Sleep(relook + time.Millisecond)
		synctest.Wait()
		if len(g.decider.of("alive")) != 1 {
			t.Error("another action's intent was held up")
		}
	})
}

// TestReserve: workers are for what was claimed with its intent, as many as are free
// and only while nothing else waits for one.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemoryJournal()
		r := &recorder{takes: time.Second}
		g := begin(t, j, caller{execute: r.call}, func(r *Responder) { r.Settings.Workers = 2 })
		// commit is what decide and the store do.
		commit := func(all ...model.Intent) []Attempt {
			v := g.Reserve(all)
			for _, in := range all {
				j.add(in)
			}
			written := v.Attempts()
			for _, a := range written {
				if err := j.Claim(t.Context(), a); err != nil {
					t.Error(err)
				}
			}
			v.Carry(written)
			g.Committed(all, all, 1)
			return written
		}
		if v := g.Reserve([]model.Intent{scored("early", 1)}); v != nil {
			v.Release()
		}
		synctest.Wait()
		gone := intent("gone", "plain")
		gone.Action = "action.gone"
		done := scored("done", 9999)
		done.State = model.IntentDone
		gone.State = model.IntentPending
		got := commit(scored("a", 1), scored("b", 3), scored("c", 2), done, gone)
		if len(got) != 2 || got[0].Intent != "b" || got[1].Intent != "c" {
			t.Fatalf("reserved %+v, want b and c", got)
		}
		if got := commit(scored("d", 9)); len(got) != 0 {
			t.Errorf("reserved %+v while nobody was free", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := slices.Sorted(slices.Values(r.called())); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
			t.Errorf("called %v, want each once", got)
		}
		for _, id := range []string{"a", "b", "c", "d"} {
			if a := j.attemptsOf(id); len(a) != 1 || a[0].State != model.IntentDone || len(g.decider.of(id)) != 1 {
				t.Errorf("%s: attempts %+v, outcomes %+v", id, a, g.decider.of(id))
			}
		}
		// A commit that fails gives the workers back, and the intents go the other way.
		v := g.Reserve([]model.Intent{scored("e", 1), scored("f", 1)})
		if len(v.Attempts()) != 2 {
			t.Fatalf("reserved %+v, want e and f", v.Attempts())
		}
		v.Release()
		j.add(scored("e", 1))
		g.Committed([]model.Intent{scored("e", 1)}, []model.Intent{scored("e", 1)}, 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(g.decider.of("e")) != 1 || len(g.decider.of("f")) != 0 {
			t.Errorf("outcomes of e %v, of f %v", g.decider.of("e"), g.decider.of("f"))
		}
		v = g.Reserve([]model.Intent{scored("g", 1)})
		g.cancel()
		synctest.Wait()
		select {
		case <-g.ended:
			t.Error("it ended while a worker was reserved")
		default:
		}
		v.Release()
		g.stop()
		if v := g.Reserve([]model.Intent{scored("h", 1)}); len(v.Attempts()) != 0 {
			t.Errorf("reserved %+v after the end", v.Attempts())
		}
	})
}
