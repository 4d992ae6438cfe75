package decide

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
)

// snapshotVersion heads every snapshot. One of another version is not read: the
// inputs are replayed instead.
const snapshotVersion = "kelpie decide 11\n"

var (
	// ErrSnapshot means that bytes are no snapshot of this version.
	ErrSnapshot = errors.New("not a snapshot")
	// ErrUnsaved means that there are changes which Changes has not returned.
	ErrUnsaved = errors.New("changes are not saved")
)

// head is the part of a snapshot that is small.
type head struct {
	Position Position      `json:"position"`
	At       time.Time     `json:"at"`
	Config   model.Config  `json:"config"`
	Once     bool          `json:"once"`
	Ended    bool          `json:"ended"`
	Planned  bool          `json:"planned"`
	Pause    pause         `json:"pause"`
	Events   Spans         `json:"events"`
	Passed   Spans         `json:"passed"`
	Sources  []SourceState `json:"sources"`
	Ledger   []Ledger      `json:"ledger"`
	Sums     Sums          `json:"sums"`
	Clock    clock         `json:"clock"`

	Recent  map[string][]time.Time `json:"recent"`
	Marks   map[string]*mark       `json:"marks"`
	Horizon int64                  `json:"horizon"`
	Numbers uint64                 `json:"numbers"`
	Away    int                    `json:"away"`

	Awake   int64                `json:"awake"`
	Rules   map[string]savedRule `json:"rules"`
	Waiting []*waiter            `json:"waiting"` // in the order of their coming
	Waiters uint64               `json:"waiters"` // ever
	Kept    *keptRules           `json:"kept,omitempty"`
	AtEnd   []string             `json:"at_end,omitempty"` // sorted

	Pauses    map[string]pause `json:"pauses,omitempty"`
	Decisions []model.Decision `json:"decisions,omitempty"`
	Proposals []model.Proposal `json:"proposals,omitempty"` // by id
	Told      map[string]told  `json:"told,omitempty"`

	Gathering map[string]*gathering     `json:"gathering,omitempty"`
	Schedules map[string]model.Schedule `json:"schedules,omitempty"`
	Cursors   map[string][]byte         `json:"cursors,omitempty"`
}

// savedRule is how far a rule over several has come.
type savedRule struct {
	Complete int64 `json:"complete"`
	Since    int64 `json:"since"`
}

// Snapshot writes all that the machine remembers. Equal machines write equal
// bytes. It fails with ErrUnsaved unless Changes was called since the last Apply.
func (m *Machine) Snapshot(w io.Writer) error {
	if m.changed.any {
		return ErrUnsaved
	}
	e := &encoder{w: bufio.NewWriterSize(w, 1<<16)}
	e.w.WriteString(snapshotVersion)
	e.json(m.head())
	e.uint(uint64(len(m.texts.texts)))
	for _, t := range m.texts.texts {
		e.text(t)
	}
	writeNumbers(e, m.texts.free)
	e.uint(uint64(m.index.ValueRoom()))
	for v := range m.index.ValueRoom() {
		e.text(m.index.Key(correlate.ValueNum(v)))
	}
	freeSignals, freeValues := m.index.Free()
	writeNumbers(e, freeValues)
	e.uint(uint64(len(m.signals)))
	for n := range m.signals {
		m.writeSignal(e, correlate.SignalNum(n))
	}
	writeNumbers(e, freeSignals)
	e.uint(uint64(len(m.opened)))
	for _, n := range slices.Sorted(maps.Keys(m.opened)) {
		o := m.opened[n]
		e.uint(uint64(n))
		e.time(o.openedAt)
		e.time(o.mergedAt)
		e.bool(o.alias)
		e.uint(uint64(o.target))
	}
	e.uint(uint64(len(m.cases)))
	for cs := m.recency.oldest; cs != nil; cs = cs.after {
		m.writeCase(e, cs)
	}
	for _, cs := range m.inOrder(m.all()) {
		if !cs.shelved {
			m.writeCase(e, cs)
		}
	}
	m.writeLookups(e)
	e.uint(uint64(len(m.intents)))
	byNumber := func(a, b *intentState) int { return cmp.Compare(a.number, b.number) }
	for _, in := range slices.SortedFunc(maps.Values(m.intents), byNumber) {
		e.uint(in.number)
		e.json(in.Intent)
	}
	m.writeHolds(e)
	m.writeQuestions(e)
	var windows bytes.Buffer
	if err := m.several.windows.Snapshot(&windows); err != nil {
		return err
	}
	e.bytes(windows.Bytes())
	m.writeHistory(e)
	return errors.Join(e.err, e.w.Flush())
}

