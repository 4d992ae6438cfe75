package respond

import (
	"context"
	"errors"
	"slices"
	"time"
)

// claimFirst claims the first attempts of several of a lane's tasks at once, since each
// transaction is a wait for the disk, and gives all of them their turn.
func (s *schedule) claimFirst(l *lane, tasks []*task) {
	claimed, failed := s.claims(l.action, tasks)
	s.mu.Lock()
	l.claiming = false
	s.mu.Unlock()
	s.changed()
	for _, t := range tasks {
		c, ok := claimed[t.Intent]
		switch {
		case failed != nil:
			s.finish(t, *failed)
		case ok:
			s.running.Go(func() { s.finish(t, s.carryClaimed(t, c)) })
		default: // something was tried before, or can't be
			s.carry(t)
		}
	}
}

// claims writes the claims, and gives those that were written by their intents; or what
// becomes of all the tasks instead.
func (s *schedule) claims(action string, tasks []*task) (map[string]Claimed, *step) {
	if s.ctx.Err() != nil {
		return nil, &step{}
	}
	firsts := make([]Attempt, len(tasks))
	for i, t := range tasks {
		firsts[i] = s.r.attempt(t.Intent, action, 1)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), ioTimeout)
	defer cancel()
	written, err := s.r.Journal.ClaimFirst(ctx, firsts, s.r.settings().can)
	switch {
	case errors.Is(err, ErrPaused):
		return nil, &step{paused: true}
	case errors.Is(err, ErrFenced):
		return nil, &step{fenced: true}
	case err != nil:
		s.r.Log.Error("intents can't be claimed; trying again", "action", action, "intents", len(tasks), "error", err)
		for _, t := range tasks {
			t.uncalled = 1
		}
		return nil, &step{again: s.r.Now().Add(firstRetry)}
	}
	claimed := make(map[string]Claimed, len(written))
	for _, c := range written {
		claimed[c.Attempt.Intent] = c
	}
	return claimed, nil
}

// calling is how an action is called: by so many at once, and who comes first is next.
type calling struct {
	running int
	next    []chan struct{}
	// quick: what it was last called for was done quickly.
	quick bool
}

// enter waits until a task's call may be made. It is false if that is not within so
// long, if all is to stop, and while actions are paused or another responder has taken
// over: what was claimed ahead is held back as well. Then the task's place is free again.
func (s *schedule) enter(stop context.Context, within time.Duration, t *task) bool {
	c := &t.lane.calls
	turn, ok := s.queue(c)
	if turn != nil {
		ok = s.await(stop, within, c, turn)
	}
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release(t)
	}
	return ok
}

// queue takes a turn at an action if one is free, or gives what tells of it.
func (s *schedule) queue(c *calling) (turn chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.paused || s.fenced:
		return nil, false
	case c.running < s.r.settings().workers():
		c.running++
		return nil, true
	}
	turn = make(chan struct{})
	c.next = append(c.next, turn)
	return turn, false
}

// await is false if the turn does not come in time, or is not to be used any more.
func (s *schedule) await(stop context.Context, within time.Duration, c *calling, turn chan struct{}) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	late := false
	select {
	case <-turn:
	case <-stop.Done():
		late = true
	case <-timer.C:
		late = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.quick = c.quick && !late
	if i := slices.Index(c.next, turn); i >= 0 {
		c.next = slices.Delete(c.next, i, i+1)
		return false
	}
	if late || s.paused || s.fenced {
		s.yield(c)
		return false
	}
	return true
}

// yield gives the place of a call to who is next.
func (s *schedule) yield(c *calling) {
	c.running--
	for c.running < s.r.settings().workers() && len(c.next) > 0 {
		c.running++
		close(c.next[0])
		c.next = c.next[1:]
	}
}

// called ends a task's call, which took so long.
func (s *schedule) called(t *task, took time.Duration) {
	s.mu.Lock()
	t.lane.calls.quick = took <= quickCall
	s.mu.Unlock()
	s.leave(t)
}

// leave ends a task's turn at its action, and gives its place to others.
func (s *schedule) leave(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.yield(&t.lane.calls)
	s.release(t)
}
