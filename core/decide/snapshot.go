package decide

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// snapshotVersion heads every snapshot. One of another version is not read: the
// inputs are replayed instead.
const snapshotVersion = "kelpie decide 6\n"

var (
	// ErrSnapshot means that bytes are no snapshot of this version.
	ErrSnapshot = errors.New("not a snapshot")
	// ErrUnsaved means that there are changes which Changes has not returned.
	ErrUnsaved = errors.New("changes are not saved")
)

// head is the part of a snapshot that is small.
type head struct {
	Position Position          `json:"position"`
	At       time.Time         `json:"at"`
	Config   model.Config      `json:"config"`
	Texts    map[string][]byte `json:"texts"`
	Once     bool              `json:"once"`
	Ended    bool              `json:"ended"`
	Planned  bool              `json:"planned"`
	Pause    pause             `json:"pause"`
	Events   Spans             `json:"events"`
	Passed   Spans             `json:"passed"`
	Sources  []SourceState     `json:"sources"`
	Ledger   []Ledger          `json:"ledger"`
	Sums     Sums              `json:"sums"`
	Clock    clock             `json:"clock"`
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
	e.uint(uint64(len(m.texts.texts) - 1))
	for _, t := range m.texts.texts[1:] {
		e.text(t)
	}
	e.uint(uint64(m.index.Values()))
	for v := range m.index.Values() {
		e.text(m.index.Key(correlate.ValueNum(v)))
	}
	e.uint(uint64(len(m.signals)))
	for n := range m.signals {
		m.writeSignal(e, correlate.SignalNum(n))
	}
	e.uint(uint64(len(m.opened)))
	for _, n := range slices.Sorted(maps.Keys(m.opened)) {
		o := m.opened[n]
		e.uint(uint64(n))
		e.time(o.openedAt)
		e.time(o.mergedAt)
		e.bool(o.alias)
		e.uint(uint64(o.target))
	}
	cases := m.inOrder(m.all())
	e.uint(uint64(len(cases)))
	for _, cs := range cases {
		writeCase(e, cs)
	}
	m.writeLookups(e)
	e.uint(uint64(len(m.order)))
	for _, in := range m.order {
		e.json(in.Intent)
	}
	m.writeHolds(e)
	return errors.Join(e.err, e.w.Flush())
}

func (m *Machine) head() head {
	h := head{
		Position: m.position, At: m.at, Config: m.config, Texts: m.configs, Once: m.once, Ended: m.ended,
		Planned: m.planned, Pause: m.pause, Events: m.events, Passed: m.passed, Sums: m.sums,
		Clock: m.clock,
	}
	for _, source := range slices.Sorted(maps.Keys(m.counts)) {
		h.Sources = append(h.Sources, *m.counts[source])
	}
	for _, source := range slices.Sorted(maps.Keys(m.ledger)) {
		h.Ledger = append(h.Ledger, *m.ledger[source])
	}
	return h
}

