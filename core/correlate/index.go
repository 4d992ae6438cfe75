package correlate

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Numbers that stand for a signal, a value and a group in one Index. They count
// from 0 in the order in which signals and values came; a number is used again once
// what it stood for is gone.
type (
	SignalNum uint32
	ValueNum  uint32
	GroupNum  uint32
)

// Index keeps signals in their cases as they come, in any order. After any
// sequence of Put its groups are what Group makes of the latest of each signal. A
// signal costs O(log n) for each of its values, however many others have the
// value; a revision that takes a value away, or moves in time, may have to walk
// the smaller part of what it held together.
//
// It is not safe for concurrent use.
type Index struct {
	settings Settings
	window   time.Duration
	never    map[string]bool // by key: those that are listed or decided, patterns aside
	hand     hand

	most int

	signals     []signal // by SignalNum; without an id: free
	byID        map[string]SignalNum
	freeSignals []SignalNum // the last is used next

	keys       []string // "kind:value" by ValueNum; empty: free
	byKey      map[string]ValueNum
	joins      []bool     // by ValueNum: not in NeverJoin
	timelines  []timeline // by ValueNum
	freeValues []ValueNum // the last is used next

	groups []group
	free   []GroupNum
	key    []byte
}

type signal struct {
	id    string
	at    int64
	refs  []Ref
	group GroupNum
	place uint32 // in its group's members
	apart bool   // it was split off by hand
}

type group struct {
	members  []uint32 // in no order
	earliest uint32
}

// Ref is an observable of a signal: a value and the role it has there.
type Ref struct {
	Value ValueNum
	Role  Role
}

// Role of a value in a signal.
type Role uint8

// The roles.
const (
	None Role = iota
	Subject
	Indicator
	// Same: the signal does not have the value, but a subject of it is known to be the
	// same as what has it.
	Same
)

// NewIndex returns an empty index.
func NewIndex(s Settings) *Index {
	x := &Index{
		settings: s,
		hand:     readHand(s.Decisions),
		window:   s.Window,
		most:     s.most(),
		never:    map[string]bool{},
		byID:     map[string]SignalNum{},
		byKey:    map[string]ValueNum{},
	}
	for _, o := range s.NeverJoin {
		x.never[o.Key()] = true
	}
	for _, o := range x.hand.never {
		x.never[o.Key()] = true
	}
	return x
}

// Effect is what one Put did to the groups.
type Effect struct {
	Signal SignalNum
	// Group that the signal is in now.
	Group GroupNum
	// Fresh: the signal was not there before.
	Fresh bool
	// Lost: the signal has lost a value or a role, or its time changed, so that what
	// was added up over its former group holds no more.
	Lost bool
	// Merged are groups that are part of Group now; their numbers are free.
	Merged []GroupNum
	// Moved are the signals that they had, some more than once.
	Moved []SignalNum
	// Split are new groups that came off the signal's former group, which is Former.
	Split  []GroupNum
	Former GroupNum
	// Cut are pairs of groups that belong together and stay two, since they would be
	// too large.
	Cut [][2]GroupNum
}

// Put adds a signal, or replaces what it was by a later revision.
func (x *Index) Put(id string, at time.Time, observables []sdk.Observable) Effect {
	return x.PutRefs(id, at, x.intern(observables))
}

// PutRefs is Put with values that have their numbers, each with a role once.
func (x *Index) PutRefs(id string, at time.Time, next []Ref) Effect {
	t := ticks(at)
	s, known := x.byID[id]
	if !known {
		return x.add(id, t, next)
	}
	old := slices.Clone(x.Refs(s))
	moved := x.signals[s].at != t
	e := Effect{Signal: s, Former: x.signals[s].group, Lost: moved}
	for _, r := range old {
		if !slices.Contains(next, r) {
			e.Lost = true
		}
	}
	if !e.Lost {
		x.signals[s].refs = next
		for _, v := range values(next) {
			if !hasValue(old, v) {
				x.timelines[v].insert(uint32(s), x.before)
			}
		}
		x.link(s, &e)
		return e
	}
	x.replace(s, t, old, next, &e)
	x.link(s, &e)
	return e
}

