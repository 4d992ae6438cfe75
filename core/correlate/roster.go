package correlate

import (
	"math"
	"slices"
)

// roster finds the groups of one rule by the hash of their keys.
type roster struct {
	places []place // open addressing, in the order of the hashes' upper bits
	shift  uint8   // of a hash, to get its home
	heads  []head  // by group number
	free   []uint32
	n      int
	oldest []entry // groups by when they were last fed; those that were fed since do not count
}

type place struct {
	hash  uint32
	group uint32 // its number and 1; 0: the place is empty
}

// head is what is known of a group without looking into its pile.
type head struct {
	fed   uint64 // when it was last fed, by count; 0: the number is free
	due   int64  // its entry in the calendar that counts
	real  int64  // when its pile has to be looked at, which may be later
	block uint32 // of the slab, where its pile is packed
	size  uint32 // of what is packed; 0: the pile is open
	hash  uint32
	// weight is what the pile holds, about, in bytes: the same for equal piles, open or not.
	weight uint32
	class  uint8
}

// at returns the first group from a place on that has a hash, and its place.
func (r *roster) at(hash uint32, from uint32) (group, at uint32, ok bool) {
	mask := uint32(len(r.places) - 1)
	for i := from & mask; ; i = (i + 1) & mask {
		switch p := r.places[i]; {
		case p.group == 0:
			return 0, 0, false
		case p.hash == hash:
			return p.group - 1, i, true
		}
	}
}

func (r *roster) home(hash uint32) uint32 { return hash >> r.shift }

// add returns the number of a new group.
func (r *roster) add(hash uint32) uint32 {
	if (r.n+1)*4 > len(r.places)*3 {
		r.grow()
	}
	var group uint32
	if n := len(r.free); n > 0 {
		group, r.free = r.free[n-1], r.free[:n-1]
	} else {
		group = uint32(len(r.heads))
		r.heads = append(r.heads, head{})
	}
	r.heads[group] = head{hash: hash}
	r.settle(place{hash, group + 1})
	r.n++
	return group
}

func (r *roster) settle(p place) {
	mask := uint32(len(r.places) - 1)
	i := r.home(p.hash)
	for r.places[i].group != 0 {
		i = (i + 1) & mask
	}
	r.places[i] = p
}

func (r *roster) grow() {
	old := r.places
	if len(old) == 0 {
		r.places, r.shift = make([]place, 8), 32-3
		return
	}
	r.places, r.shift = make([]place, 2*len(old)), r.shift-1
	for _, p := range old {
		if p.group != 0 {
			r.settle(p)
		}
	}
}

// remove takes a group out; what is behind it moves up, so that there are no gaps.
func (r *roster) remove(group uint32) {
	mask := uint32(len(r.places) - 1)
	i := r.home(r.heads[group].hash)
	for r.places[i].group != group+1 {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; r.places[j].group != 0; j = (j + 1) & mask {
		if home := r.home(r.places[j].hash); (j-home)&mask >= (j-i)&mask {
			r.places[i] = r.places[j]
			i = j
		}
	}
	r.places[i] = place{}
	r.heads[group] = head{}
	r.free = append(r.free, group)
	r.n--
}

// leastFed returns the group that was fed least recently. The heads are looked through
// once for many calls.
func (r *roster) leastFed() uint32 {
	for {
		for len(r.oldest) > 0 {
			e := r.oldest[0]
			r.oldest = r.oldest[1:]
			if r.heads[e.group].fed == uint64(e.due) {
				return e.group
			}
		}
		r.oldest = r.fedUpTo(r.eighth())
	}
}

// eighth is a count up to which about one group in eight, and at least one, was fed.
func (r *roster) eighth() uint64 {
	var sample []uint64
	for i := 0; i < len(r.heads); i += 1 + len(r.heads)/4096 {
		if fed := r.heads[i].fed; fed != 0 {
			sample = append(sample, fed)
		}
	}
	if len(sample) < 64 {
		return math.MaxUint64
	}
	slices.Sort(sample)
	return sample[len(sample)/8]
}

// fedUpTo gives the groups that were last fed up to a count, in this order.
func (r *roster) fedUpTo(count uint64) []entry {
	var order []entry
	for group := range r.heads {
		if fed := r.heads[group].fed; fed != 0 && fed <= count {
			order = append(order, entry{int64(fed), uint32(group)})
		}
	}
	slices.SortFunc(order, byDue)
	return order
}