func writeNumbers[T ~uint32](e *encoder, numbers []T) {
	e.uint(uint64(len(numbers)))
	for _, n := range numbers {
		e.uint(uint64(n))
	}
}

func readNumbers[T ~uint32](d *decoder, room int) (numbers []T) {
	d.each(func(int) { numbers = append(numbers, T(d.below(room))) })
	return numbers
}

func (m *Machine) head() head {
	h := head{
		Position: m.position, At: m.at, Config: m.config, Once: m.once, Ended: m.ended,
		Planned: m.planned, Pause: m.pause, Events: m.events, Passed: m.passed,
		Clock: m.clock, Sums: m.sums,
		Recent: map[string][]time.Time{}, Marks: m.marks, Horizon: m.horizon, Numbers: m.numbers, Away: m.away,
		Pauses: m.pauses, Decisions: m.decisions, Told: m.told, Gathering: m.gathering, Schedules: m.schedules, Cursors: m.cursors,
	}
	h.Awake, h.Rules, h.Waiting, h.Waiters = m.awake, m.savedRules(), m.inTurn(), m.several.numbers
	h.Kept, h.AtEnd = m.several.kept, slices.Sorted(maps.Keys(m.several.atEnd))
	for verb := range m.recent {
		if m.recently(verb) > 0 {
			h.Recent[verb] = m.recent[verb]
		}
	}
	for _, source := range slices.Sorted(maps.Keys(m.counts)) {
		h.Sources = append(h.Sources, *m.counts[source])
	}
	for _, id := range slices.Sorted(maps.Keys(m.proposals)) {
		h.Proposals = append(h.Proposals, *m.proposals[id])
	}
	for _, source := range slices.Sorted(maps.Keys(m.ledger)) {
		h.Ledger = append(h.Ledger, *m.ledger[source])
	}
	return h
}

func (m *Machine) writeSignal(e *encoder, n correlate.SignalNum) {
	s := &m.signals[n]
	e.text(m.index.ID(n))
	if m.index.ID(n) == "" {
		return
	}
	e.int(m.index.Time(n).UnixNano())
	e.uint(s.position.Seq)
	e.uint(uint64(s.position.Index))
	e.uint(s.revision)
	e.uint(uint64(s.published))
	e.uint(uint64(s.rule))
	e.uint(uint64(s.source))
	e.uint(uint64(s.title))
	e.uint(uint64(s.technique))
	e.uint(uint64(s.severity))
	e.uint(uint64(s.stopped))
	refs := m.index.Refs(n)
	e.uint(uint64(len(refs)))
	for _, r := range refs {
		e.uint(uint64(r.Value)<<2 | uint64(r.Role))
	}
}

func (m *Machine) writeCase(e *encoder, cs *caseState) {
	e.uint(uint64(cs.earliest))
	e.uint(uint64(cs.first))
	e.uint(uint64(len(cs.names)))
	for _, name := range cs.names {
		e.text(name)
		if n, here := m.firsts[name]; here && m.index.Group(n) == cs.group {
			e.uint(uint64(n) + 1)
		} else {
			e.uint(0)
		}
	}
	e.time(cs.updatedAt)
	e.time(cs.changedAt)
	e.bool(cs.limited)
	e.bool(cs.paused)
	e.bool(cs.late)
	e.bool(cs.held)
	e.bool(cs.waiting)
	e.bool(cs.shelved)
	e.uint(uint64(cs.pinned.signals))
	e.uint(uint64(cs.pinned.values))
	e.uint(uint64(cs.pinned.intents))
	e.uint(uint64(cs.credit))
	e.uint(uint64(len(cs.beside)))
	for _, id := range cs.beside {
		e.text(id)
	}
	e.json(cs.notes)
	e.bool(!cs.found.none())
	if !cs.found.none() {
		e.json(cs.found)
	}
}

