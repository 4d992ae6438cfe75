package respond

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// task is an intent that is to be carried out.
type task struct {
	Waiting
	lane *lane
	due  time.Time
	// uncalled is the number of an attempt whose claim failed: if it is in the journal
	// all the same, it is known not to have been called.
	uncalled int
	// working: it has one of the lane's places.
	working bool
}

// fresh tells whether nothing is known to have been tried.
func (t *task) fresh() bool { return t.due.IsZero() && t.uncalled == 0 }

// phase is where an intent is that the responder has taken up.
type phase int

const (
	taken   phase = iota // it has its turn
	waiting              // for its next attempt
	told                 // its outcome is reported, and decide has not committed it yet
)

// lane holds the tasks of one action, so that an action that hangs or is out of order
// holds up no other. A task that waits takes no worker. What has not been taken up
// waits in the journal; ready and oldest are the part of it that was read last, and, if
// that was all, what came since.
type lane struct {
	action string
	known  map[string]phase
	ready  []*task // the most urgent first
	oldest []*task // the oldest first
	retry  tasks   // by when they are due
	busy   int     // tasks that are carried out
	turns  int
	calls  calling
	// claiming: first attempts of several tasks are being claimed; reading: the journal
	// is being read.
	claiming, reading bool
	// behind: the journal may have pending intents that are not known here; stale: some
	// came since it was read.
	behind, stale bool
}

// Retries that are due come among what is ready.
func (l *lane) comeDue(now time.Time) {
	for len(l.retry) > 0 && !l.retry[0].due.After(now) {
		l.insert(heap.Pop(&l.retry).(*task))
	}
}

// insert puts a task among what is ready, by its urgency.
func (l *lane) insert(t *task) {
	at, _ := slices.BinarySearchFunc(l.ready, t, func(a, b *task) int { return a.compare(b.Waiting) })
	l.ready = slices.Insert(l.ready, at, t)
}

// take takes up the task whose turn it is: the most urgent, and now and then the
// oldest, so that none waits for ever. nil: there is none, or no room.
func (l *lane) take() *task {
	if len(l.known) >= laneLimit || len(l.retry) >= retryLimit {
		return l.takeFull()
	}
	l.turns++
	if l.turns%fairShare == 0 {
		if t := l.first(&l.oldest); t != nil {
			return t
		}
	}
	return l.first(&l.ready)
}

// takeFull takes up what is due again; and what is more urgent than something that
// waits for its next attempt, which makes room.
func (l *lane) takeFull() *task {
	var last *task
	if len(l.known) < laneLimit {
		last = l.retry[l.leastUrgent()]
	}
	i := slices.IndexFunc(l.ready, func(t *task) bool {
		return !t.due.IsZero() || last != nil && !l.knows(t.Intent) && t.compare(last.Waiting) < 0
	})
	if i < 0 {
		return nil
	}
	t := l.ready[i]
	l.ready = slices.Delete(l.ready, i, i+1)
	l.known[t.Intent] = taken
	return t
}

func (l *lane) first(from *[]*task) *task {
	for len(*from) > 0 {
		t := (*from)[0]
		*from = (*from)[1:]
		if !l.knows(t.Intent) || !t.due.IsZero() {
			l.known[t.Intent] = taken
			return t
		}
	}
	return nil
}

func (l *lane) knows(intent string) bool {
	_, known := l.known[intent]
	return known
}

// wait puts a task back that goes on later. If too many wait, the least urgent goes
// back to the journal, which knows as well when it goes on.
func (l *lane) wait(t *task) {
	l.known[t.Intent] = waiting
	heap.Push(&l.retry, t)
	if len(l.retry) > retryLimit {
		last := heap.Remove(&l.retry, l.leastUrgent()).(*task)
		delete(l.known, last.Intent)
		l.behind = true
	}
}

// leastUrgent of what waits for its next attempt.
func (l *lane) leastUrgent() int {
	last := 0
	for i, t := range l.retry {
		if l.retry[last].compare(t.Waiting) < 0 {
			last = i
		}
	}
	return last
}

// missing notes that the journal has something that was not read.
func (l *lane) missing() { l.behind, l.stale = true, true }

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

// unknown are those that were not taken up.
func (l *lane) unknown(all []Waiting) []*task {
	var tasks []*task
	for _, w := range all {
		if _, known := l.known[w.Intent]; !known {
			tasks = append(tasks, &task{Waiting: w, lane: l})
		}
	}
	return tasks
}

// dueNow are the retries among what is ready.
func (l *lane) dueNow() []*task {
	return slices.DeleteFunc(l.ready, func(t *task) bool { return t.due.IsZero() })
}

// forget drops what was told of and is not pending any more.
func (l *lane) forget(pending []Waiting) {
	still := map[string]bool{}
	for _, w := range pending {
		still[w.Intent] = true
	}
	maps.DeleteFunc(l.known, func(intent string, p phase) bool { return p == told && !still[intent] })
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

func (l *lane) begin(t *task) {
	l.busy++
	t.working = true
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

// tasks is a heap, the next due first.
type tasks []*task

func (t tasks) Len() int           { return len(t) }
func (t tasks) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t tasks) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *tasks) Push(x any)        { *t = append(*t, x.(*task)) }
func (t *tasks) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return last
}
