package correlate

import (
	"slices"
	"sort"
)

// chunkSize bounds what one insertion moves.
const chunkSize = 512

// timeline holds signals by (time, number), in chunks, so that an insertion
// anywhere costs the same however many there are.
type timeline [][]uint32

// order tells whether signal a comes before b.
type order func(a, b uint32) bool

// find returns the place of s, or the one where it belongs.
func (t timeline) find(s uint32, less order) (chunk, at int, found bool) {
	if n := len(t); n > 0 {
		last := t[n-1]
		if less(last[len(last)-1], s) { // nearly always: signals come nearly in order
			return n - 1, len(last), false
		}
	}
	chunk = sort.Search(len(t), func(i int) bool { return !less(t[i][len(t[i])-1], s) })
	if chunk == len(t) {
		return 0, 0, false // t is empty
	}
	c := t[chunk]
	at = sort.Search(len(c), func(i int) bool { return !less(c[i], s) })
	return chunk, at, at < len(c) && c[at] == s
}

// around returns the neighbours of the place where s is or belongs.
func (t timeline) around(s uint32, less order) (before, after uint32, hasBefore, hasAfter bool) {
	if len(t) == 0 {
		return
	}
	chunk, at, found := t.find(s, less)
	switch {
	case at > 0:
		before, hasBefore = t[chunk][at-1], true
	case chunk > 0:
		before, hasBefore = t[chunk-1][len(t[chunk-1])-1], true
	}
	if found {
		at++
	}
	switch {
	case at < len(t[chunk]):
		after, hasAfter = t[chunk][at], true
	case chunk+1 < len(t):
		after, hasAfter = t[chunk+1][0], true
	}
	return
}

// aroundBut is around, but for the signals that are skipped.
func (t timeline) aroundBut(s uint32, less order, skip func(uint32) bool) (before, after uint32, hasBefore, hasAfter bool) {
	if len(t) == 0 {
		return
	}
	chunk, at, found := t.find(s, less)
	for c, i := chunk, at-1; c >= 0; {
		if i < 0 {
			if c--; c >= 0 {
				i = len(t[c]) - 1
			}
			continue
		}
		if !skip(t[c][i]) {
			before, hasBefore = t[c][i], true
			break
		}
		i--
	}
	if found {
		at++
	}
	for c, i := chunk, at; c < len(t); i++ {
		if i >= len(t[c]) {
			c, i = c+1, -1
			continue
		}
		if !skip(t[c][i]) {
			after, hasAfter = t[c][i], true
			break
		}
	}
	return
}

func (t *timeline) insert(s uint32, less order) {
	if len(*t) == 0 {
		*t = timeline{{s}}
		return
	}
	chunk, at, found := t.find(s, less)
	if found {
		return
	}
	c := (*t)[chunk]
	if len(c) < chunkSize {
		(*t)[chunk] = slices.Insert(c, at, s)
		return
	}
	if chunk == len(*t)-1 && at == len(c) {
		*t = append(*t, []uint32{s})
		return
	}
	half := chunkSize / 2
	right := append(make([]uint32, 0, chunkSize), c[half:]...)
	if at <= half {
		(*t)[chunk] = slices.Insert(c[:half], at, s)
	} else {
		(*t)[chunk] = c[:half]
		right = slices.Insert(right, at-half, s)
	}
	*t = slices.Insert(*t, chunk+1, right)
}

func (t *timeline) remove(s uint32, less order) {
	if len(*t) == 0 {
		return
	}
	chunk, at, found := t.find(s, less)
	if !found {
		return
	}
	c := slices.Delete((*t)[chunk], at, at+1)
	if len(c) == 0 {
		*t = slices.Delete(*t, chunk, chunk+1)
		return
	}
	(*t)[chunk] = c
}
