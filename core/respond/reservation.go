package respond

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Reservation holds workers for intents that are about to be committed. It is ended
// once, by Carry or Release. A nil one holds nothing.
type Reservation struct {
	s     *schedule
	tasks []reserved
}

type reserved struct {
	*task
	Claimed
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
			v.tasks = append(v.tasks, reserved{&task{Waiting: waitingOf(&in, 0)}, Claimed{Intent: in}})
		}
	}
	slices.SortFunc(v.tasks, func(a, b reserved) int { return a.compare(b.Waiting) })
	now := r.Now()
	v.tasks = slices.DeleteFunc(v.tasks, func(t reserved) bool { return !s.reserve(t.task, t.Intent.Action, now) })
	for i := range v.tasks {
		t := &v.tasks[i]
		t.Attempt = r.attempt(t.Intent.ID, t.Intent.Action, 1)
	}
	return v
}

// reserve gives a worker to a task if there is one and nothing else waits for it.
func (s *schedule) reserve(t *task, action string, now time.Time) bool {
	l := s.lane(action)
	l.comeDue(now)
	if l.behind || len(l.ready) > 0 || l.busy >= s.places(l) || len(l.known) >= laneLimit {
		return false
	}
	t.lane = l
	l.begin(t)
	l.known[t.Intent] = taken
	s.running.Add(1)
	return true
}

// Attempts to be written with the intents: those that are still to be claimed then.
func (v *Reservation) Attempts() []Attempt {
	if v == nil {
		return nil
	}
	all := make([]Attempt, len(v.tasks))
	for i := range v.tasks {
		all[i] = v.tasks[i].Attempt
	}
	return all
}

// Carry makes the calls of those attempts that were written, and are durable; the
// workers of the others are free again. It does not block.
func (v *Reservation) Carry(written []Attempt) {
	if v == nil {
		return
	}
	for _, t := range v.tasks {
		if !slices.ContainsFunc(written, func(a Attempt) bool { return a.Intent == t.Attempt.Intent }) {
			v.s.finish(t.task, step{})
			v.s.running.Done()
			continue
		}
		go func() {
			defer v.s.running.Done()
			v.s.finish(t.task, v.s.carryClaimed(t.task, t.Claimed))
		}()
	}
}

// Release frees the workers: nothing was committed, or it is not known.
func (v *Reservation) Release() { v.Carry(nil) }

// Committed tells what decide has committed about intents; which of them are new, and
// their place in the order of planning. It does not block.
func (r *Responder) Committed(intents, planned []model.Intent, place int64) {
	r.mu.Lock()
	s := r.schedule
	r.mu.Unlock()
	if s != nil {
		s.committed(intents, planned, place)
	}
}