func (x *Index) add(id string, at int64, next []Ref) Effect {
	s := x.newSignal(id)
	x.signals[s].at, x.signals[s].refs = at, next
	g := x.newGroup([]uint32{uint32(s)})
	for _, v := range values(next) {
		x.timelines[v].insert(uint32(s), x.before)
	}
	e := Effect{Signal: s, Fresh: true, Former: g}
	x.link(s, &e)
	return e
}

func (x *Index) newSignal(id string) SignalNum {
	var s SignalNum
	if n := len(x.freeSignals); n > 0 {
		s, x.freeSignals = x.freeSignals[n-1], x.freeSignals[:n-1]
		x.signals[s] = signal{id: id}
	} else {
		s = SignalNum(len(x.signals))
		x.signals = append(x.signals, signal{id: id})
	}
	x.signals[s].apart = len(x.hand.apart) > 0 && x.hand.apart[id]
	x.byID[id] = s
	return s
}

// link joins the group of s with those of its neighbours. It is enough to look at
// the nearest before and after: what is within the window beyond them is within
// the window of them.
func (x *Index) link(s SignalNum, e *Effect) {
	for _, v := range values(x.Refs(s)) {
		if !x.joins[v] {
			continue
		}
		x.eachNeighbour(s, v, func(n uint32) {
			x.union(x.signals[s].group, x.signals[n].group, e)
		})
	}
	x.eachTied(s, func(n uint32) {
		x.union(x.signals[s].group, x.signals[n].group, e)
	})
	e.Group = x.signals[s].group
}

// eachTied calls f with the signals that people have put into one case with s.
func (x *Index) eachTied(s SignalNum, f func(uint32)) {
	if len(x.hand.tied) == 0 {
		return
	}
	for _, id := range x.hand.tied[x.signals[s].id] {
		if n, ok := x.byID[id]; ok {
			f(uint32(n))
		}
	}
}

// eachNeighbour calls f with the nearest signals before and after s that have v,
// were not split off, and are within the window.
func (x *Index) eachNeighbour(s SignalNum, v ValueNum, f func(uint32)) {
	if x.signals[s].apart {
		return
	}
	around := x.timelines[v].around
	if len(x.hand.apart) > 0 {
		around = func(s uint32, less order) (uint32, uint32, bool, bool) {
			return x.timelines[v].aroundBut(s, less, func(n uint32) bool { return x.signals[n].apart })
		}
	}
	before, after, hasBefore, hasAfter := around(uint32(s), x.before)
	at := x.signals[s].at
	if hasBefore && near(x.signals[before].at, at, x.window) {
		f(before)
	}
	if hasAfter && near(at, x.signals[after].at, x.window) {
		f(after)
	}
}

// before is the order of timelines.
func (x *Index) before(a, b uint32) bool {
	p, q := x.signals[a].at, x.signals[b].at
	return p < q || p == q && a < b
}

// earlier is the order by which a case is named.
func (x *Index) earlier(a, b uint32) bool {
	p, q := &x.signals[a], &x.signals[b]
	return p.at < q.at || p.at == q.at && p.id < q.id
}

func (x *Index) newGroup(members []uint32) GroupNum {
	var g GroupNum
	if n := len(x.free); n > 0 {
		g, x.free = x.free[n-1], x.free[:n-1]
	} else {
		g = GroupNum(len(x.groups))
		x.groups = append(x.groups, group{})
	}
	x.groups[g] = group{members: members}
	for i, m := range members {
		x.signals[m].group, x.signals[m].place = g, uint32(i)
	}
	x.findEarliest(g)
	return g
}