func (m *Machine) writeSignal(e *encoder, n correlate.SignalNum) {
	s := &m.signals[n]
	e.text(m.index.ID(n))
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

func writeCase(e *encoder, cs *caseState) {
	e.uint(uint64(cs.earliest))
	e.uint(uint64(cs.first))
	e.uint(uint64(len(cs.names)))
	for _, n := range cs.names {
		e.uint(uint64(n))
	}
	e.time(cs.updatedAt)
	e.time(cs.changedAt)
	e.bool(cs.limited)
	e.bool(cs.late)
	e.uint(uint64(cs.credit))
	e.json(cs.notes)
}

// savedLookup is a lookup in a snapshot.
type savedLookup struct {
	Ask     string            `json:"ask"`
	Source  uint32            `json:"source"`
	State   model.AnswerState `json:"state"`
	Expires time.Time         `json:"expires"`
	Depth   uint8             `json:"depth"`
	Reply   *model.Reply      `json:"reply,omitempty"`
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
			e.json(savedLookup{l.ask, l.source, l.state, l.expires, l.depth, l.reply})
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
	d.each(func(int) { m.texts.number(d.text()) })
	d.each(func(int) {
		kind, value, _ := strings.Cut(d.text(), ":")
		m.index.Value(sdk.Observable{Kind: kind, Value: value})
	})
	d.each(func(i int) { m.readSignal(d, i) })
	d.each(func(int) {
		n := correlate.SignalNum(d.below(len(m.signals)))
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
		var in model.Intent
		d.json(&in)
		if m.keep(in); counts(in) && in.PlannedAt.After(m.at.Add(-time.Hour)) {
			m.recent[in.Verb] = append(m.recent[in.Verb], in.PlannedAt)
		}
	})
	d.each(func(int) { m.readHold(d) })
	if _, err := d.r.ReadByte(); d.err == nil && err == nil {
		d.fail("something follows")
	}
	if d.err == nil {
		m.check(d)
	}
	m.resource()
	m.changed = newChanged()
	return d.err
}

func (m *Machine) restoreHead(d *decoder) error {
	var h head
	if d.json(&h); d.err != nil {
		return d.err
	}
	m.position, m.at = h.Position, h.At
	m.once, m.ended, m.planned, m.pause, m.events, m.passed = h.Once, h.Ended, h.Planned, h.Pause, h.Events, h.Passed
	m.clock = h.Clock
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
	if h.Texts != nil {
		m.configs = h.Texts
	}
	if h.Config.Hash == "" {
		return nil
	}
	c := h.Config
	c.Text = m.configs[c.Hash]
	return m.load(c)
}

func (m *Machine) readSignal(d *decoder, i int) {
	id := d.text()
	at := time.Unix(0, d.int()).UTC()
	s := signalState{position: model.Position{Seq: d.uint(), Index: int(d.uint())}, revision: d.uint()}
	s.published = correlate.SignalNum(d.uint())
	for _, field := range []*uint32{&s.rule, &s.source, &s.title, &s.technique} {
		*field = uint32(d.below(len(m.texts.texts)))
	}
	s.severity, s.stopped = uint8(d.below(101)), uint8(d.below(stoppedYes+1))
	var observables []sdk.Observable
	d.each(func(int) {
		r := d.uint()
		if r>>2 >= uint64(m.index.Values()) {
			d.fail("signal %s: value %d", id, r>>2)
			return
		}
		o := m.index.Observable(correlate.ValueNum(r >> 2))
		o.Role = roleOf(correlate.Role(r & 3))
		observables = append(observables, o)
	})
	if d.err != nil {
		return
	}
	if e := m.index.Put(id, at, observables); int(e.Signal) != i {
		d.fail("signal %s occurs twice", id)
		return
	}
	m.signals = append(m.signals, s)
}

func (m *Machine) readCase(d *decoder) {
	cs := &caseState{}
	cs.earliest = correlate.SignalNum(d.below(len(m.signals)))
	cs.first = correlate.SignalNum(d.below(len(m.signals)))
	d.each(func(int) { cs.names = append(cs.names, correlate.SignalNum(d.below(len(m.signals)))) })
	cs.updatedAt, cs.changedAt, cs.limited = d.time(), d.time(), d.bool()
	cs.late, cs.credit = d.bool(), int(d.uint())
	d.json(&cs.notes)
	if d.err != nil {
		return
	}
	cs.group = m.index.Group(cs.earliest)
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
	for _, n := range cs.names {
		m.firsts[m.caseID(n)] = n
	}
	m.cases[cs.group] = cs
}

func (m *Machine) readLookup(d *decoder) {
	v := d.below(m.index.Values())
	var saved savedLookup
	if d.json(&saved); d.err != nil {
		return
	}
	if int(saved.Source) >= len(m.texts.texts) {
		d.fail("enrichment %d where there are %d", saved.Source, len(m.texts.texts))
		return
	}
	l := &lookup{
		ask: saved.Ask, source: saved.Source, value: correlate.ValueNum(v), depth: saved.Depth,
		state: saved.State, expires: saved.Expires, reply: saved.Reply,
	}
	m.lookups[v] = append(m.lookups[v], l)
	m.asks[l.ask] = l
	if l.reply != nil {
		m.read(l)
	}
}

// check holds the parts of a snapshot against each other.
func (m *Machine) check(d *decoder) {
	for i := range m.signals {
		if p := m.signals[i].published; p == 0 || int(p) > len(m.signals) {
			d.fail("signal %s is in no case", m.index.ID(correlate.SignalNum(i)))
		}
	}
	for g := range m.index.Groups() {
		if m.cases[g] == nil {
			d.fail("signal %s is in no case", m.index.ID(m.index.Earliest(g)))
		}
	}
}
