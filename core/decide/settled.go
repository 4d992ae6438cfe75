package decide

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Settled is a case that has left memory.
type Settled struct {
	// Case is its id.
	Case string
	// Last is the time of its last event, and Changed decide's time when its newest
	// signal came: nanoseconds since 1970.
	Last, Changed int64
	// Values by which it is found: HashValue of those that join. Empty if it is over.
	Values []uint64
	// Doc is all that is remembered of it.
	Doc []byte
}

// Back is a settled case that the store has found.
type Back struct {
	Number int64 // of its row
	Doc    []byte
}

// HashValue is by what a value or an id is found: "kind:value" or the id.
func HashValue(key string) uint64 { return hashOf(key) }

func hashOf(key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key)) //nolint:errcheck // never fails
	n := h.Sum64()
	n ^= n >> 29 // FNV spreads its last bytes over the upper bits only
	n *= 0xbf58476d1ce4e5b9
	return n ^ n>>32
}

// settledVersion heads every document of a settled case.
const settledVersion = 3

// settled writes all that is remembered of a case.
func (m *Machine) settled(cs *caseState) Settled {
	s := Settled{Case: cs.id, Last: cs.sum.lastAt.UnixNano(), Changed: cs.changedAt.UnixNano()}
	if !m.closed(cs) {
		for i, r := range cs.sum.refs {
			if m.findable(r.Value) && (i == 0 || cs.sum.refs[i-1].Value != r.Value) {
				s.Values = append(s.Values, hashOf(m.index.Key(r.Value)))
			}
		}
	}
	var doc bytes.Buffer
	e := &encoder{w: bufio.NewWriterSize(&doc, 512)}
	e.uint(settledVersion)
	e.time(cs.updatedAt)
	e.time(cs.changedAt)
	e.uint(uint64(cs.credit))
	if len(cs.notes) > 0 {
		e.json(cs.notes)
	} else {
		e.bytes(nil)
	}
	if cs.found.none() {
		e.bytes(nil)
	} else {
		e.json(cs.found)
	}
	members := newView(m, cs).inTime()
	texts := newTable(e)
	e.uint(uint64(len(cs.beside)))
	for _, id := range cs.beside {
		texts.write(id)
	}
	e.uint(uint64(len(cs.names)))
	var intents []*intentState
	var questions []*questionState
	for _, name := range cs.names {
		texts.write(name)
		if m.answersFor(cs, name) {
			intents = append(intents, m.byFirst[name]...)
			questions = append(questions, m.questionsBy[name]...)
		}
	}
	texts.write(m.index.ID(cs.first))
	e.uint(uint64(len(members)))
	for _, n := range members {
		m.writeMember(e, texts, n)
	}
	e.uint(uint64(len(intents)))
	for _, in := range intents {
		e.uint(in.number)
		kept := *in
		kept.trim()
		e.json(kept.Intent)
	}
	e.uint(uint64(len(questions)))
	for _, q := range questions {
		e.uint(q.number)
		e.json(q.Question)
	}
	e.w.Flush() // a buffer takes everything
	s.Doc = doc.Bytes()
	return s
}

// findable tells whether a case that has left is found by a value: it joins, or would if
// people took back what they have decided.
func (m *Machine) findable(v correlate.ValueNum) bool {
	if m.index.Joins(v) {
		return true
	}
	o := m.index.Observable(v)
	return slices.ContainsFunc(m.decisions, func(d model.Decision) bool { return d.Kind == model.NeverJoin && d.Value == o })
}

func (m *Machine) writeMember(e *encoder, texts *table, n correlate.SignalNum) {
	s := &m.signals[n]
	texts.write(m.index.ID(n))
	e.int(m.index.Time(n).UnixNano())
	e.uint(s.position.Seq)
	e.uint(uint64(s.position.Index))
	e.uint(s.revision)
	for _, t := range [...]uint32{s.rule, s.source, s.title, s.technique} {
		texts.write(m.texts.text(t))
	}
	e.uint(uint64(s.severity))
	e.uint(uint64(s.stopped))
	refs := m.index.Refs(n)
	e.uint(uint64(len(refs)))
	for _, r := range refs {
		e.uint(uint64(r.Role))
		texts.write(m.index.Key(r.Value))
	}
	o := m.opened[n]
	e.bool(o != nil)
	if o != nil {
		e.time(o.openedAt)
		e.time(o.mergedAt)
		e.bool(o.alias)
	}
}

