package decide

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what is remembered of what is over.
const (
	maxPast    = 50_000 // values; those that were seen longest ago are forgotten first
	maxSpells  = 4      // of each the latest; of older ones how many there were
	maxHistory = 50     // values of one case
)

// history remembers of values that make cases when they were seen, also when their
// cases have left memory. It depends on the signals and on what people have found, in
// their order.
type history struct {
	most           int // maxPast, but in tests
	values         map[string]*past
	oldest, newest *past
	// Forgotten counts the values that there was no room for.
	forgotten uint64
}

// past of one value.
type past struct {
	key    string
	spells []spell // by time
	older  uint64  // spells that there was no room for

	before, after *past // in the order of being seen
}

// spell is a time in which a value was seen again and again, no further apart than
// the window: a case, if no other value joins it to more.
type spell struct {
	first, last int64  // nanoseconds since 1970
	severity    uint8  // the highest
	id          string // of the case of its latest signal, as it was named then
	// found is what people found of that case; nil: nobody has said, or it was seen again
	// since. Values of one case share it.
	found *foundPast
}

func newHistory() history { return history{most: maxPast, values: map[string]*past{}} }

// remember notes that a signal has a value.
func (m *Machine) remember(v correlate.ValueNum, n correlate.SignalNum) {
	if !m.index.Joins(v) || m.settings == nil {
		return
	}
	p := m.history.seen(m.index.Key(v))
	at, window := m.index.Time(n).UnixNano(), int64(m.settings.Correlate.Window)
	m.fixHistory(v, p.changes(at, window))
	p.add(spell{at, at, m.signals[n].severity, m.caseID(m.index.Earliest(m.index.Group(n))), nil}, window)
	for len(m.history.values) > m.history.most {
		m.forgetOldest()
	}
}

// fixHistory makes the rows of the cases to which the past of a value is about to
// become another, and which are not moved by it: those that have it and for which
// what was before this time is over.
func (m *Machine) fixHistory(v correlate.ValueNum, from int64) {
	lateness := int64(m.settings.Correlate.Lateness)
	moved := func(cs *caseState) bool {
		return cs.dirty && !cs.touched && !cs.gone && cs.sum.firstAt.UnixNano()-lateness > from
	}
	named := len(m.parents[v]) > 0
	if !named && m.index.Count(v) < len(m.changed.cases) {
		for g := range m.index.GroupsOf(v) {
			if cs := m.cases[g]; cs != nil && moved(cs) {
				m.fixRow(cs)
			}
		}
		return
	}
	for _, cs := range m.changed.cases {
		if !moved(cs) {
			continue
		}
		_, has := slices.BinarySearchFunc(cs.sum.refs, m.index.Key(v), func(r correlate.Ref, key string) int {
			return strings.Compare(m.index.Key(r.Value), key)
		})
		if has || named {
			m.fixRow(cs)
		}
	}
}

// forgetOldest makes room. The rows of cases that have the value are made before.
func (m *Machine) forgetOldest() {
	p := m.history.oldest
	kind, value, _ := strings.Cut(p.key, ":")
	if v, ok := m.index.Lookup(sdk.Observable{Kind: kind, Value: value}); ok {
		m.fixHistory(v, math.MinInt64)
	}
	m.history.remove(p)
	delete(m.history.values, p.key)
	m.history.forgotten++
}

// seen is the past of a value, which is the newest then.
func (h *history) seen(key string) *past {
	p := h.values[key]
	if p == nil {
		p = &past{key: key}
		h.values[key] = p
	} else {
		h.remove(p)
	}
	h.push(p)
	return p
}

func (h *history) push(p *past) {
	p.before, p.after = h.newest, nil
	if h.newest == nil {
		h.oldest = p
	} else {
		h.newest.after = p
	}
	h.newest = p
}

func (h *history) remove(p *past) {
	if p.before == nil {
		h.oldest = p.after
	} else {
		p.before.after = p.after
	}
	if p.after == nil {
		h.newest = p.before
	} else {
		p.after.before = p.before
	}
	p.before, p.after = nil, nil
}

// changes is from when on the past is another once the value is seen at a time.
func (p *past) changes(at, window int64) int64 {
	for _, s := range p.spells {
		if s.last >= at-window && s.first <= at+window {
			at = min(at, s.last)
		}
	}
	if len(p.spells) == maxSpells {
		at = min(at, p.spells[0].first) // which may have to go
	}
	return at
}

