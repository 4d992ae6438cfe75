package respond

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// task is an intent that is to be carried out.
type task struct {
	Waiting
	lane *lane
	due  time.Time
	// uncalled is the number of an attempt whose claim failed: if it is in the journal
	// all the same, by this process, it is known not to have been called.
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

func (l *lane) begin(t *task) {
	l.busy++
	t.working = true
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
