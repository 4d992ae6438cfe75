package respond

import (
	"cmp"
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// task is an intent that is to be carried out.
type task struct {
	Place
	lane *lane
	due  time.Time
	// uncalled is the number of an attempt whose claim failed: if it is in the journal
	// all the same, it is known not to have been called.
	uncalled int
}

// lane holds the tasks of one action, so that an action that hangs or is out of order
// holds up no other. A task that waits takes no worker.
type lane struct {
	action string
	after  Place // up to which the journal was read
	more   bool  // the journal has more than there was room for
	tasks  tasks // by when they are due
	held   []*task
	busy   int
}

func (l *lane) size() int { return len(l.tasks) + len(l.held) + l.busy }

// step is what became of a task's turn.
type step struct {
	task *task
	// again is when it goes on; zero: it has ended.
	again  time.Time
	paused bool
	fenced bool
}

// schedule decides whose turn it is. One goroutine owns all but done.
type schedule struct {
	r       *Responder
	lanes   map[string]*lane
	paused  bool
	fenced  bool
	looked  time.Time
	done    chan step
	running sync.WaitGroup
}

func newSchedule(r *Responder) *schedule {
	return &schedule{r: r, lanes: map[string]*lane{}, done: make(chan step)}
}

// look reads what is new in the journal.
func (s *schedule) look(ctx context.Context) {
	s.looked = s.r.Now()
	err := s.read(ctx)
	if err != nil && ctx.Err() == nil {
		s.r.Log.Error("the journal can't be read; trying again", "error", err)
	}
}

func (s *schedule) read(ctx context.Context) error {
	var err error
	if s.paused, err = s.r.Journal.Paused(ctx); err != nil || s.paused {
		return err
	}
	for _, l := range s.lanes {
		for _, t := range l.held {
			heap.Push(&l.tasks, t)
		}
		l.held = nil
	}
	actions, err := s.r.Journal.PendingActions(ctx)
	if err != nil {
		return err
	}
	for _, action := range actions {
		l := s.lanes[action]
		if l == nil {
			l = &lane{action: action}
			s.lanes[action] = l
		}
		room := laneLimit - l.size()
		if room <= 0 {
			l.more = true
			continue
		}
		places, err := s.r.Journal.PendingIntents(ctx, action, l.after, room)
		if err != nil {
			return err
		}
		l.more = len(places) == room
		for _, p := range places {
			heap.Push(&l.tasks, &task{Place: p, lane: l, due: s.looked})
			l.after = p
		}
	}
	return nil
}

// start gives every task that is due its turn, as far as there are workers.
func (s *schedule) start(ctx context.Context) {
	now := s.r.Now()
	for _, l := range s.lanes {
		for !s.fenced && l.busy < s.r.settings().workers() && len(l.tasks) > 0 && !l.tasks[0].due.After(now) {
			t := heap.Pop(&l.tasks).(*task)
			l.busy++
			s.running.Go(func() {
				d := s.r.carryOut(ctx, t)
				d.task = t
				select {
				case s.done <- d:
				case <-ctx.Done(): // nobody listens any more
				}
			})
		}
		s.r.count(l)
	}
}

// finish puts a task back that goes on later, and tells whether the journal is to be
// read again at once.
func (s *schedule) finish(d step) (look bool) {
	l := d.task.lane
	l.busy--
	switch {
	case d.fenced:
		if !s.fenced {
			s.r.Log.Error("another process carries out the intents of this data; this one does nothing more")
		}
		s.fenced = true
	case d.paused:
		l.held = append(l.held, d.task)
	case !d.again.IsZero():
		d.task.due = d.again
		heap.Push(&l.tasks, d.task)
	}
	return l.more && !s.paused && l.size() <= laneLimit/2
}

// idle is how long nothing is to be done, unless something happens.
func (s *schedule) idle() time.Duration {
	now := s.r.Now()
	wait := s.looked.Add(rescan).Sub(now)
	for _, l := range s.lanes {
		if !s.fenced && l.busy < s.r.settings().workers() && len(l.tasks) > 0 {
			wait = min(wait, l.tasks[0].due.Sub(now))
		}
	}
	return max(wait, 0)
}

// wait for the calls that are under way.
func (s *schedule) wait() { s.running.Wait() }

// tasks is a heap, the next due first, and of those the older.
type tasks []*task

func (t tasks) Len() int { return len(t) }
func (t tasks) Less(i, j int) bool {
	return cmp.Or(t[i].due.Compare(t[j].due), cmp.Compare(t[i].Number, t[j].Number)) < 0
}
func (t tasks) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *tasks) Push(x any)   { *t = append(*t, x.(*task)) }
func (t *tasks) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return last
}

// count publishes how a lane is.
func (r *Responder) count(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats == nil {
		r.stats = map[string]Stat{}
	}
	st := r.stats[l.action]
	st.Action, st.Waiting, st.Running = l.action, len(l.tasks)+len(l.held), l.busy
	r.stats[l.action] = st
}

// trouble notes why an action's last attempt did not succeed; empty: it did.
func (r *Responder) trouble(action, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats == nil {
		r.stats = map[string]Stat{}
	}
	st := r.stats[action]
	switch {
	case reason == "":
		st.Since = time.Time{}
	case st.LastError == "":
		st.Since = r.Now()
	}
	st.Action, st.LastError = action, reason
	r.stats[action] = st
}

func sortedStats(all map[string]Stat) []Stat {
	return slices.SortedFunc(maps.Values(all), func(a, b Stat) int { return cmp.Compare(a.Action, b.Action) })
}
