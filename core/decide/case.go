package decide

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// caseState is what is remembered of one case. Everything in sum follows from its
// signals alone.
type caseState struct {
	group    correlate.GroupNum
	id       string                // as last named; empty: not yet
	earliest correlate.SignalNum   // that gives the id
	first    correlate.SignalNum   // that gives the first id
	opened   []correlate.SignalNum // its signals whose case id was ever in use
	names    []string              // all first ids whose intents count for it, ascending
	sum      sum

	updatedAt time.Time
	changedAt time.Time // when the newest signal came
	notes     []model.Note
	found     found
	beside    []string // cases, by an id of theirs, that are part of it but for its size
	limited   bool     // a limit holds something back
	paused    bool     // a pause does
	late      bool     // it was touched and not planned since
	held      bool     // it is planned when the run has ended
	waiting   bool     // an answer about it was pending when it was last touched
	credit    int      // what planning it may cost, see due

	fresh   []correlate.SignalNum // put or moved here since it was last named
	joined  []correlate.SignalNum // opened ones among them that other cases had
	rename  bool                  // it may have lost members
	rebuild bool                  // sum holds no more
	touched bool
	altered bool // by what touched it, so that its row is another
	dirty   bool
	gone    bool // part of another case now, or away

	before, after *caseState // in recency
	shelved       bool       // it is in recency
	pinned        load       // what is counted of it in Machine.pinned
	queued        bool       // it is in closing
	closes        int64      // its key there
}

// openedCase is a case id that was ever in use: that of a signal.
type openedCase struct {
	openedAt time.Time
	mergedAt time.Time
	alias    bool                // no case has this id now
	target   correlate.SignalNum // that names the case which has it as an alias
}

// sum is what the signals of a case say together.
type sum struct {
	severity uint8
	stopped  [3]bool // which of the states occur
	lead     int     // the signal that gives the title, +1; 0: none
	firstAt  time.Time
	lastAt   time.Time
	rules    []uint32 // ascending
	tactics  []uint32 // of joined techniques, ascending
	sources  []uint32
	refs     []correlate.Ref // by key, then role
}

// grouped keeps the cases in step with the index.
func (m *Machine) grouped(e correlate.Effect, shrunk bool) {
	if e.Lost {
		former := m.cases[e.Former]
		for _, g := range e.Split {
			m.cases[g] = &caseState{group: g, names: slices.Clone(former.names), changedAt: former.changedAt}
			m.cases[g].waiting, m.cases[g].held, m.cases[g].found = former.waiting, former.held, former.found
			m.nameAll(former.names, 1)
			m.stale(m.cases[g])
		}
		m.stale(former)
	}
	if e.Fresh {
		m.cases[e.Former] = &caseState{group: e.Former}
	}
	into := m.cases[e.Group]
	for _, g := range e.Merged {
		m.merge(into, m.cases[g])
		delete(m.cases, g)
	}
	into.fresh = append(into.fresh, e.Moved...)
	if e.Lost || shrunk {
		m.stale(into)
	}
	into.fresh = append(into.fresh, e.Signal)
	m.add(&into.sum, e.Signal)
	m.touch(into)
	for _, pair := range e.Cut {
		m.cutOff(pair)
	}
}

// cutOff notes of two cases that they would be one, and too large.
func (m *Machine) cutOff(pair [2]correlate.GroupNum) {
	for i, g := range pair {
		cs, other := m.cases[g], m.caseID(m.index.Earliest(pair[1-i]))
		if cs == nil || len(cs.beside) >= maxBeside || slices.Contains(cs.beside, other) {
			continue
		}
		cs.beside = insert(cs.beside, other)
		m.touch(cs)
	}
}

// maxBeside bounds the cases that are listed beside one that is cut.
const maxBeside = 5

// stale has a case summed up anew.
func (m *Machine) stale(cs *caseState) {
	cs.rebuild, cs.rename = true, true
	m.touch(cs)
}

func (m *Machine) merge(into, from *caseState) {
	from.gone = true
	m.unshelve(from)
	into.rename = into.rename || from.rename
	into.rebuild = into.rebuild || from.rebuild
	into.joined = append(append(into.joined, from.joined...), from.opened...)
	into.limited = into.limited || from.limited
	into.paused = into.paused || from.paused
	into.late = into.late || from.late
	into.held = into.held || from.held
	m.findTogether(into, from, m.nameOf(into))
	into.waiting = into.waiting || from.waiting
	if from.changedAt.After(into.changedAt) {
		into.changedAt = from.changedAt
	}
	for _, name := range from.names {
		if slices.Contains(into.names, name) {
			m.nameAll([]string{name}, -1)
		}
		into.names = insert(into.names, name)
	}
	for _, id := range from.beside {
		if len(into.beside) < maxBeside {
			into.beside = insert(into.beside, id)
		}
	}
	m.join(&into.sum, &from.sum)
}