// savedLookup is a lookup in a snapshot.
type savedLookup struct {
	Ask     string            `json:"ask"`
	Source  uint32            `json:"source"`
	State   model.AnswerState `json:"state"`
	Expires time.Time         `json:"expires"`
	Depth   uint8             `json:"depth"`
	Reply   *model.Reply      `json:"reply,omitempty"`
	Signal  string            `json:"signal"`
	Asked   time.Time         `json:"asked"`
}

func (m *Machine) writeLookups(e *encoder) {
	total := 0
	for _, list := range m.lookups {
		total += len(list)
	}
	e.uint(uint64(total))
	for v, list := range m.lookups {
		for _, l := range list {
			e.uint(uint64(v))
			e.json(savedLookup{l.ask, l.source, l.state, l.expires, l.depth, l.reply, l.signal, l.asked})
		}
	}
}

// Restore fills a new machine from a snapshot; its configuration is compiled
// again. After an error, which is ErrSnapshot if the bytes are none, the machine
// must not be used.
func (m *Machine) Restore(r io.Reader) error {
	d := &decoder{r: bufio.NewReaderSize(r, 1<<16)}
	version := make([]byte, len(snapshotVersion))
	if _, err := io.ReadFull(d.r, version); err != nil || string(version) != snapshotVersion {
		return fmt.Errorf("version: %w", ErrSnapshot)
	}
	if err := m.restoreHead(d); err != nil {
		return err
	}
	m.restoreTexts(d)
	m.restoreSignals(d)
	d.each(func(int) {
		n := correlate.SignalNum(d.below(len(m.signals)))
		if d.err == nil && m.index.ID(n) == "" {
			d.fail("an opened case of signal %d, which is not there", n)
		}
		o := &openedCase{openedAt: d.time(), mergedAt: d.time(), alias: d.bool()}
		o.target = correlate.SignalNum(d.below(len(m.signals)))
		if d.err == nil {
			m.opened[n], m.signals[n].opened = o, true
		}
	})
	d.each(func(int) { m.readCase(d) })
	m.growLookups()
	d.each(func(int) { m.readLookup(d) })
	d.each(func(int) {
		in := &intentState{number: d.uint(), stored: true}
		if d.json(&in.Intent); d.err == nil {
			m.keepState(in)
		}
	})
	d.each(func(int) { m.readHold(d) })
	d.each(func(int) {
		if q := readQuestion(d); d.err == nil {
			m.keepQuestion(q)
		}
	})
	m.restoreWindows(d)
	m.readHistory(d)
	if _, err := d.r.ReadByte(); d.err == nil && err == nil {
		d.fail("something follows")
	}
	if d.err == nil {
		m.check(d)
	}
	m.resource()
	m.requeue()
	for _, w := range m.inTurn() {
		if l := m.asks[w.Ask]; l != nil && l.pending() {
			m.several.asks[w.Ask] = append(m.several.asks[w.Ask], w)
			continue
		}
		m.lookAt(w)
	}
	m.several.moved = false
	m.idle, m.changed = nil, newChanged()
	return d.err
}

func (m *Machine) restoreTexts(d *decoder) {
	m.texts = interner{numbers: map[string]uint32{}}
	d.each(func(i int) {
		t := d.text()
		m.texts.texts, m.texts.holders = append(m.texts.texts, t), append(m.texts.holders, 0)
		if i == 0 || t != "" {
			m.texts.numbers[t] = uint32(i)
		}
	})
	if len(m.texts.texts) == 0 || m.texts.texts[0] != "" {
		d.fail("no empty text")
		return
	}
	m.texts.holders[0] = 1
	m.texts.free = readNumbers[uint32](d, len(m.texts.texts))
}