// add joins a spell with those that are no further from it than the window.
func (p *past) add(s spell, window int64) {
	rest := p.spells[:0]
	for _, o := range p.spells {
		if o.last < s.first-window || o.first > s.last+window {
			rest = append(rest, o)
			continue
		}
		if o.last > s.last {
			s.last, s.id = o.last, o.id
		}
		s.first, s.severity = min(s.first, o.first), max(s.severity, o.severity)
	}
	at, _ := slices.BinarySearchFunc(rest, s, func(a, b spell) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	p.spells = slices.Insert(rest, at, s)
	if len(p.spells) > maxSpells {
		p.spells = slices.Delete(p.spells, 0, 1)
		p.older++
	}
}

// history of a case: in how many earlier ones its values were. What may still come in
// time is not counted, so that the order in which it comes makes no difference.
func (v *view) history() []model.Past {
	if v.m.settings == nil {
		return nil
	}
	var all []model.Past
	before := v.cs.sum.firstAt.Add(-v.m.settings.Correlate.Lateness).UnixNano()
	values := v.values()
	for i := range values {
		if len(all) == maxHistory {
			break
		}
		p := v.m.history.values[v.m.index.Key(values[i].value)]
		if p == nil {
			continue
		}
		if one, ok := p.until(before); ok {
			one.Subject = values[i].affected()
			all = append(all, one)
		}
	}
	return all
}

// until tells of what was over before a time.
func (p *past) until(before int64) (one model.Past, ok bool) {
	one = model.Past{Value: p.key, Cases: int(p.older)}
	for _, s := range p.spells {
		if s.last >= before {
			continue
		}
		one.Cases++
		one.Severity = max(one.Severity, int(s.severity))
		one.Case, one.LastAt, ok = s.id, time.Unix(0, s.last).UTC(), true
		if s.found != nil {
			f := s.found.PastFinding
			f.Last = one.LastAt
			one.Found = append(one.Found, f)
		}
	}
	slices.Reverse(one.Found)
	return one, ok
}

var pastShape = object(map[string]*expr.Shape{
	"kind":       documented("The kind of the value.", text),
	"value":      documented("The value.", text),
	"about":      documented("Both: `host:ws-17`.", text),
	"observable": documented("The value, as answers have it.", text),
	"subject":    documented("Whether it is a subject of this case.", boolean),
	"cases":      documented("In how many earlier cases it was.", number),
	"severity":   documented("The highest of what was reported with it in the last four of them, 0 to 100.", number),
	"at":         documented("When it was last seen in one, RFC 3339.", text),
	"source":     documented("The id of that case.", text),

	"outcome":         documented("What people found that case to be: `true_positive`, `benign` or `false_positive`; null where nobody has said.", text),
	"outcome_by":      documented("Who found it.", text),
	"outcome_at":      documented("When, RFC 3339.", text),
	"true_positives":  documented("How many of the last four were found to be one, and were reported by a rule that reports this case too.", number),
	"benigns":         documented("Likewise `benign`.", number),
	"false_positives": documented("Likewise `false_positive`.", number),
})

// pastValues are those of a case that rules have reported.
func pastValues(all []model.Past, rules []string) expr.Value {
	items := make([]expr.Value, len(all))
	for i, p := range all {
		kind, value, _ := strings.Cut(p.Value, ":")
		fields := map[string]expr.Value{
			"kind": expr.String(kind), "value": expr.String(value), "about": expr.String(p.Value), "observable": expr.String(value),
			"subject": expr.Bool(p.Subject), "cases": expr.Int(int64(p.Cases)), "severity": expr.Int(int64(p.Severity)),
			"at": expr.Time(p.LastAt), "source": expr.String(p.Case),
			"outcome": {}, "outcome_by": {}, "outcome_at": {},
			"true_positives": foundBy(&p, model.TruePositive, rules), "benigns": foundBy(&p, model.Benign, rules),
			"false_positives": foundBy(&p, model.FalsePositive, rules),
		}
		if len(p.Found) > 0 && p.Found[0].Last.Equal(p.LastAt) {
			f := p.Found[0]
			fields["outcome"], fields["outcome_by"], fields["outcome_at"] = expr.String(string(f.Kind)), expr.String(f.By), expr.Time(f.At)
		}
		items[i] = expr.Object(fields)
	}
	return expr.List(items)
}

func (m *Machine) writeHistory(e *encoder) {
	h := &m.history
	e.uint(h.forgotten)
	e.uint(uint64(len(h.values)))
	for p := h.oldest; p != nil; p = p.after {
		e.text(p.key)
		e.uint(p.older)
		e.uint(uint64(len(p.spells)))
		for _, s := range p.spells {
			e.int(s.first)
			e.uint(uint64(s.last - s.first))
			e.uint(uint64(s.severity))
			e.text(s.id)
			e.bool(s.found != nil)
			if s.found != nil {
				e.json(s.found)
			}
		}
	}
}

func (m *Machine) readHistory(d *decoder) {
	h := &m.history
	h.forgotten = d.uint()
	d.each(func(int) {
		p := &past{key: d.text(), older: d.uint()}
		d.each(func(int) {
			s := spell{first: d.int()}
			s.last = s.first + int64(d.uint())
			s.severity, s.id = uint8(d.below(101)), d.text()
			if d.bool() {
				s.found = &foundPast{}
				d.json(s.found)
			}
			if p.spells = append(p.spells, s); len(p.spells) > maxSpells {
				d.fail("%s was seen in more than %d spells", p.key, maxSpells)
			}
		})
		switch {
		case d.err != nil:
		case h.values[p.key] != nil:
			d.fail("the past of %s occurs twice", p.key)
		default:
			h.values[p.key] = p
			h.push(p)
		}
	})
}
