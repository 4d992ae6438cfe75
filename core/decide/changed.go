package decide

import (
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
)

// changed collects what Changes is made of.
type changed struct {
	any     bool
	flags   bool
	sums    bool
	signals map[string]model.Signal
	// experimental signals, which nothing else is known of.
	experimental map[string]model.Signal

	cases   []*caseState
	members []correlate.SignalNum // some more than once
	ids     []correlate.SignalNum // opened ids, some more than once
	asks    []model.Ask
	answers map[string]model.Reply
	intents map[string]*intentState
	holds   map[string]model.Hold

	questions map[string]*questionState
	proposals map[string]model.Proposal

	ledger  map[ledgerKey]*Ledger
	sources map[string]*SourceState
	configs []ConfigVersion
	records []model.Record
	rules   []RuleStat
	// schedules that are known anew; of one that is gone the rest is empty.
	schedules map[string]model.Schedule
	cursors   map[string][]byte

	// Rows that were made before the end of the group, by key, since what they are
	// made of has left.
	rows       map[string]model.Case
	memberRows map[string]string
	aliasRows  map[string]string
	settled    []Settled
	recalled   []int64
	fresh      int // how many of recalled, its last, are of an input that is not applied to its end
	recalls    []Recall
	away       []uint64
}

type ledgerKey struct {
	source string
	hour   int64
}

func newChanged() changed {
	return changed{
		signals: map[string]model.Signal{},

		experimental: map[string]model.Signal{},

		answers: map[string]model.Reply{},
		intents: map[string]*intentState{},
		holds:   map[string]model.Hold{},

		questions: map[string]*questionState{},
		proposals: map[string]model.Proposal{},

		ledger:    map[ledgerKey]*Ledger{},
		sources:   map[string]*SourceState{},
		schedules: map[string]model.Schedule{},
		cursors:   map[string][]byte{},

		rows: map[string]model.Case{}, memberRows: map[string]string{}, aliasRows: map[string]string{},
	}
}

// Signals is how many signals the next Changes will have.
func (m *Machine) Signals() int { return len(m.changed.signals) + len(m.changed.experimental) }

// Intents is how many intents the next Changes will have.
func (m *Machine) Intents() int { return len(m.changed.intents) }

