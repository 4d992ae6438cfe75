package enrich

import (
	"container/heap"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// lookup is one observable that somebody asks about: all its askers share one call.
type lookup struct {
	observable sdk.Observable
	// asks wait; the askers of late were told that it failed, and hear of an answer
	// all the same.
	asks, late []model.Ask
	tries      int
	reason     string // why it has no answer yet
	calling    bool
	notBefore  time.Time // while it waits to be asked again
	index      int       // in that heap; -1: not in it
	listed     bool      // it is in the queue's list of late ones
	gone       bool      // it has ended
	severity   int       // the highest of its askers' cases
	// Of ready: whether it is in it, its number there, and its place in the heap.
	queued bool
	turn   uint64
	place  int
}

// maxLate bounds the askers of one observable that hear of a late answer: the last
// ones, since decide goes by the latest.
const maxLate = 8

// question is the latest ask.
func (l *lookup) question() model.Ask {
	if n := len(l.asks); n > 0 {
		return l.asks[n-1]
	}
	return l.late[len(l.late)-1]
}

// tooLate moves an ask to the late ones, and tells whether it was waiting.
func (l *lookup) tooLate(ask string) bool {
	for i, a := range l.asks {
		if a.ID != ask {
			continue
		}
		l.asks = append(l.asks[:i], l.asks[i+1:]...)
		if l.late = append(l.late, a); len(l.late) > maxLate {
			l.late = append(l.late[:0], l.late[1:]...)
		}
		return true
	}
	return false
}

// fifo takes out what was put in first.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) first() T { return f.items[f.head] }

func (f *fifo[T]) pop() T {
	var none T
	v := f.items[f.head]
	f.items[f.head] = none
	if f.head++; f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return v
}

// keep drops the items of which ok says no.
func (f *fifo[T]) keep(ok func(T) bool) {
	f.items = slices.DeleteFunc(slices.Delete(f.items, 0, f.head), func(v T) bool { return !ok(v) })
	f.head = 0
}

// retries are lookups that wait to be asked about again, the next one first.
type retries []*lookup

func (r retries) Len() int           { return len(r) }
func (r retries) Less(i, j int) bool { return r[i].notBefore.Before(r[j].notBefore) }

func (r retries) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = i, j
}

func (r *retries) Push(x any) {
	l := x.(*lookup)
	l.index = len(*r)
	*r = append(*r, l)
}

func (r *retries) Pop() any {
	old := *r
	l := old[len(old)-1]
	old[len(old)-1], l.index = nil, -1
	*r = old[:len(old)-1]
	return l
}

func (r *retries) remove(l *lookup) {
	if l.index >= 0 {
		heap.Remove(r, l.index)
	}
}
