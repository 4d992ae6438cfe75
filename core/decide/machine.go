package decide

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/score"
)

// ErrOrder means that an input is not the one that follows the last.
var ErrOrder = errors.New("input out of order")

// Machine is decide's memory. Equal inputs make equal machines: it reads nothing
// but what Apply is given, and no result depends on the order of a map. It is for
// one goroutine.
type Machine struct {
	compile Compiler

	// What the configuration in force says; nil before the first one.
	settings *Settings
	scorer   *score.Scorer
	planner  *plan.Planner
	sources  map[string]*Source // by address
	config   model.Config       // with Text
	limits   Limits
	once     bool
	ended    bool
	// planned: under --once, the cases were planned after the end.
	planned bool

	position Position
	at       time.Time
	pause    pause
	pauses   map[string]pause // of rules, pipelines and responses, by address

	events Spans // of EVENTS, by sequence: those that are decided
	passed Spans // of these, the ones whose messages were lost
	counts map[string]*SourceState
	gaps   map[string]bool    // sources some of whose events are not decided
	ledger map[string]*Ledger // by source, of the hour that at is in
	sums   Sums

	texts   interner
	index   *correlate.Index
	signals []signalState                       // by correlate.SignalNum
	opened  map[correlate.SignalNum]*openedCase // signals whose case id was ever in use
	firsts  map[string]correlate.SignalNum      // first id to the signal that it is of
	named   map[string]int                      // how many cases have a first id
	cases   map[correlate.GroupNum]*caseState
	lookups [][]*lookup // by correlate.ValueNum, in the order of asking
	asks    map[string]*lookup
	parents map[correlate.ValueNum][]correlate.ValueNum // values whose answers name a value
	pending int

	intents map[string]*intentState
	numbers uint64                    // intents and questions ever
	byFirst map[string][]*intentState // by the case's first id
	recent  map[string][]time.Time    // by verb, when intents were planned in the last hour

	questions   map[string]*questionState
	questionsBy map[string][]*questionState // by the case's first id
	open        map[string]*questionState   // those that are
	proposals   map[string]*model.Proposal  // that wait for an engineer

	history history
	// decisions of people about cases that stand, in their order.
	decisions []model.Decision

	// told is what people were told of subjects, where that keeps them from being told
	// again.
	told map[string]told

	gathering map[string]*gathering // by gatherKey
	schedules map[string]model.Schedule
	cursors   map[string][]byte // of the streams of answers, by the action's address

	holds map[string]*holdState
	// awaiting counts the holds that a case, by its first id, waits for.
	awaiting map[string]int
	clock    clock
	end      nextEnd
	marks    map[string]*mark // by source
	matching uint64           // the message of EVENTS that was applied last
	horizon  int64            // nanoseconds since 1970: what is beyond it joins nothing; it never goes back
	recency  recency
	closing  closing
	pinned   load                  // what cannot leave
	answers  int                   // bytes of what lookups say
	away     int                   // cases that have left
	idle     []correlate.ValueNum  // values that may be of no more use
	brought  []correlate.SignalNum // for the input that is next

	several several
	awake   int64 // nanoseconds in which sources could have reported
	half    *half // the input that is being applied, in steps

	touched []*caseState // by the input that is being applied
	ticking bool         // it is a tick
	changed changed
}

// New returns a machine that has seen nothing.
func New(compile Compiler) *Machine {
	return &Machine{
		compile: compile,
		counts:  map[string]*SourceState{},
		gaps:    map[string]bool{},
		ledger:  map[string]*Ledger{},
		sums:    newSums(),
		texts:   newInterner(),
		index:   correlate.NewIndex(correlate.Settings{Window: correlate.DefaultWindow}),
		opened:  map[correlate.SignalNum]*openedCase{},
		firsts:  map[string]correlate.SignalNum{},
		named:   map[string]int{},
		cases:   map[correlate.GroupNum]*caseState{},
		asks:    map[string]*lookup{},
		parents: map[correlate.ValueNum][]correlate.ValueNum{},
		intents: map[string]*intentState{},
		byFirst: map[string][]*intentState{},
		recent:  map[string][]time.Time{},

		questions:   map[string]*questionState{},
		questionsBy: map[string][]*questionState{},
		open:        map[string]*questionState{},
		proposals:   map[string]*model.Proposal{},

		gathering: map[string]*gathering{},
		schedules: map[string]model.Schedule{},
		cursors:   map[string][]byte{},

		told:     map[string]told{},
		holds:    map[string]*holdState{},
		pauses:   map[string]pause{},
		awaiting: map[string]int{},
		marks:    map[string]*mark{},
		horizon:  math.MinInt64,
		history:  newHistory(),
		limits:   Limits{}.orDefault(),
		changed:  newChanged(),
		several:  newSeveral(),
	}
}

