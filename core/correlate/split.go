package correlate

import "slices"

// replace gives a signal that has lost something its new time and values, and
// takes apart what it alone had held together.
func (x *Index) replace(s SignalNum, at int64, old, next []Ref, e *Effect) {
	it := &x.signals[s]
	moved := it.at != at
	lost := func(v ValueNum) bool { return moved || !hasValue(next, v) }

	// Each part that may come off holds a former neighbour of s, or is s.
	seeds := []uint32{uint32(s)}
	for _, v := range values(old) {
		if x.joins[v] && lost(v) {
			x.eachNeighbour(s, v, func(n uint32) {
				// One that is near and in another group is there because its group was
				// brought back, or is full: it was held by nothing here.
				if x.signals[n].group == it.group && !slices.Contains(seeds, n) {
					seeds = append(seeds, n)
				}
			})
		}
	}
	for _, v := range values(old) {
		if lost(v) {
			x.timelines[v].remove(uint32(s), x.before)
		}
	}
	it.at, it.refs = at, next
	for _, v := range values(next) {
		if moved || !hasValue(old, v) {
			x.timelines[v].insert(uint32(s), x.before)
		}
	}
	g := it.group
	if moved {
		// Pieces are taken out by the order of time, so it has to be right first.
		x.findEarliest(g)
	}
	for _, piece := range x.pieces(g, seeds) {
		e.Split = append(e.Split, x.takeOut(g, piece))
	}
}

// walk is one part of a group as far as it has been walked.
type walk struct {
	into  int // the walk that it has met; its own number if none
	seen  []uint32
	next  int // seen[next:] is to be looked around from
	ended bool
}

// pieces returns the parts of g that hang together no more, but for one, which is
// what remains. Every part holds at least one of the seeds. The walks take turns,
// so that the work is that of the smaller parts.
func (x *Index) pieces(g GroupNum, seeds []uint32) [][]uint32 {
	walks := make([]walk, len(seeds))
	owner := make(map[uint32]int, len(seeds))
	for i, s := range seeds {
		walks[i] = walk{into: i, seen: []uint32{s}}
		owner[s] = i
	}
	root := func(i int) int {
		for walks[i].into != i {
			i = walks[i].into
		}
		return i
	}
	open := len(walks)
	meet := func(i, j int) {
		if i, j = root(i), root(j); i == j {
			return
		}
		a, b := &walks[i], &walks[j]
		// What b has looked around from must stay before what it has not.
		seen := make([]uint32, 0, len(a.seen)+len(b.seen))
		seen = append(append(seen, a.seen[:a.next]...), b.seen[:b.next]...)
		next := len(seen)
		seen = append(append(seen, a.seen[a.next:]...), b.seen[b.next:]...)
		*a = walk{into: i, seen: seen, next: next}
		*b = walk{into: i}
		open--
	}
	for i, s := range seeds {
		for j, t := range seeds[:i] {
			if x.linked(s, t) {
				meet(j, i)
			}
		}
	}
	var pieces [][]uint32
	for open > 1 {
		for i := range walks {
			w := &walks[i]
			if open <= 1 {
				break
			}
			if w.into != i || w.ended {
				continue
			}
			if w.next == len(w.seen) {
				w.ended = true
				open--
				pieces = append(pieces, w.seen)
				continue
			}
			s := SignalNum(w.seen[w.next])
			w.next++
			reach := func(n uint32) {
				if x.signals[n].group != g {
					return // newly joined by s itself, and in no part of g
				}
				if other, ok := owner[n]; ok {
					meet(i, other)
					return
				}
				r := root(i)
				owner[n] = r
				walks[r].seen = append(walks[r].seen, n)
			}
			for _, v := range values(x.Refs(s)) {
				if x.joins[v] {
					x.eachNeighbour(s, v, reach)
				}
			}
			x.eachTied(s, reach)
		}
	}
	return pieces
}

// linked tells whether two signals share a value within the window.
func (x *Index) linked(a, b uint32) bool {
	p, q := &x.signals[a], &x.signals[b]
	if slices.Contains(x.hand.tied[p.id], q.id) {
		return true
	}
	if p.apart || q.apart || !near(p.at, q.at, x.window) {
		return false
	}
	for _, r := range x.Refs(SignalNum(a)) {
		if x.joins[r.Value] && hasValue(x.Refs(SignalNum(b)), r.Value) {
			return true
		}
	}
	return false
}