// add adds a signal to what a case sums up. Adding one again changes nothing.
func (m *Machine) add(s *sum, n correlate.SignalNum) {
	state := &m.signals[n]
	at := m.index.Time(n)
	if s.lead == 0 || at.Before(s.firstAt) {
		s.firstAt = at
	}
	if s.lead == 0 || at.After(s.lastAt) {
		s.lastAt = at
	}
	if s.lead == 0 || m.leads(n, correlate.SignalNum(s.lead-1)) {
		s.lead = int(n) + 1
	}
	s.severity = max(s.severity, state.severity)
	s.stopped[state.stopped] = true
	s.rules = insert(s.rules, state.rule)
	if state.source != state.rule { // of many detectors it says no more than theirs do
		s.sources = insert(s.sources, state.source)
	}
	if state.technique != 0 {
		s.tactics = insert(s.tactics, state.technique)
	}
	for _, r := range m.index.Refs(n) {
		s.refs = m.insertRef(s.refs, r)
	}
}

// join adds one sum to another.
func (m *Machine) join(s, o *sum) {
	if o.lead == 0 {
		return
	}
	if s.lead == 0 {
		*s = *o
		return
	}
	if o.firstAt.Before(s.firstAt) {
		s.firstAt = o.firstAt
	}
	if o.lastAt.After(s.lastAt) {
		s.lastAt = o.lastAt
	}
	if m.leads(correlate.SignalNum(o.lead-1), correlate.SignalNum(s.lead-1)) {
		s.lead = o.lead
	}
	s.severity = max(s.severity, o.severity)
	for i, set := range o.stopped {
		s.stopped[i] = s.stopped[i] || set
	}
	for _, n := range o.rules {
		s.rules = insert(s.rules, n)
	}
	for _, n := range o.sources {
		s.sources = insert(s.sources, n)
	}
	for _, n := range o.tactics {
		s.tactics = insert(s.tactics, n)
	}
	for _, r := range o.refs {
		s.refs = m.insertRef(s.refs, r)
	}
}

// leads tells whether a gives the case its title rather than b: the more severe,
// then the earlier, then the lower id.
func (m *Machine) leads(a, b correlate.SignalNum) bool {
	p, q := m.signals[a].severity, m.signals[b].severity
	if p != q {
		return p > q
	}
	return m.earlier(a, b)
}

func (m *Machine) earlier(a, b correlate.SignalNum) bool {
	p, q := m.index.Time(a), m.index.Time(b)
	if !p.Equal(q) {
		return p.Before(q)
	}
	return m.index.ID(a) < m.index.ID(b)
}

func (m *Machine) insertRef(refs []correlate.Ref, r correlate.Ref) []correlate.Ref {
	at, found := slices.BinarySearchFunc(refs, r, m.compareRefs)
	if found {
		return refs
	}
	return slices.Insert(refs, at, r)
}

// compareRefs is by key, then by role.
func (m *Machine) compareRefs(a, b correlate.Ref) int {
	if a.Value == b.Value {
		return int(a.Role) - int(b.Role)
	}
	return strings.Compare(m.index.Key(a.Value), m.index.Key(b.Value))
}

func insert[T cmp.Ordered](sorted []T, n T) []T {
	at, found := slices.BinarySearch(sorted, n)
	if found {
		return sorted
	}
	return slices.Insert(sorted, at, n)
}

// name gives the touched cases their ids, and has the rows about ids written.
func (m *Machine) name() {
	var opened []correlate.SignalNum
	for _, cs := range m.touched {
		if cs.gone {
			continue
		}
		m.sumUp(cs)
		if earliest := m.index.Earliest(cs.group); cs.rename || cs.id == "" || cs.earliest != earliest {
			m.rename(cs, earliest)
			opened = append(opened, cs.opened...)
		} else {
			for _, n := range cs.fresh {
				m.publish(n, earliest)
			}
			if len(cs.joined) > 0 {
				cs.opened = append(cs.opened, cs.joined...)
				cs.first = m.firstOf(cs, earliest)
				opened = append(opened, cs.joined...)
			}
		}
		cs.fresh, cs.joined, cs.rename = cs.fresh[:0], nil, false
	}
	for _, n := range opened {
		m.settleID(n)
	}
}

// sumUp sums a case up anew, if what it has holds no more.
func (m *Machine) sumUp(cs *caseState) {
	if !cs.rebuild {
		return
	}
	cs.sum = sum{}
	for n := range m.index.Members(cs.group) {
		m.add(&cs.sum, n)
	}
	cs.rebuild = false
}