// Position is the last input that was applied.
func (m *Machine) Position() Position { return m.position }

// At is decide's time: the latest of all inputs.
func (m *Machine) At() time.Time { return m.at }

// Apply takes one part of an INPUTS message. The parts of a message come in their
// order, from 0, and messages without a gap; the first message may have any
// sequence. After an error the machine must not be used any more.
func (m *Machine) Apply(seq uint64, part int, in model.Input) error {
	return m.apply(Position{seq, part}, in, func(int) error { return nil })
}

// half is an input of which a part is applied.
type half struct {
	before  Position // of the input before it
	records int      // of before it
}

// apply takes an input in steps, if rules over several have it bring more than what it
// holds. Before is called before each further step, from 1, when the machine knows what
// that needs and does not change.
func (m *Machine) apply(next Position, in model.Input, before func(step int) error) error {
	m.half = &half{m.position, len(m.changed.records)}
	err := m.begin(next, in)
	for n := 1; err == nil && m.more(); n++ {
		if err = before(n); err == nil {
			err = m.step()
		}
	}
	m.half = nil
	if err != nil {
		return fmt.Errorf("input %d.%d: %w", next.Seq, next.Part, err)
	}
	m.settle()
	m.leave()
	return nil
}

func (m *Machine) begin(next Position, in model.Input) error {
	if err := m.follows(next); err != nil {
		return err
	}
	m.position = next
	if in.At.After(m.at) {
		m.pass(in.At.UTC())
	}
	m.changed.any = true
	var err error
	switch {
	case in.Match != nil:
		err = m.match(in.Match)
	case in.Reply != nil:
		m.reply(in.Reply)
	case in.Outcome != nil:
		m.outcome(in.Outcome)
	case in.Command != nil:
		m.command(in.Command)
	case in.Config != nil:
		err = m.configure(*in.Config)
	case in.Ended != nil:
		m.ended = true
		m.changed.flags = true
		m.catchUp(math.MaxUint64) // nothing is still to come
		m.settleAll()
	case in.Tick != nil:
		m.tick(in.Tick)
	case in.Schedule != nil:
		m.schedule(in.Schedule)
	}
	return err
}

func (m *Machine) follows(next Position) error {
	last := m.position
	switch {
	case last == Position{} && next.Part == 0,
		next.Seq == last.Seq && next.Part == last.Part+1,
		next.Seq == last.Seq+1 && next.Part == 0:
		return nil
	}
	return fmt.Errorf("input %d.%d after %d.%d: %w", next.Seq, next.Part, last.Seq, last.Part, ErrOrder)
}

// pass moves the time on, which never goes back.
func (m *Machine) pass(at time.Time) {
	if hour := at.Truncate(time.Hour); !hour.Equal(m.at.Truncate(time.Hour)) {
		clear(m.ledger) // no row of an hour that is over changes any more
	}
	if !m.at.IsZero() {
		m.awake += min(at.Sub(m.at).Nanoseconds(), awakeMost)
	}
	m.at = at
}

// configure puts a configuration in force. The same one again changes nothing but
// whether the run has an end.
func (m *Machine) configure(c model.Config) error {
	if c.Text == nil && c.Hash == m.config.Hash {
		c.Text = m.config.Text
	}
	m.changed.flags = true
	if m.ended {
		if err := m.goOn(); err != nil {
			return err
		}
	}
	m.once, m.ended, m.planned = c.Once, false, false
	if m.settings != nil && c.Hash == m.config.Hash && equalTables(c.Tables, m.config.Tables) {
		return nil
	}
	before := m.config.Hash
	if err := m.load(c); err != nil {
		return err
	}
	m.changed.configs = append(m.changed.configs, ConfigVersion{Config: c, At: m.at, Position: m.position})
	m.record(model.Record{Kind: model.RecordConfig, Subject: c.Hash, By: c.By, From: before})
	m.withdrawGone()
	for _, cs := range m.cases {
		m.touch(cs)
	}
	return nil
}