// Changes returns what changed since it was last called. The machine keeps no
// signal's payload after that.
func (m *Machine) Changes() Changes {
	ch := &m.changed
	c := Changes{Position: m.position, At: m.at}
	var held []model.Record // of an input that is not applied to its end
	if m.half != nil {
		c.Position = m.half.before
		ch.records, held = ch.records[:m.half.records], ch.records[m.half.records:]
		m.half.records = 0
	}
	for _, s := range ch.signals {
		c.Signals = append(c.Signals, s)
	}
	slices.SortFunc(c.Signals, func(a, b model.Signal) int { return strings.Compare(a.ID, b.ID) })
	for _, id := range slices.Sorted(maps.Keys(ch.experimental)) {
		c.Experimental = append(c.Experimental, ch.experimental[id])
	}
	m.flushRows()
	for _, cs := range m.inOrder(ch.cases) {
		if cs.dirty {
			m.fixRow(cs)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ch.rows)) {
		c.Cases = append(c.Cases, ch.rows[id])
	}
	for _, id := range slices.Sorted(maps.Keys(ch.memberRows)) {
		c.Members = append(c.Members, Member{Signal: id, Case: ch.memberRows[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(ch.aliasRows)) {
		c.Aliases = append(c.Aliases, Alias{ID: id, Case: ch.aliasRows[id]})
	}
	c.Memory = m.Memory()
	c.Memory.Rules = ch.rules
	c.Horizon, c.Quiet = m.horizon, m.quietSince()
	later := m.laterRecalls()
	c.Settled, c.Recalled, c.Recalls, c.Away = ch.settled, ch.recalled, ch.recalls, ch.away
	c.Asks = ch.asks
	slices.SortFunc(c.Asks, func(a, b model.Ask) int { return strings.Compare(a.ID, b.ID) })
	for _, ask := range slices.Sorted(maps.Keys(ch.answers)) {
		c.Answers = append(c.Answers, ch.answers[ask])
	}
	for _, id := range slices.Sorted(maps.Keys(ch.intents)) {
		c.Intents = append(c.Intents, ch.intents[id].Intent)
		if !ch.intents[id].stored {
			c.planned = append(c.planned, ch.intents[id].Intent)
		}
		ch.intents[id].trim()
	}
	for _, id := range slices.Sorted(maps.Keys(ch.holds)) {
		c.Holds = append(c.Holds, ch.holds[id])
	}
	for _, id := range slices.Sorted(maps.Keys(ch.questions)) {
		c.Questions = append(c.Questions, ch.questions[id].Clone())
	}
	for _, id := range slices.Sorted(maps.Keys(ch.proposals)) {
		c.Proposals = append(c.Proposals, ch.proposals[id])
	}
	for _, address := range slices.Sorted(maps.Keys(ch.schedules)) {
		c.Schedules = append(c.Schedules, ch.schedules[address])
	}
	if len(ch.cursors) > 0 {
		c.Cursors = ch.cursors
	}
	c.Due = m.nextEnd()
	for _, row := range ch.ledger {
		c.Ledger = append(c.Ledger, Ledger{row.Source, row.Hour, row.clone()})
	}
	slices.SortFunc(c.Ledger, func(a, b Ledger) int {
		if n := strings.Compare(a.Source, b.Source); n != 0 {
			return n
		}
		return a.Hour.Compare(b.Hour)
	})
	for _, source := range slices.Sorted(maps.Keys(ch.sources)) {
		c.Sources = append(c.Sources, ch.sources[source].clone())
	}
	for i, v := range ch.configs {
		if !slices.ContainsFunc(ch.configs[i+1:], func(later ConfigVersion) bool { return later.Hash == v.Hash }) {
			c.Configs = append(c.Configs, v)
		}
	}
	slices.SortFunc(c.Configs, func(a, b ConfigVersion) int { return strings.Compare(a.Hash, b.Hash) })
	c.Records = ch.records
	if ch.sums {
		s := m.sums.clone()
		c.Sums = &s
	}
	if ch.flags {
		f := m.flagsNow()
		c.Flags = &f
	}
	m.changed = later
	m.changed.records, m.changed.any = held, m.half != nil || later.fresh > 0
	return c
}

// laterRecalls takes out what was brought back for an input that is not applied to its
// end: until it is, the store has to have it, for who begins anew after the one before.
func (m *Machine) laterRecalls() changed {
	ch, later := &m.changed, newChanged()
	if at := len(ch.recalled) - ch.fresh; ch.fresh > 0 {
		ch.recalled, later.recalled = ch.recalled[:at:at], ch.recalled[at:]
		later.fresh = ch.fresh
	}
	if at := len(ch.recalls) - 1; m.half != nil && at >= 0 && ch.recalls[at].Position == m.position {
		ch.recalls, later.recalls = ch.recalls[:at:at], ch.recalls[at:]
	}
	return later
}

// fixRow makes a case's row now.
func (m *Machine) fixRow(cs *caseState) {
	cs.dirty = false
	m.changed.rows[cs.id] = m.row(cs)
}

// drop forgets what changed: the store has it.
func (m *Machine) drop() {
	for _, cs := range m.changed.cases {
		cs.dirty = false
	}
	for _, in := range m.changed.intents {
		in.trim()
	}
	m.changed = newChanged()
}

// flushRows makes the rows about which signal is in which case, and under which ids a
// case is found.
func (m *Machine) flushRows() {
	ch := &m.changed
	for _, n := range ch.members {
		ch.memberRows[m.index.ID(n)] = m.caseID(m.signals[n].published - 1)
	}
	for _, n := range ch.ids {
		o, id := m.opened[n], m.caseID(n)
		if !o.alias {
			ch.aliasRows[id] = ""
			continue
		}
		ch.aliasRows[id] = m.caseID(o.target)
		ch.rows[id] = model.Case{ID: id, FirstID: id, State: model.CaseMerged, OpenedAt: o.openedAt, UpdatedAt: o.mergedAt}
	}
	ch.members, ch.ids = ch.members[:0], ch.ids[:0]
}

func (m *Machine) caseID(n correlate.SignalNum) string { return model.CaseID(m.index.ID(n)) }

func (m *Machine) flagsNow() Flags {
	return Flags{
		Paused: m.pause.On, PausedBy: m.pause.By, PausedReason: m.pause.Because, PausedAt: m.pause.At,
		PausedUntil: m.pause.Until, Pauses: m.pausesNow(),
		Ended: m.ended, Config: m.config.Hash, Decisions: m.decisions,
		Events: m.events.Clone(), Passed: m.passed.Clone(),
	}
}

func (m *Machine) pausesNow() []Pause {
	var all []Pause
	for _, of := range slices.Sorted(maps.Keys(m.pauses)) {
		p := m.pauses[of]
		all = append(all, Pause{Of: of, By: p.By, Because: p.Because, At: p.At, Until: p.Until})
	}
	return all
}
