package respond

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Reservation holds workers for intents that are about to be committed. It is ended
// once, by Carry or Release. A nil one holds nothing.
type Reservation struct {
	s      *schedule
	claims []claim
}

type claim struct {
	task    *task
	intent  model.Intent
	attempt Attempt
}

// Reserve takes free workers for the first attempts of intents that are being
// committed, so that their claims can be in the same transaction and they need not be
// read back. What waits already goes first: an intent gets a worker only where nothing
// waits for one, and of several the most urgent do. None does while actions are paused
// or Run does not run. It does not block.
func (r *Responder) Reserve(planned []model.Intent) *Reservation {
	r.mu.Lock()
	s := r.schedule
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.paused || s.fenced || !s.seen || s.ctx.Err() != nil {
		return nil
	}
	v := &Reservation{s: s}
	for _, in := range planned {
		if in.State == model.IntentPending && s.r.settings().can(&in) && !s.lane(in.Action).knows(in.ID) {
			v.claims = append(v.claims, claim{task: &task{Waiting: waitingOf(&in)}, intent: in})
		}
	}
	slices.SortFunc(v.claims, func(a, b claim) int { return a.task.compare(b.task.Waiting) })
	now := r.Now()
	v.claims = slices.DeleteFunc(v.claims, func(c claim) bool { return !s.reserve(c.task, c.intent.Action, now) })
	for i := range v.claims {
		v.claims[i].attempt = r.attempt(v.claims[i].intent, 1)
	}
	return v
}

// reserve gives a worker to a task if there is one and nothing else waits for it.
func (s *schedule) reserve(t *task, action string, now time.Time) bool {
	l := s.lane(action)
	l.comeDue(now)
	if l.behind || len(l.ready) > 0 || l.busy >= s.r.settings().workers() || len(l.known) >= laneLimit {
		return false
	}
	l.busy++
	l.known[t.Intent] = taken
	t.lane, t.working = l, true
	s.running.Add(1)
	return true
}

// Attempts to be written with the intents: those that are still to be claimed then.
func (v *Reservation) Attempts() []Attempt {
	if v == nil {
		return nil
	}
	all := make([]Attempt, len(v.claims))
	for i := range v.claims {
		all[i] = v.claims[i].attempt
	}
	return all
}

// Carry makes the calls of those attempts that were written, and are durable; the
// workers of the others are free again. It does not block.
func (v *Reservation) Carry(written []Attempt) {
	if v == nil {
		return
	}
	for _, c := range v.claims {
		if !slices.ContainsFunc(written, func(a Attempt) bool { return a.Intent == c.attempt.Intent }) {
			v.s.finish(c.task, step{})
			v.s.running.Done()
			continue
		}
		go func() {
			defer v.s.running.Done()
			fault.Point(fault.AttemptClaimed)
			v.s.finish(c.task, v.s.r.carryClaimed(v.s.ctx, c, v.s.release))
		}()
	}
}

// Release frees the workers: nothing was committed, or it is not known.
func (v *Reservation) Release() { v.Carry(nil) }

// Committed tells what decide has committed about intents. It does not block.
func (r *Responder) Committed(intents []model.Intent) {
	r.mu.Lock()
	s := r.schedule
	r.mu.Unlock()
	if s != nil {
		s.committed(intents)
	}
}