func (m *Machine) restoreSignals(d *decoder) {
	var keys []string
	d.each(func(int) { keys = append(keys, d.text()) })
	freeValues := readNumbers[correlate.ValueNum](d, len(keys))
	var signals []correlate.Member
	var groups []uint32
	d.each(func(int) {
		signals = append(signals, m.readSignal(d, keys))
		groups = append(groups, uint32(m.signals[len(m.signals)-1].published))
	})
	freeSignals := readNumbers[correlate.SignalNum](d, len(signals))
	ids, values := map[string]bool{}, map[string]bool{}
	for i, s := range signals {
		if s.ID != "" && (ids[s.ID] || int(groups[i]) > len(signals) || groups[i] == 0) {
			d.fail("signal %s occurs twice, or is in no case", s.ID)
		}
		ids[s.ID] = true
	}
	for _, key := range keys {
		if key != "" && values[key] {
			d.fail("value %s occurs twice", key)
		}
		values[key] = true
	}
	for _, n := range freeSignals {
		if signals[n].ID != "" {
			d.fail("signal %d is free and is not", n)
		}
	}
	for _, v := range freeValues {
		if keys[v] != "" {
			d.fail("value %d is free and is not", v)
		}
	}
	if d.err == nil {
		m.index.Fill(keys, signals, groups, freeSignals, freeValues)
	}
}

func (m *Machine) restoreHead(d *decoder) error {
	var h head
	if d.json(&h); d.err != nil {
		return d.err
	}
	m.position, m.at = h.Position, h.At
	m.once, m.ended, m.planned, m.pause, m.events, m.passed = h.Once, h.Ended, h.Planned, h.Pause, h.Events, h.Passed
	m.clock = h.Clock
	if h.Pauses != nil {
		m.pauses = h.Pauses
	}
	for i := range h.Sources {
		m.counts[h.Sources[i].Source] = &h.Sources[i]
		m.noteGaps(&h.Sources[i])
	}
	for i := range h.Ledger {
		m.ledger[h.Ledger[i].Source] = &h.Ledger[i]
	}
	if h.Sums.Asks != nil && h.Sums.Intents != nil {
		m.sums = h.Sums
	}
	for i := range h.Proposals {
		m.proposals[h.Proposals[i].ID] = &h.Proposals[i]
	}
	for verb, times := range h.Recent {
		m.recent[verb] = times
	}
	for source, k := range h.Marks {
		if k != nil {
			m.marks[source] = k
		}
	}
	if h.Gathering != nil {
		m.gathering = h.Gathering
	}
	if h.Schedules != nil {
		m.schedules = h.Schedules
	}
	if h.Cursors != nil {
		m.cursors = h.Cursors
	}
	if h.Told != nil {
		m.told = h.Told
	}
	m.horizon, m.numbers, m.away, m.decisions = h.Horizon, h.Numbers, h.Away, h.Decisions
	m.awake, m.several.numbers = h.Awake, h.Waiters
	if h.Config.Hash == "" {
		return nil
	}
	if err := m.load(h.Config); err != nil {
		return err
	}
	m.restoreRules(h.Rules)
	m.several.kept = h.Kept
	for _, id := range h.AtEnd {
		m.several.atEnd[id] = true
	}
	for _, w := range h.Waiting {
		if w == nil || m.several.waiting[w.ID] != nil {
			d.fail("who waits for rules")
			return d.err
		}
		m.toWait(w)
	}
	return nil
}

// restoreWindows reads the facts of rules over several.
func (m *Machine) restoreWindows(d *decoder) {
	saved := bytes.NewReader(d.bytes())
	if d.err != nil {
		return
	}
	if err := m.several.windows.Restore(saved); err != nil || saved.Len() > 0 {
		d.fail("facts: %v", err)
	}
}