// table writes each text once, and its number after that.
type table struct {
	e       *encoder
	numbers map[string]uint64
}

func newTable(e *encoder) *table { return &table{e, map[string]uint64{}} }

func (t *table) write(s string) {
	if n, ok := t.numbers[s]; ok {
		t.e.uint(n + 1)
		return
	}
	t.numbers[s] = uint64(len(t.numbers))
	t.e.uint(0)
	t.e.text(s)
}

// readTable reads what table wrote.
type readTable struct {
	d     *decoder
	texts []string
}

func (t *readTable) read() string {
	n := t.d.below(len(t.texts) + 1)
	if n > 0 {
		return t.texts[n-1]
	}
	s := t.d.text()
	t.texts = append(t.texts, s)
	return s
}

// member is a signal of a settled case.
type member struct {
	id     string
	at     int64
	state  signalState // without texts
	texts  [4]string   // rule, source, title, technique
	refs   []memberRef
	opened *openedCase
}

// memberRef is a value of a signal of a settled case.
type memberRef struct {
	role correlate.Role
	o    sdk.Observable
}

// settledCase is what settled wrote.
type settledCase struct {
	*caseState
	firstID string // the signal of its first id
	members []member
	plans
}

// plans are what was planned about a settled case, and asked.
type plans struct {
	intents   []*intentState
	questions []*questionState
}

func readSettled(b Back) (c settledCase, err error) {
	d := &decoder{r: bufio.NewReader(bytes.NewReader(b.Doc))}
	version := d.uint()
	if version < 1 || version > settledVersion {
		return c, fmt.Errorf("settled case %d has version %d: %w", b.Number, version, ErrSnapshot)
	}
	cs := &caseState{updatedAt: d.time(), changedAt: d.time(), credit: int(d.uint())}
	if notes := d.bytes(); len(notes) > 0 {
		d.unmarshal(notes, &cs.notes)
	}
	if version > 2 {
		if doc := d.bytes(); len(doc) > 0 {
			d.unmarshal(doc, &cs.found)
		}
	}
	texts := &readTable{d: d}
	if version > 1 {
		d.each(func(int) { cs.beside = append(cs.beside, texts.read()) })
	}
	d.each(func(int) { cs.names = append(cs.names, texts.read()) })
	c = settledCase{caseState: cs, firstID: texts.read()}
	d.each(func(int) { c.members = append(c.members, readMember(d, texts)) })
	d.each(func(int) {
		in := &intentState{number: d.uint(), stored: true}
		d.json(&in.Intent)
		c.intents = append(c.intents, in)
	})
	if version > 2 {
		d.each(func(int) { c.questions = append(c.questions, readQuestion(d)) })
	}
	if d.err == nil && len(c.members) == 0 {
		d.fail("no signals")
	}
	if d.err != nil {
		return c, fmt.Errorf("settled case %d: %w", b.Number, d.err)
	}
	return c, nil
}

// bring puts a settled case back. One that is there already stays as it is.
func (m *Machine) bring(b Back) error {
	c, err := readSettled(b)
	if err != nil {
		return err
	}
	m.changed.any = true
	if _, there := m.index.Signal(c.members[0].id); there {
		return nil
	}
	m.changed.recalled = append(m.changed.recalled, b.Number)
	m.changed.fresh++
	m.away--
	cs := c.caseState
	m.bringMembers(cs, c.members)
	var ok bool
	if cs.first, ok = m.index.Signal(c.firstID); !ok || m.opened[cs.first] == nil || m.opened[cs.earliest] == nil {
		return fmt.Errorf("settled case %d is not what its signals make: %w", b.Number, ErrSnapshot)
	}
	m.nameAll(cs.names, 1)
	m.bringPlans(c.plans)
	m.shelve(cs)
	return nil
}

// bringPlans puts back what was planned and asked for the cases that are there.
func (m *Machine) bringPlans(p plans) {
	for _, in := range p.intents {
		if m.intents[in.ID] == nil && m.named[in.Case] > 0 {
			m.keepState(in)
		}
	}
	for _, q := range p.questions {
		if m.questions[q.ID] == nil && m.named[q.Case] > 0 {
			m.keepQuestion(q)
		}
	}
}