// rename brings everything up to date that depends on a case's id or on which
// signals it has.
func (m *Machine) rename(cs *caseState, earliest correlate.SignalNum) {
	cs.earliest, cs.id = earliest, model.CaseID(m.index.ID(earliest))
	if m.opened[earliest] == nil {
		m.opened[earliest] = &openedCase{openedAt: m.at, target: earliest}
		m.signals[earliest].opened = true
	}
	cs.opened = cs.opened[:0]
	for n := range m.index.Members(cs.group) {
		m.publish(n, earliest)
		if m.signals[n].opened {
			cs.opened = append(cs.opened, n)
		}
	}
	cs.first = m.firstOf(cs, earliest)
}

// firstOf is the signal of the id under which the case was first opened: of all
// such ids that it has, and whose signal is in it, the one opened first. A case
// that came off another and has none opens one.
func (m *Machine) firstOf(cs *caseState, earliest correlate.SignalNum) correlate.SignalNum {
	first, found := earliest, false
	for _, name := range cs.names {
		n, ok := m.firsts[name]
		if !ok || m.index.Group(n) != cs.group {
			continue
		}
		if !found || m.openedBefore(n, first) {
			first, found = n, true
		}
	}
	if id := m.caseID(first); !slices.Contains(cs.names, id) {
		cs.names = insert(cs.names, id)
		m.nameAll([]string{id}, 1)
		m.firsts[id] = first
	}
	return first
}

// nameAll counts cases that came to have names, or have them no more.
func (m *Machine) nameAll(names []string, n int) {
	for _, name := range names {
		if m.named[name] += n; m.named[name] == 0 {
			delete(m.named, name)
		}
	}
}

func (m *Machine) openedBefore(a, b correlate.SignalNum) bool {
	p, q := m.opened[a].openedAt, m.opened[b].openedAt
	if !p.Equal(q) {
		return p.Before(q)
	}
	return m.index.ID(a) < m.index.ID(b)
}

func (m *Machine) publish(n, earliest correlate.SignalNum) {
	if m.signals[n].published != earliest+1 {
		m.signals[n].published = earliest + 1
		m.changed.members = append(m.changed.members, n)
	}
}

// settleID says of an id that was ever in use what it is now: a case's own, or an
// alias.
func (m *Machine) settleID(n correlate.SignalNum) {
	o := m.opened[n]
	target := m.index.Earliest(m.index.Group(n))
	if target == o.target {
		return
	}
	alias := target != n
	if alias && !o.alias {
		o.mergedAt = m.at
	}
	o.alias, o.target = alias, target
	m.changed.ids = append(m.changed.ids, n)
}

// maxListed bounds the subjects and indicators in a case's row. All of them are
// found with its signals.
const maxListed = 200

// row is a case as the store has it.
func (m *Machine) row(cs *caseState) model.Case {
	s := &cs.sum
	c := model.Case{
		ID: cs.id, FirstID: m.firstID(cs), State: model.CaseOpen,
		Title:    m.texts.text(m.signals[s.lead-1].title),
		Severity: int(s.severity),
		Stopped:  s.allStopped(),
		Size:     m.index.Size(cs.group),
		Rules:    m.names(s.rules),
		FirstAt:  s.firstAt, LastAt: s.lastAt,
		OpenedAt: m.opened[cs.first].openedAt, UpdatedAt: cs.updatedAt,
		Techniques: m.techniques(s),
		Joined:     m.joinedBy(cs),
		Notes:      cs.notes,
		Finding:    cs.found.Now,
		Reopened:   cs.found.Again,
	}
	if c.Finding != nil {
		c.State, c.Worked = model.CaseClosed, cs.found.Worked
	}
	for _, n := range cs.opened {
		if n != cs.earliest {
			c.Aliases = append(c.Aliases, model.CaseID(m.index.ID(n)))
		}
	}
	slices.Sort(c.Aliases)
	view := newView(m, cs)
	c.Subjects, c.Reported = view.ranked(maxListed)
	c.Indicators = view.indicators(maxListed)
	c.Score = view.score()
	c.Pending = view.pending().Count
	c.History = view.history()
	return c
}

func (s *sum) allStopped() *bool {
	switch {
	case s.stopped[stoppedNo]:
		return new(bool)
	case s.stopped[stoppedUnknown]:
		return nil
	}
	yes := true
	return &yes
}

func (m *Machine) firstID(cs *caseState) string { return model.CaseID(m.index.ID(cs.first)) }

// names are texts by their numbers, sorted.
func (m *Machine) names(numbers []uint32) []string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = m.texts.text(n)
	}
	slices.Sort(texts)
	return texts
}

func (m *Machine) techniques(s *sum) []string {
	var all []string
	for _, n := range s.tactics {
		all = append(all, splitTechniques(m.texts.text(n))...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func roleOf(r correlate.Role) sdk.Role {
	switch r {
	case correlate.Subject:
		return sdk.Subject
	case correlate.Indicator:
		return sdk.Indicator
	}
	return sdk.NoRole
}