// union moves the smaller group into the larger, so that a signal is moved at most
// log n times. Groups that would be too large together stay two.
func (x *Index) union(a, b GroupNum, e *Effect) {
	if a == b {
		return
	}
	if len(x.groups[a].members)+len(x.groups[b].members) > x.most {
		if pair := [2]GroupNum{a, b}; !slices.Contains(e.Cut, pair) {
			e.Cut = append(e.Cut, pair)
		}
		return
	}
	if len(x.groups[a].members) < len(x.groups[b].members) {
		a, b = b, a
	}
	into, from := &x.groups[a], &x.groups[b]
	for _, m := range from.members {
		x.signals[m].group, x.signals[m].place = a, uint32(len(into.members))
		into.members = append(into.members, m)
		e.Moved = append(e.Moved, SignalNum(m))
	}
	if x.earlier(from.earliest, into.earliest) {
		into.earliest = from.earliest
	}
	*from = group{}
	x.free = append(x.free, b)
	e.Merged = append(e.Merged, b)
}

func (x *Index) findEarliest(g GroupNum) {
	members := x.groups[g].members
	first := members[0]
	for _, m := range members[1:] {
		if x.earlier(m, first) {
			first = m
		}
	}
	x.groups[g].earliest = first
}

// takeOut makes a group of its own of some members of g.
func (x *Index) takeOut(g GroupNum, piece []uint32) GroupNum {
	members := x.groups[g].members
	for _, m := range piece {
		last := len(members) - 1
		at := x.signals[m].place
		members[at] = members[last]
		x.signals[members[at]].place = at
		members = members[:last]
	}
	x.groups[g].members = members
	split := x.newGroup(piece)
	if first := x.groups[g].earliest; x.signals[first].group == split {
		x.findEarliest(g)
	}
	return split
}

