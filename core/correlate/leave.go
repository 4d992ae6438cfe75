package correlate

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Remove takes a group and its signals out. Their values stay, until Release; what
// was next to them in time stays in the groups where it is.
func (x *Index) Remove(g GroupNum) {
	members := x.groups[g].members
	slices.Sort(members) // so that numbers are used again in an order of their own
	for _, m := range members {
		s := &x.signals[m]
		for _, v := range values(s.refs) {
			x.timelines[v].remove(m, x.before)
		}
	}
	for _, m := range members {
		delete(x.byID, x.signals[m].id)
		x.signals[m] = signal{}
		x.freeSignals = append(x.freeSignals, SignalNum(m))
	}
	x.groups[g] = group{}
	x.free = append(x.free, g)
}

// Used tells whether a signal has a value.
func (x *Index) Used(v ValueNum) bool { return len(x.timelines[v]) > 0 }

// Release frees the number of a value that no signal has.
func (x *Index) Release(v ValueNum) {
	delete(x.byKey, x.keys[v])
	x.keys[v], x.timelines[v] = "", nil
	x.freeValues = append(x.freeValues, v)
}

// Member is a signal of a group that is brought back.
type Member struct {
	ID   string
	Time time.Time
	Refs []Ref
}

// Bring puts signals, none of which is there, into a group of their own: that which
// they were in. It is not joined with any other, whatever values they share.
func (x *Index) Bring(members []Member) GroupNum {
	numbers := make([]uint32, len(members))
	for i, m := range members {
		s := x.newSignal(m.ID)
		x.place(s, ticks(m.Time), m.Refs)
		numbers[i] = uint32(s)
	}
	return x.newGroup(numbers)
}

func (x *Index) place(s SignalNum, at int64, refs []Ref) {
	x.signals[s].at, x.signals[s].refs = at, refs
	for _, v := range values(refs) {
		x.timelines[v].insert(uint32(s), x.before)
	}
}

// Free are the free numbers of signals and values; the last of each is used next.
func (x *Index) Free() ([]SignalNum, []ValueNum) { return x.freeSignals, x.freeValues }

// Fill gives an empty index the values and signals that another had, under the
// numbers that they had there: values by number, empty where one is free, and the
// signals likewise. Group puts those of equal groups together.
func (x *Index) Fill(keys []string, signals []Member, groups []uint32, freeSignals []SignalNum, freeValues []ValueNum) {
	x.keys, x.joins, x.timelines = keys, make([]bool, len(keys)), make([]timeline, len(keys))
	for v, key := range keys {
		if key != "" {
			x.byKey[key], x.joins[v] = ValueNum(v), !x.NeverJoins(observable(key))
		}
	}
	x.signals = make([]signal, len(signals))
	members := make(map[uint32][]uint32, len(signals))
	for n, m := range signals {
		if m.ID == "" {
			continue
		}
		x.signals[n].id, x.signals[n].apart, x.byID[m.ID] = m.ID, x.hand.apart[m.ID], SignalNum(n)
		x.place(SignalNum(n), ticks(m.Time), m.Refs)
		members[groups[n]] = append(members[groups[n]], uint32(n))
	}
	for n, m := range signals {
		if m.ID != "" && members[groups[n]] != nil {
			x.newGroup(members[groups[n]])
			delete(members, groups[n])
		}
	}
	x.freeSignals, x.freeValues = freeSignals, freeValues
}

// Regrouped makes an index with the same signals and values under the same numbers,
// grouped by other settings.
func (x *Index) Regrouped(s Settings) *Index {
	return x.RegroupedBy(s, x.Refs)
}

// RegroupedBy is Regrouped, with what refs says that each signal has. Their values have
// their numbers.
func (x *Index) RegroupedBy(s Settings, refs func(SignalNum) []Ref) *Index {
	y := NewIndex(s)
	y.keys, y.byKey, y.joins = x.keys, x.byKey, make([]bool, len(x.keys))
	y.timelines = make([]timeline, len(x.keys))
	for v, key := range y.keys {
		y.joins[v] = key != "" && !y.NeverJoins(observable(key))
	}
	y.byID, y.signals = make(map[string]SignalNum, len(x.byID)), make([]signal, len(x.signals))
	y.freeSignals, y.freeValues = x.freeSignals, x.freeValues
	var e Effect
	for n := range x.signals {
		if old := &x.signals[n]; old.id != "" {
			y.signals[n].id, y.signals[n].apart, y.byID[old.id] = old.id, y.hand.apart[old.id], SignalNum(n)
			y.place(SignalNum(n), old.at, refs(SignalNum(n)))
			y.newGroup([]uint32{uint32(n)})
			y.link(SignalNum(n), &e)
		}
	}
	return y
}

// Number gives observables' values their numbers: the refs of a signal that has them.
func (x *Index) Number(observables []sdk.Observable) []Ref { return x.intern(observables) }