func readMember(d *decoder, texts *readTable) member {
	s := member{id: texts.read(), at: d.int()}
	s.state.position = model.Position{Seq: d.uint(), Index: int(d.uint())}
	s.state.revision = d.uint()
	for i := range s.texts {
		s.texts[i] = texts.read()
	}
	s.state.severity, s.state.stopped = uint8(d.below(101)), uint8(d.below(stoppedYes+1))
	d.each(func(int) {
		role := correlate.Role(d.below(int(correlate.Same) + 1))
		kind, value, _ := strings.Cut(texts.read(), ":")
		s.refs = append(s.refs, memberRef{role, sdk.Observable{Kind: kind, Value: value}})
	})
	if d.bool() {
		s.opened = &openedCase{openedAt: d.time(), mergedAt: d.time(), alias: d.bool()}
	}
	return s
}

func (m *Machine) bringMembers(cs *caseState, members []member) {
	group := make([]correlate.Member, len(members))
	for i, s := range members {
		group[i] = correlate.Member{ID: s.id, Time: time.Unix(0, s.at).UTC()}
		for _, r := range s.refs {
			group[i].Refs = append(group[i].Refs, correlate.Ref{Value: m.index.Value(r.o), Role: r.role})
		}
	}
	cs.group = m.index.Bring(group)
	m.growLookups()
	m.cases[cs.group] = cs
	cs.earliest = m.index.Earliest(cs.group)
	cs.id = m.caseID(cs.earliest)
	for i, s := range members {
		n, _ := m.index.Signal(s.id)
		st := s.state
		for j, to := range []*uint32{&st.rule, &st.source, &st.title, &st.technique} {
			*to = m.texts.hold(s.texts[j])
		}
		st.published, st.opened = cs.earliest+1, s.opened != nil
		m.keepSignal(n, st)
		if s.opened != nil {
			s.opened.target = cs.earliest
			m.opened[n] = s.opened
			cs.opened = append(cs.opened, n)
			if name := m.caseID(n); slices.Contains(cs.names, name) {
				m.firsts[name] = n
			}
		}
		m.brought = append(m.brought, n)
		for _, r := range group[i].Refs {
			m.idle = append(m.idle, r.Value)
		}
	}
	for _, s := range members {
		n, _ := m.index.Signal(s.id)
		m.add(&cs.sum, n)
	}
}

// bringLookup puts back what an enrichment said of a value.
func (m *Machine) bringLookup(b BackLookup) {
	a := &b.Ask
	v := m.index.Value(a.Observable)
	m.growLookups()
	m.idle = append(m.idle, v)
	if m.lookupOf(v, a.Enrichment) != nil {
		return
	}
	l := &lookup{
		ask: a.ID, value: v, depth: a.Depth, signal: a.Signal, asked: a.AskedAt, state: model.Pending,
		source: m.texts.hold(a.Enrichment), src: m.sources[a.Enrichment],
	}
	m.lookups[v] = append(m.lookups[v], l)
	m.asks[l.ask] = l
	if b.Reply == nil {
		if l.src != nil {
			m.pending++
		}
		return
	}
	l.state, l.expires = b.Reply.State, b.Reply.Expires
	m.said(l, b.Reply)
}

// BackLookup is the latest ask of an enrichment about a value, and what became of it;
// nil: nothing yet.
type BackLookup struct {
	Ask   model.Ask    `json:"ask"`
	Reply *model.Reply `json:"reply,omitempty"`
}

// Recalled is what the store has found of what is wanted.
type Recalled struct {
	Cases   []Back       `json:"cases,omitempty"`
	Plans   []Back       `json:"plans,omitempty"`
	Lookups []BackLookup `json:"lookups,omitempty"`
	// Step of the input for which it was brought back: 0 is the first.
	Step int `json:"step,omitempty"`
}

func (r *Recalled) empty() bool { return len(r.Cases) == 0 && len(r.Plans) == 0 && len(r.Lookups) == 0 }

// Recall is what was brought back for an input, in rounds: before it was applied, and
// before each further step of that.
type Recall struct {
	Position Position
	Rounds   []Recalled
}

// Bring puts back into memory what had left it. It is called before the Apply that
// needs it, or before the step of one.
func (m *Machine) Bring(r Recalled) error {
	for _, b := range r.Cases {
		if err := m.bring(b); err != nil {
			return err
		}
	}
	for _, b := range r.Plans {
		c, err := readSettled(b)
		if err != nil {
			return err
		}
		m.bringPlans(c.plans)
	}
	for _, b := range r.Lookups {
		m.bringLookup(b)
	}
	return nil
}
