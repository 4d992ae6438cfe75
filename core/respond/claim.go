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
	// quick: the last one was answered quickly.
	quick bool
}

// enter waits until a task's call may be made, and is false if one of the two ends
// before.
func (s *schedule) enter(stop, call context.Context, t *task) bool {
	s.mu.Lock()
	c := &t.lane.calls
	if c.running < s.r.settings().workers() {
		c.running++
		s.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	c.next = append(c.next, turn)
	s.mu.Unlock()
	select {
	case <-turn:
	case <-stop.Done():
	case <-call.Done():
	}
	if stop.Err() == nil && call.Err() == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(c.next, turn); i >= 0 {
		c.next = slices.Delete(c.next, i, i+1)
	} else { // it has its turn, too late
		s.yield(c)
	}
	return false
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

// leave ends a task's call, which took so long, and gives its place to others.
func (s *schedule) leave(t *task, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.lane.calls.quick = took <= quickCall
	s.yield(&t.lane.calls)
	s.release(t)
}
