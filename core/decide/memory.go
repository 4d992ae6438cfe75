package decide

import (
	"container/heap"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
)

// Limits of what a machine has in memory. What is beyond them leaves for the store,
// the cases that changed longest ago first, and comes back when something comes for
// it; nothing that is decided depends on them. What waits for something can't leave:
// see Machine.Load.
type Limits struct {
	Signals int
	Values  int
	Intents int // and questions
	// Answers are bytes of what lookups have said.
	Answers int
}

// Defaults of Limits.
const (
	DefaultSignals = 50_000
	DefaultValues  = 100_000
	DefaultIntents = 10_000
	DefaultAnswers = 32 << 20
)

// Bounds of Limits, as an operator may set them. The least has room for a group of
// signals; the most is what no machine should be asked for by a slip of the pen.
const (
	MinSignals, MaxSignals = 1000, 10_000_000
	MinValues, MaxValues   = 1000, 20_000_000
	MinIntents, MaxIntents = 1000, 1_000_000
	MinAnswers, MaxAnswers = 1 << 20, 16 << 30
)

func (l Limits) orDefault() Limits {
	for n, d := range map[*int]int{
		&l.Signals: DefaultSignals, &l.Values: DefaultValues, &l.Intents: DefaultIntents, &l.Answers: DefaultAnswers,
	} {
		if *n == 0 {
			*n = d
		}
	}
	return l
}

// load is what something takes of the limits.
type load struct{ signals, values, intents int }

// mark is how far a source has come.
type mark struct {
	// At is its latest event of those that all before has come of, nanoseconds since 1970;
	// not beyond decide's time then.
	At   int64 `json:"at"`
	Seen int64 `json:"seen"` // decide's time at its last signal
	// Awake is Machine.awake then.
	Awake int64 `json:"awake,omitempty"`
	// Ahead are its events of messages before which one of EVENTS is still to come.
	Ahead []ahead `json:"ahead,omitempty"`
}

// ahead is the latest event of some messages of EVENTS, of which Seq is the last.
type ahead struct {
	Seq uint64 `json:"seq"`
	At  int64  `json:"at"`
}

// mostAhead bounds what is kept of a source that is ahead; what goes beyond it counts with
// the message that comes last.
const mostAhead = 1024

// unmarked is a source of which nothing has come, or nothing that all before has come of.
const unmarked = math.MinInt64

// markSource notes an event of the message of EVENTS that is being applied. How late an
// event comes is by the order in which its source reported it. Messages may come here in
// another one, since several are matched at once and those that an end cut short come
// again much later: a source has come no farther than all that lies before.
func (m *Machine) markSource(source string, at time.Time) {
	k := m.marks[source]
	if k == nil {
		k = &mark{At: unmarked}
		m.marks[source] = k
	}
	now := min(at.UnixNano(), m.at.UnixNano())
	k.Seen, k.Awake = m.at.UnixNano(), m.awake
	if m.matching <= m.events.Low {
		m.reaches(k, now)
		return
	}
	switch last := len(k.Ahead) - 1; {
	case last >= 0 && (k.Ahead[last].Seq == m.matching || len(k.Ahead) == mostAhead):
		k.Ahead[last] = ahead{max(k.Ahead[last].Seq, m.matching), max(k.Ahead[last].At, now)}
	default:
		k.Ahead = append(k.Ahead, ahead{m.matching, now})
	}
}

func (m *Machine) reaches(k *mark, at int64) {
	if at > k.At {
		k.At, m.several.moved = at, true
	}
}

// catchUp has sources come as far as there is nothing before that is still to come.
func (m *Machine) catchUp(low uint64) {
	for _, k := range m.marks {
		k.Ahead = slices.DeleteFunc(k.Ahead, func(a ahead) bool {
			if a.Seq <= low {
				m.reaches(k, a.At)
			}
			return a.Seq <= low
		})
	}
}

