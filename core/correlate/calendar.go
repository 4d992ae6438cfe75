package correlate

import (
	"cmp"
	"time"
)

// calendar tells which groups have something due. What is far ahead lies in days,
// unsorted; only the entries of the present day are in order.
type calendar struct {
	day   int64 // how long one is
	today int64 // its number; what is due today or before is in now
	open  bool  // there is a today
	now   []entry
	later map[int64][]entry
	days  []int64 // those of later, the earliest first
}

type entry struct {
	due   int64
	group uint32
}

func newCalendar(span time.Duration) calendar {
	return calendar{day: max(int64(span)/1024, 1), later: map[int64][]entry{}}
}

func (c *calendar) add(e entry) {
	day := floorDiv(e.due, c.day)
	if c.open && day <= c.today {
		c.now = push(c.now, e, byDue)
		return
	}
	day0 := c.later[day]
	if day0 == nil {
		c.days = push(c.days, day, cmp.Compare[int64])
	}
	c.later[day] = append(day0, e)
}

// due takes out the entries that are due up to a time, in no order. Times do not go
// back.
func (c *calendar) due(at int64) (due []entry) {
	today := floorDiv(at, c.day)
	for len(c.days) > 0 && c.days[0] <= today {
		var day int64
		day, c.days = pop(c.days, cmp.Compare[int64])
		for _, e := range c.later[day] {
			if e.due <= at {
				due = append(due, e)
			} else {
				c.now = push(c.now, e, byDue)
			}
		}
		delete(c.later, day)
	}
	c.today, c.open = today, true
	for len(c.now) > 0 && c.now[0].due <= at {
		var e entry
		e, c.now = pop(c.now, byDue)
		due = append(due, e)
	}
	return due
}

func byDue(a, b entry) int { return cmp.Compare(a.due, b.due) }

// push and pop keep the least first, as container/heap does.
func push[T any](heap []T, e T, order func(a, b T) int) []T {
	heap = append(heap, e)
	for i := len(heap) - 1; i > 0; {
		up := (i - 1) / 2
		if order(heap[up], heap[i]) <= 0 {
			break
		}
		heap[up], heap[i] = heap[i], heap[up]
		i = up
	}
	return heap
}

func pop[T any](heap []T, order func(a, b T) int) (T, []T) {
	first, last := heap[0], len(heap)-1
	heap[0] = heap[last]
	heap = heap[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && order(heap[down+1], heap[down]) < 0 {
			down++
		}
		if order(heap[i], heap[down]) <= 0 {
			break
		}
		heap[i], heap[down] = heap[down], heap[i]
		i = down
	}
	return first, heap
}
