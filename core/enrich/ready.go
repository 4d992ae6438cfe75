package enrich

import "container/heap"

// fairShare: of so many lookups one is the oldest, however urgent the others are.
const fairShare = 8

// ready are lookups that wait for their turn: the most severe case's goes first, of
// these the oldest, whose deadline is the nearest.
type ready struct {
	urgent urgent
	oldest fifo[*lookup] // the same ones; some have had their turn
	count  uint64        // ever pushed
	turns  int
}

func (r *ready) push(l *lookup) {
	r.count++
	l.turn, l.queued = r.count, true
	heap.Push(&r.urgent, l)
	r.oldest.push(l)
	if r.oldest.len() > 2*r.urgent.Len()+maxWaiting {
		r.oldest.keep(func(l *lookup) bool { return l.queued })
	}
}

func (r *ready) len() int { return r.urgent.Len() }

// pop takes out the one whose turn it is; there must be one.
func (r *ready) pop() *lookup {
	r.turns++
	if r.turns%fairShare == 0 {
		for r.oldest.len() > 0 {
			if l := r.oldest.pop(); l.queued {
				r.remove(l)
				return l
			}
		}
	}
	l := r.urgent[0]
	r.remove(l)
	return l
}

// remove takes out a lookup, if it is in.
func (r *ready) remove(l *lookup) {
	if l.queued {
		l.queued = false
		heap.Remove(&r.urgent, l.place)
	}
}

// raise brings a lookup forward that a more severe case asks about too.
func (r *ready) raise(l *lookup, severity int) {
	if severity <= l.severity {
		return
	}
	l.severity = severity
	if l.queued {
		heap.Fix(&r.urgent, l.place)
	}
}

// urgent is a heap.
type urgent []*lookup

func (u urgent) Len() int { return len(u) }

func (u urgent) Less(i, j int) bool {
	if u[i].severity != u[j].severity {
		return u[i].severity > u[j].severity
	}
	return u[i].turn < u[j].turn
}

func (u urgent) Swap(i, j int) {
	u[i], u[j] = u[j], u[i]
	u[i].place, u[j].place = i, j
}

func (u *urgent) Push(x any) {
	l := x.(*lookup)
	l.place = len(*u)
	*u = append(*u, l)
}

func (u *urgent) Pop() any {
	old := *u
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*u = old[:len(old)-1]
	return l
}