// moveHorizon brings the horizon up to date: no event that is not late can be within
// the window of what is beyond it. A source that has been quiet for as long as the
// window holds it back no more.
func (m *Machine) moveHorizon() {
	window, lateness := int64(m.settings.Correlate.Window), int64(m.settings.Correlate.Lateness)
	lowest := int64(math.MaxInt64)
	for _, k := range m.marks {
		if k.Seen >= m.at.UnixNano()-window {
			lowest = min(lowest, k.At)
		}
	}
	if lowest != math.MaxInt64 && lowest > math.MinInt64/2 {
		m.horizon = max(m.horizon, lowest-lateness-window)
	}
}

// closed tells whether a case is over: nothing that is not late joins it, and nothing
// has come for it lately.
func (m *Machine) closed(cs *caseState) bool {
	return cs.sum.lastAt.UnixNano() < m.horizon && cs.changedAt.UnixNano() <= m.quietSince()
}

// quietSince: what changed last before it has been left alone for as long as events
// may be late.
func (m *Machine) quietSince() int64 {
	if m.settings == nil {
		return math.MinInt64
	}
	return m.at.UnixNano() - int64(m.settings.Correlate.Lateness)
}

// stays tells whether a case can't leave, since something about it is under way.
func (m *Machine) stays(cs *caseState) bool {
	return cs.waiting || cs.limited || cs.paused || cs.late || cs.held || m.owes(cs) || len(m.open) > 0 && m.asking(cs) || len(m.holds) > 0 && m.inHold(cs)
}

// owes tells whether a step of a case is still to be done.
func (m *Machine) owes(cs *caseState) bool {
	for _, name := range cs.names {
		if len(m.byFirst[name]) == 0 {
			continue
		}
		if n, ok := m.firsts[name]; !ok || m.index.Group(n) != cs.group {
			continue // the case that has the signal answers for it
		}
		if slices.ContainsFunc(m.byFirst[name], func(in *intentState) bool { return !in.State.Final() }) {
			return true
		}
	}
	return false
}

// recency has the cases that can leave, in the order of their last change.
type recency struct{ oldest, newest *caseState }

func (r *recency) push(cs *caseState) {
	cs.shelved, cs.before, cs.after = true, r.newest, nil
	if r.newest == nil {
		r.oldest = cs
	} else {
		r.newest.after = cs
	}
	r.newest = cs
}

func (r *recency) remove(cs *caseState) {
	if cs.before == nil {
		r.oldest = cs.after
	} else {
		cs.before.after = cs.after
	}
	if cs.after == nil {
		r.newest = cs.before
	} else {
		cs.after.before = cs.before
	}
	cs.shelved, cs.before, cs.after = false, nil, nil
}

// shelve puts a case that was touched where it belongs: among those that can leave,
// as the latest, or to what can't.
func (m *Machine) shelve(cs *caseState) {
	m.unshelve(cs)
	if m.stays(cs) {
		cs.pinned = load{signals: m.index.Size(cs.group), values: len(cs.sum.refs)}
		for _, name := range cs.names {
			cs.pinned.intents += len(m.byFirst[name]) + len(m.questionsBy[name])
		}
		m.pin(cs.pinned, 1)
		return
	}
	m.recency.push(cs)
	m.queue(cs)
}

func (m *Machine) unshelve(cs *caseState) {
	if cs.shelved {
		m.recency.remove(cs)
	}
	m.pin(cs.pinned, -1)
	cs.pinned = load{}
}

func (m *Machine) pin(l load, n int) {
	m.pinned.signals += n * l.signals
	m.pinned.values += n * l.values
	m.pinned.intents += n * l.intents
}

// closing has the cases that can leave, by when they may be over. An entry says no
// more than that it is to be looked at.
type closing struct {
	byTime   queue // of event times: over when the horizon is beyond it
	byChange queue // of decide's times: over when that is long enough ago
}

type queued struct {
	key int64
	cs  *caseState
}