func (m *Machine) readSignal(d *decoder, keys []string) correlate.Member {
	member := correlate.Member{ID: d.text()}
	if member.ID == "" {
		m.signals = append(m.signals, signalState{})
		return member
	}
	member.Time = time.Unix(0, d.int()).UTC()
	s := signalState{position: model.Position{Seq: d.uint(), Index: int(d.uint())}, revision: d.uint()}
	s.published = correlate.SignalNum(d.uint())
	for _, field := range []*uint32{&s.rule, &s.source, &s.title, &s.technique} {
		*field = m.holdRead(d)
	}
	s.severity, s.stopped = uint8(d.below(101)), uint8(d.below(stoppedYes+1))
	d.each(func(int) {
		r := d.uint()
		if r>>2 >= uint64(len(keys)) || keys[r>>2] == "" || r&3 > uint64(correlate.Same) {
			d.fail("signal %s: value %d", member.ID, r>>2)
			return
		}
		member.Refs = append(member.Refs, correlate.Ref{Value: correlate.ValueNum(r >> 2), Role: correlate.Role(r & 3)})
	})
	m.signals = append(m.signals, s)
	return member
}

// holdRead reads a text's number and holds it.
func (m *Machine) holdRead(d *decoder) uint32 {
	n := uint32(d.below(len(m.texts.texts)))
	if d.err == nil {
		m.texts.holders[n]++
	}
	return n
}

func (m *Machine) readCase(d *decoder) {
	cs := &caseState{}
	cs.earliest = correlate.SignalNum(d.below(len(m.signals)))
	cs.first = correlate.SignalNum(d.below(len(m.signals)))
	d.each(func(int) {
		cs.names = append(cs.names, d.text())
		if n := d.below(len(m.signals) + 1); n > 0 && d.err == nil {
			m.firsts[cs.names[len(cs.names)-1]] = correlate.SignalNum(n - 1)
		}
	})
	cs.updatedAt, cs.changedAt, cs.limited = d.time(), d.time(), d.bool()
	cs.paused = d.bool()
	cs.late, cs.held, cs.waiting = d.bool(), d.bool(), d.bool()
	shelved := d.bool()
	cs.pinned = load{int(d.uint()), int(d.uint()), int(d.uint())}
	cs.credit = int(d.uint())
	d.each(func(int) { cs.beside = append(cs.beside, d.text()) })
	d.json(&cs.notes)
	if d.bool() {
		d.json(&cs.found)
	}
	if d.err == nil && (m.index.ID(cs.earliest) == "" || m.index.ID(cs.first) == "") {
		d.fail("a case of signal %d, which is not there", cs.earliest)
	}
	if d.err != nil {
		return
	}
	cs.group = m.index.Group(cs.earliest)
	if m.cases[cs.group] != nil {
		d.fail("case of signal %s occurs twice", m.index.ID(cs.earliest))
		return
	}
	if m.index.Earliest(cs.group) != cs.earliest || m.opened[cs.first] == nil {
		d.fail("case of signal %s is not what its signals make", m.index.ID(cs.earliest))
		return
	}
	cs.id = m.caseID(cs.earliest)
	for n := range m.index.Members(cs.group) {
		m.add(&cs.sum, n)
		if m.signals[n].opened {
			cs.opened = append(cs.opened, n)
		}
	}
	m.nameAll(cs.names, 1)
	m.cases[cs.group] = cs
	if shelved {
		m.recency.push(cs)
	}
	m.pin(cs.pinned, 1)
}

func (m *Machine) readLookup(d *decoder) {
	v := d.below(m.index.ValueRoom())
	var saved savedLookup
	if d.json(&saved); d.err != nil {
		return
	}
	if int(saved.Source) >= len(m.texts.texts) || m.index.Key(correlate.ValueNum(v)) == "" {
		d.fail("enrichment %d about value %d", saved.Source, v)
		return
	}
	m.texts.holders[saved.Source]++
	l := &lookup{
		ask: saved.Ask, source: saved.Source, value: correlate.ValueNum(v), depth: saved.Depth,
		state: saved.State, expires: saved.Expires, signal: saved.Signal, asked: saved.Asked,
	}
	m.lookups[v] = append(m.lookups[v], l)
	m.asks[l.ask] = l
	if saved.Reply != nil {
		m.said(l, saved.Reply)
	}
}

// check holds the parts of a snapshot against each other.
func (m *Machine) check(d *decoder) {
	for g := range m.index.Groups() {
		if m.cases[g] == nil {
			d.fail("signal %s is in no case", m.index.ID(m.index.Earliest(g)))
		}
	}
	m.checkGathered(d)
}