// intern gives the values their numbers.
func (x *Index) intern(observables []sdk.Observable) []Ref {
	refs := make([]Ref, 0, len(observables))
	for _, o := range observables {
		r := Ref{Value: x.Value(o)}
		switch o.Role {
		case sdk.Subject:
			r.Role = Subject
		case sdk.Indicator:
			r.Role = Indicator
		}
		if !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	return refs
}

// values are the values of refs, each once.
func values(refs []Ref) iter.Seq2[int, ValueNum] {
	return func(yield func(int, ValueNum) bool) {
		for i, r := range refs {
			if !hasValue(refs[:i], r.Value) && !yield(i, r.Value) {
				return
			}
		}
	}
}

func hasValue(refs []Ref, v ValueNum) bool {
	for _, r := range refs {
		if r.Value == v {
			return true
		}
	}
	return false
}

// Value returns the number of an observable's value; the role is dropped.
func (x *Index) Value(o sdk.Observable) ValueNum {
	x.key = append(append(append(x.key[:0], o.Kind...), ':'), o.Value...)
	if v, ok := x.byKey[string(x.key)]; ok {
		return v
	}
	key := string(x.key)
	var v ValueNum
	if n := len(x.freeValues); n > 0 {
		v, x.freeValues = x.freeValues[n-1], x.freeValues[:n-1]
		x.keys[v], x.joins[v] = key, !x.NeverJoins(o)
	} else {
		v = ValueNum(len(x.keys))
		x.keys = append(x.keys, key)
		x.joins = append(x.joins, !x.NeverJoins(o))
		x.timelines = append(x.timelines, nil)
	}
	x.byKey[key] = v
	return v
}

// Observable returns the value of a number, without a role.
func (x *Index) Observable(v ValueNum) sdk.Observable {
	return observable(x.keys[v])
}

func observable(key string) sdk.Observable {
	kind, value, _ := strings.Cut(key, ":")
	return sdk.Observable{Kind: kind, Value: value}
}

// Key returns the value of a number as "kind:value"; empty: the number is free.
func (x *Index) Key(v ValueNum) string { return x.keys[v] }

// Joins tells whether a value makes cases.
func (x *Index) Joins(v ValueNum) bool { return x.joins[v] }

// NeverJoins tells whether an observable is one that makes no case.
func (x *Index) NeverJoins(o sdk.Observable) bool {
	return len(x.never) > 0 && x.never[o.Key()] ||
		slices.ContainsFunc(x.settings.NeverLike, func(p Pattern) bool { return p.matches(o) })
}

// Values is how many values have a number.
func (x *Index) Values() int { return len(x.byKey) }

// Len is how many signals there are.
func (x *Index) Len() int { return len(x.byID) }

// ValueRoom is above every value's number.
func (x *Index) ValueRoom() int { return len(x.keys) }

// SignalRoom is above every signal's number.
func (x *Index) SignalRoom() int { return len(x.signals) }

// Signal returns the number of a signal.
func (x *Index) Signal(id string) (SignalNum, bool) {
	s, ok := x.byID[id]
	return s, ok
}

// ID returns a signal's id; empty: the number is free.
func (x *Index) ID(s SignalNum) string { return x.signals[s].id }

// Time returns a signal's time. A time that is out of the range of int64
// nanoseconds since 1970 is the first or last in it.
func (x *Index) Time(s SignalNum) time.Time { return fromTicks(x.signals[s].at) }

// Refs returns a signal's observables in the order of its latest Put. They are
// valid until the next Put.
func (x *Index) Refs(s SignalNum) []Ref {
	return x.signals[s].refs
}

// Group returns the group of a signal.
func (x *Index) Group(s SignalNum) GroupNum { return x.signals[s].group }

// Earliest returns the signal that a group is named by: the first by time, then id.
func (x *Index) Earliest(g GroupNum) SignalNum { return SignalNum(x.groups[g].earliest) }

// Size is how many signals a group has; 0: there is no such group.
func (x *Index) Size(g GroupNum) int { return len(x.groups[g].members) }

// Members iterates over a group's signals in no order. Nothing may be put meanwhile.
func (x *Index) Members(g GroupNum) iter.Seq[SignalNum] {
	return func(yield func(SignalNum) bool) {
		for _, m := range x.groups[g].members {
			if !yield(SignalNum(m)) {
				return
			}
		}
	}
}

// Groups iterates over all groups in no order. Nothing may be put meanwhile.
func (x *Index) Groups() iter.Seq[GroupNum] {
	return func(yield func(GroupNum) bool) {
		for g := range x.groups {
			if len(x.groups[g].members) > 0 && !yield(GroupNum(g)) {
				return
			}
		}
	}
}

// GroupsOf iterates over the groups that have a value, in the order of time, some
// more than once. Nothing may be put meanwhile.
func (x *Index) GroupsOf(v ValueNum) iter.Seq[GroupNum] {
	return func(yield func(GroupNum) bool) {
		for _, chunk := range x.timelines[v] {
			last, any := GroupNum(0), false
			for _, s := range chunk {
				g := x.signals[s].group
				if any && g == last {
					continue
				}
				last, any = g, true
				if !yield(g) {
					return
				}
			}
		}
	}
}

// Count is how many signals have a value.
func (x *Index) Count(v ValueNum) int {
	n := 0
	for _, chunk := range x.timelines[v] {
		n += len(chunk)
	}
	return n
}

// SignalsOf iterates over the signals that have a value, in the order of time. Nothing
// may be put meanwhile.
func (x *Index) SignalsOf(v ValueNum) iter.Seq[SignalNum] {
	return func(yield func(SignalNum) bool) {
		for _, chunk := range x.timelines[v] {
			for _, s := range chunk {
				if !yield(SignalNum(s)) {
					return
				}
			}
		}
	}
}

// Lookup returns the number of an observable's value, if it has one.
func (x *Index) Lookup(o sdk.Observable) (ValueNum, bool) {
	v, ok := x.byKey[o.Key()]
	return v, ok
}