// load compiles a configuration and makes its settings those in force.
func (m *Machine) load(c model.Config) error {
	settings, err := m.compile(c)
	if err != nil {
		return fmt.Errorf("config %s: %w", c.Hash, err)
	}
	scorer, err := score.New(settings.Score)
	if err != nil {
		return fmt.Errorf("config %s: %w", c.Hash, err)
	}
	regroup := m.settings == nil || !m.settings.Correlate.Equal(settings.Correlate) || !equalSources(m.settings.Sources, settings.Sources)
	m.settings, m.scorer, m.planner = settings, scorer, plan.New(settings.Plan)
	m.sources = map[string]*Source{}
	for i := range settings.Sources {
		m.sources[settings.Sources[i].Address] = &settings.Sources[i]
	}
	m.config = c
	m.limits = settings.Memory.orDefault()
	m.resource()
	if regroup {
		m.regroup()
	}
	m.configureRules()
	m.retainSchedules()
	m.requeue()
	return nil
}

func equalTables(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// equalSources tells whether who is who is worked out alike.
func equalSources(a, b []Source) bool {
	return slices.EqualFunc(a, b, func(a, b Source) bool { return a.Address == b.Address && a.Internal == b.Internal })
}

// tick plans what was put off, and again what a limit held back, if there may be
// room now.
func (m *Machine) tick(t *model.Tick) {
	m.ticking, m.several.moved = true, true
	m.clock.tick(t)
	m.changed.rules = m.ruleStats()
	m.expire()
	m.endPauses()
	m.lookStuck()
	m.tellDue()
	var free []*caseState
	for _, cs := range m.cases {
		if cs.limited || cs.late {
			m.consider(cs)
		}
		if !cs.shelved && !m.stays(cs) {
			free = append(free, cs)
		}
	}
	for _, cs := range m.inOrder(free) { // what held them here has ended without them
		m.shelve(cs)
	}
}

// settle brings the cases that an input touched up to date, and plans.
func (m *Machine) settle() {
	m.name()
	for _, cs := range m.inOrder(m.touched) {
		if cs.altered {
			m.write(cs)
		}
		cs.touched, cs.altered = false, false
		switch {
		case m.holdsAll():
			m.planned = false
			cs.held = m.settings != nil && m.planner.Responds(m.names(cs.sum.rules))
			cs.waiting = m.waits(cs)
		case m.due(cs):
			m.plan(cs)
			cs.waiting = m.waits(cs)
		default:
			cs.waiting = cs.waiting || m.pending > 0
		}
		m.shelve(cs)
	}
	m.touched, m.ticking = m.touched[:0], false
	if m.once && !m.planned && !m.holdsAll() {
		m.planned = true
		for _, cs := range m.inOrder(m.all()) {
			if cs.held {
				m.plan(cs)
				m.shelve(cs)
			}
		}
	}
	if m.once && !m.holdsAll() {
		m.tellAll()
	}
}

// perInput is how many of a case's values one input that touches it may have looked
// at.
const perInput = 200

// due tells whether a touched case is planned now. What planning costs grows with
// the case, so a very large one, as a scan makes it, is not planned at each input
// that touches it, but after as many as make up for it, and at the next tick.
func (m *Machine) due(cs *caseState) bool {
	cs.credit += perInput
	cs.late = !m.once && !m.ticking && cs.credit < len(cs.sum.refs)+m.index.Size(cs.group)/64
	return !cs.late
}

// write has a case's row written with the next Changes.
func (m *Machine) write(cs *caseState) {
	cs.updatedAt = m.at
	if !cs.dirty {
		cs.dirty = true
		m.changed.cases = append(m.changed.cases, cs)
	}
}

// holdsAll: under --once nothing is planned until the sources have ended and no
// answer is pending.
func (m *Machine) holdsAll() bool { return m.settings == nil || m.once && (!m.ended || m.pending > 0) }

func (m *Machine) all() []*caseState {
	all := make([]*caseState, 0, len(m.cases))
	for _, cs := range m.cases {
		all = append(all, cs)
	}
	return all
}

// inOrder are the cases that are still there, by id.
func (m *Machine) inOrder(cases []*caseState) []*caseState {
	cases = slices.DeleteFunc(slices.Clone(cases), func(cs *caseState) bool { return cs.gone })
	slices.SortFunc(cases, func(a, b *caseState) int { return strings.Compare(a.id, b.id) })
	return slices.Compact(cases)
}

// touch marks a case as changed by the input that is being applied.
func (m *Machine) touch(cs *caseState) {
	cs.altered = true
	m.consider(cs)
}

// consider has a case planned at the end of the input that is being applied. Its row is
// written only if that changes what it says.
func (m *Machine) consider(cs *caseState) {
	if !cs.touched {
		cs.touched = true
		m.touched = append(m.touched, cs)
	}
}