type queue []queued

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].key < q[j].key }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(v any)        { *q = append(*q, v.(queued)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	v := (*q)[last]
	(*q)[last] = queued{}
	*q = (*q)[:last]
	return v
}

// queue has a case looked at when it may be over.
func (m *Machine) queue(cs *caseState) {
	at := cs.sum.lastAt.UnixNano()
	if cs.queued && cs.closes <= at {
		return
	}
	cs.queued, cs.closes = true, at
	heap.Push(&m.closing.byTime, queued{at, cs})
}

// requeue looks at all cases anew, since the settings have changed.
func (m *Machine) requeue() {
	m.closing = closing{}
	for _, cs := range m.cases {
		cs.queued = false
		if cs.shelved {
			m.queue(cs)
		}
	}
}

// over takes the cases that are over, by id.
func (m *Machine) over() []*caseState {
	var over []*caseState
	q, quiet := &m.closing, m.quietSince()
	for len(q.byTime) > 0 && q.byTime[0].key < m.horizon {
		e := heap.Pop(&q.byTime).(queued)
		if !m.current(e) {
			continue
		}
		if e.cs.sum.lastAt.UnixNano() >= m.horizon {
			e.cs.queued = false
			m.queue(e.cs)
			continue
		}
		heap.Push(&q.byChange, queued{e.cs.changedAt.UnixNano(), e.cs})
		e.cs.closes = math.MinInt64
	}
	for len(q.byChange) > 0 && q.byChange[0].key <= quiet {
		e := heap.Pop(&q.byChange).(queued)
		cs := e.cs
		if cs.gone || !cs.queued || cs.closes != math.MinInt64 {
			continue
		}
		cs.queued = false
		switch {
		case !cs.shelved:
		case m.closed(cs):
			over = append(over, cs)
		default:
			m.queue(cs)
		}
	}
	slices.SortFunc(over, func(a, b *caseState) int { return strings.Compare(a.id, b.id) })
	return over
}

func (m *Machine) current(e queued) bool {
	if e.cs.gone || !e.cs.queued || e.cs.closes != e.key {
		return false
	}
	if !e.cs.shelved {
		e.cs.queued = false // it is queued again when it can leave
		return false
	}
	return true
}

// spareQueued is how many entries of cases that are gone are never worth the work of
// taking them out.
const spareQueued = 1024

// leave lets the cases go that are over and, if there is no room, those that changed
// longest ago.
func (m *Machine) leave() {
	if m.settings != nil {
		m.moveHorizon()
		if n := m.closing.byTime.Len() + m.closing.byChange.Len(); n > 2*len(m.cases)+spareQueued {
			m.requeue() // most are of cases that are gone
		}
		for _, cs := range m.over() {
			m.depart(cs)
		}
		m.tidy()
		for m.full() && m.recency.oldest != nil {
			m.depart(m.recency.oldest)
			m.tidy()
		}
	}
	m.tidy()
	m.brought, m.changed.fresh = m.brought[:0], 0
}

// full tells whether there is no room.
func (m *Machine) full() bool {
	return m.index.Len() > m.limits.Signals || m.index.Values() > m.limits.Values ||
		len(m.intents)+len(m.questions) > m.limits.Intents || m.answers > m.limits.Answers
}

// depart takes a case out of memory and into the next Changes.
func (m *Machine) depart(cs *caseState) {
	m.flushRows()
	if cs.dirty {
		m.fixRow(cs)
	}
	m.unshelve(cs)
	m.changed.settled = append(m.changed.settled, m.settled(cs))
	for _, name := range cs.names {
		if n, ok := m.firsts[name]; ok && m.index.Group(n) == cs.group {
			delete(m.firsts, name)
			m.changed.away = append(m.changed.away, hashOf(name))
		}
	}
	for n := range m.index.Members(cs.group) {
		delete(m.opened, n)
		m.releaseTexts(&m.signals[n])
		m.signals[n] = signalState{}
		m.changed.away = append(m.changed.away, hashOf(m.index.ID(n)))
	}
	for _, r := range cs.sum.refs {
		m.idle = append(m.idle, r.Value)
		if m.findable(r.Value) {
			m.changed.away = append(m.changed.away, hashOf(m.index.Key(r.Value)))
		}
	}
	m.index.Remove(cs.group)
	delete(m.cases, cs.group)
	m.nameAll(cs.names, -1)
	for _, name := range cs.names {
		if m.named[name] == 0 {
			for _, in := range m.byFirst[name] {
				delete(m.intents, in.ID)
			}
			delete(m.byFirst, name)
			for _, q := range m.questionsBy[name] {
				delete(m.questions, q.ID)
			}
			delete(m.questionsBy, name)
		}
	}
	cs.gone, cs.sum, cs.names, cs.opened, cs.fresh = true, sum{}, nil, nil, nil
	m.away++
}

// tidy frees the numbers of what is of no more use.
func (m *Machine) tidy() {
	for len(m.idle) > 0 {
		idle := m.idle
		m.idle = nil
		slices.Sort(idle)
		for _, v := range slices.Compact(idle) {
			m.dropValue(v)
		}
	}
	m.texts.tidy()
}

// dropValue lets go of what is known about a value, if no signal has it, no answer
// that counts for a case names it, and nobody is asked about it; and of its number,
// if nothing names it at all.
func (m *Machine) dropValue(v correlate.ValueNum) {
	if m.index.Key(v) == "" || m.reached(v, maxDepth+1) {
		return
	}
	lookups := m.lookupsOf(v)
	for _, l := range lookups {
		if l.pending() {
			return
		}
	}
	for _, l := range lookups {
		named := l.named
		m.forget(l)
		m.idle = append(m.idle, named...)
		delete(m.asks, l.ask)
		m.texts.release(l.source)
		m.answers -= l.weight
	}
	if len(lookups) > 0 {
		m.changed.away = append(m.changed.away, hashOf(m.index.Key(v)))
		m.lookups[v] = nil
	}
	if len(m.parents[v]) == 0 {
		m.index.Release(v)
	}
}

// reached tells whether a signal has the value, or one whose answers lead to it.
func (m *Machine) reached(v correlate.ValueNum, depth int) bool {
	if m.index.Used(v) {
		return true
	}
	return depth > 0 && slices.ContainsFunc(m.parents[v], func(p correlate.ValueNum) bool { return m.reached(p, depth-1) })
}

// Memory is how full the memory is.
type Memory struct {
	// Load is Machine.Load.
	Load float64
	// Cases are in memory, Settled ones have left it.
	Cases, Settled int
	// Rules are the rules over several, as they were at the last tick; nil: there was none
	// since the last Changes.
	Rules []RuleStat
}

// RuleStat is what the facts of one rule over several take, and what was let go of them.
type RuleStat struct {
	Rule   string `json:"rule"`
	Groups int    `json:"groups"` // keys with facts
	Facts  int    `json:"facts"`
	Bytes  int64  `json:"bytes"` // about
	// Evicted counts groups, and Crowded facts of groups, that were let go for want of
	// room; Late facts that came too late to count.
	Evicted uint64 `json:"evicted"`
	Crowded uint64 `json:"crowded"`
	Late    uint64 `json:"late"`
}

func (m *Machine) ruleStats() []RuleStat {
	all := []RuleStat{}
	for _, s := range m.several.windows.Stats() {
		all = append(all, RuleStat{m.shown(s.Rule), s.Groups, s.Facts, s.Bytes, s.Evicted, s.Crowded, s.Late})
	}
	return all
}

// Memory tells how full it is.
func (m *Machine) Memory() Memory {
	return Memory{Load: m.Load(), Cases: len(m.cases), Settled: m.away}
}

// Left tells whether something has left that the store does not have yet.
func (m *Machine) Left() bool { return len(m.changed.settled)+len(m.changed.away) > 0 }

// Load is how full the memory is of what can't leave it, because it waits for an
// answer, a step or the end of the run: 1 is at the limit.
func (m *Machine) Load() float64 {
	if m.once {
		return 0 // what waits for the end of the run would keep it from coming
	}
	share := func(n, limit int) float64 { return float64(n) / float64(max(limit, 1)) }
	return max(share(m.pinned.signals, m.limits.Signals), share(m.pinned.values, m.limits.Values),
		share(m.pinned.intents, m.limits.Intents), share(m.pending, m.limits.Values))
}
