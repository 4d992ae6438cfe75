package respond

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// schedule decides whose turn it is.
type schedule struct {
	r       *Responder
	ctx     context.Context // of Run
	change  chan struct{}   // has room for one
	running sync.WaitGroup  // tasks that have their turn

	mu     sync.Mutex // guards what follows
	lanes  map[string]*lane
	paused bool
	fenced bool
	closed bool
	seen   bool // the journal was read
	failed bool // not the last time
	looked time.Time
}

func newSchedule(ctx context.Context, r *Responder) *schedule {
	return &schedule{r: r, ctx: ctx, change: make(chan struct{}, 1), lanes: map[string]*lane{}}
}

// changed wakes Run.
func (s *schedule) changed() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

func (s *schedule) lane(action string) *lane {
	l := s.lanes[action]
	if l == nil {
		l = &lane{action: action, known: map[string]phase{}}
		s.lanes[action] = l
	}
	return l
}

// look reads what is pending in the journal.
func (s *schedule) look() {
	s.mu.Lock()
	s.looked = s.r.Now()
	s.mu.Unlock()
	err := s.read()
	s.mu.Lock()
	s.failed = err != nil
	s.mu.Unlock()
	if err != nil && s.ctx.Err() == nil {
		s.r.Log.Error("the journal can't be read; trying again", "error", err)
	}
}

func (s *schedule) read() error {
	paused, err := s.r.Journal.Paused(s.ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.paused = paused
	s.mu.Unlock()
	if paused {
		return nil
	}
	actions, err := s.r.Journal.PendingActions(s.ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for action, l := range s.lanes {
		if l.behind && !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	s.mu.Unlock()
	for _, action := range actions {
		if err := s.readLane(action); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.seen = true
	s.mu.Unlock()
	return nil
}

// readLane reads the most urgent intents of an action that are not known, and the
// oldest if there are more: however many are pending, few are read.
func (s *schedule) readLane(action string) error {
	s.mu.Lock()
	l := s.lane(action)
	known := len(l.known)
	l.stale, l.reading = false, true
	s.mu.Unlock()
	defer s.readDone(l)
	urgent, err := s.r.Journal.PendingIntents(s.ctx, action, known+window)
	if err != nil {
		return err
	}
	var oldest []Waiting
	all := len(urgent) < known+window
	if !all {
		if oldest, err = s.r.Journal.OldestIntents(s.ctx, action, known+window/fairShare); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.behind = !all || l.stale
	if !l.behind {
		l.forget(urgent)
	}
	l.ready, l.oldest = append(l.dueNow(), l.unknown(urgent)...), l.unknown(oldest)
	slices.SortFunc(l.ready, func(a, b *task) int { return a.compare(b.Waiting) })
	return nil
}

func (s *schedule) readDone(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.reading = false
}

// start gives every task that is due its turn, as far as there are places.
func (s *schedule) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.r.Now()
	for _, l := range s.lanes {
		l.comeDue(now)
		var fresh []*task
		for s.free(l) {
			t := l.take()
			if t == nil {
				break
			}
			l.begin(t)
			if t.fresh() {
				fresh = append(fresh, t)
			} else {
				s.carry(t)
			}
		}
		if len(fresh) > 0 {
			l.claiming = true
			s.running.Go(func() { s.claimFirst(l, fresh) })
		}
		s.r.count(l)
	}
}

// free tells whether a lane may take up a task.
func (s *schedule) free(l *lane) bool {
	return !s.fenced && !s.paused && !l.claiming && l.busy < s.places(l)
}

// places is how many of a lane's tasks are carried out at once.
func (s *schedule) places(l *lane) int {
	n := s.r.settings().workers()
	if l.calls.quick {
		n += claimAhead
	}
	return n
}

// carry gives a task its turn.
func (s *schedule) carry(t *task) { s.running.Go(func() { s.finish(t, s.carryOut(t)) }) }

// release gives a task's place to others.
func (s *schedule) release(t *task) {
	if t.working {
		t.working = false
		t.lane.busy--
		s.changed()
	}
}

// step is what became of a task's turn.
type step struct {
	// again is when it goes on; zero: not by this turn's doing.
	again  time.Time
	told   bool // its outcome was reported
	paused bool
	fenced bool
}

func (s *schedule) finish(t *task, d step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(t)
	l := t.lane
	switch {
	case d.told:
		// Decide may have committed it already: then nothing is known of it any more.
		if _, known := l.known[t.Intent]; known {
			l.known[t.Intent] = told
		}
	case !d.again.IsZero():
		t.due = d.again
		l.wait(t)
	default:
		delete(l.known, t.Intent)
		l.missing()
	}
	s.paused = s.paused || d.paused
	if d.fenced && !s.fenced {
		s.fenced = true
		s.r.Log.Error("another process carries out the intents of this data; this one does nothing more")
	}
	s.changed()
}

// wants tells whether the journal is to be read.
func (s *schedule) wants() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.next(s.r.Now()).After(s.r.Now())
}

// next is when the journal is to be read again: at once where a worker is free and
// nothing is ready, soon where something more urgent may have come.
func (s *schedule) next(now time.Time) time.Time {
	at := s.looked.Add(rescan)
	switch {
	case s.paused || s.fenced:
		return at
	case s.failed:
		return minTime(at, s.looked.Add(firstRetry))
	}
	for _, l := range s.lanes {
		switch {
		case !l.behind || len(l.known) >= laneLimit:
		case s.free(l) && len(l.ready) == 0:
			return now
		case l.stale:
			at = minTime(at, s.looked.Add(relook))
		}
	}
	return at
}

// idle is how long nothing is to be done, unless something happens.
func (s *schedule) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.r.Now()
	at := s.next(now)
	for _, l := range s.lanes {
		if s.free(l) && len(l.retry) > 0 {
			at = minTime(at, l.retry[0].due)
		}
	}
	return max(at.Sub(now), 0)
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// close ends the taking up, and waits for the tasks that have their turn.
func (s *schedule) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}

// committed takes note of what decide has committed.
func (s *schedule) committed(intents, planned []model.Intent, place int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := make(map[string]bool, len(planned))
	for i := range planned {
		fresh[planned[i].ID] = true
	}
	for i := range intents {
		in := &intents[i]
		l := s.lane(in.Action)
		switch {
		case in.State.Final():
			delete(l.known, in.ID)
		case in.State == model.IntentGathered: // it is told by another
		case l.knows(in.ID):
		case fresh[in.ID]:
			s.came(l, waitingOf(in, place))
			s.changed()
		default: // it is of another urgency
			l.missing()
			s.changed()
		}
	}
}

// came takes note of a new intent: it is ready if all others of its lane are at hand,
// and few of them; otherwise it is read with them.
func (s *schedule) came(l *lane, w Waiting) {
	if !s.seen || l.behind || l.reading || len(l.ready) >= window {
		l.missing()
		return
	}
	l.insert(&task{Waiting: w, lane: l})
}
