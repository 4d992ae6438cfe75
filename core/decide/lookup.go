package decide

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// maxDepth is how far values that internal enrichments name are asked about in
// turn: an address names a host, the host an owner.
const maxDepth = 2

// lookup is what one enrichment says about one value.
type lookup struct {
	ask     string // the latest
	source  uint32 // address of the enrichment, by its number
	value   correlate.ValueNum
	depth   uint8  // 0: a signal has the value; else how many answers led to it
	signal  string // whose case it was asked for
	asked   time.Time
	state   model.AnswerState
	expires time.Time
	// src is nil if the configuration in force has no such enrichment: what it said
	// does not count then.
	src *Source
	// reply is what was last answered; nil: nothing yet. While a value is asked about
	// again, what was known of it goes on to count.
	reply  *model.Reply
	weight int                  // of reply, in bytes
	lists  *answerLists         // of reply; nil: nothing that expressions read
	named  []correlate.ValueNum // values that reply names
	// namings are who reply says that the value is, or was.
	namings []naming
}

// answerLists are a reply's answers as expressions have them.
type answerLists struct {
	verdicts, assets, identities, networks []expr.Value
}

func (l *lookup) pending() bool { return l.state == model.Pending }

// known: the source has said something.
func (l *lookup) known() bool { return l.state == model.Known || l.state == model.Clean }

func (l *lookup) internal() bool { return l.src.Internal }

// question is why something is asked.
type question struct {
	by     string // the signal or ask that wants it
	signal string // whose case it is for
	at     time.Time
	depth  uint8
}

// askAt makes sure that every enrichment that takes a value has been asked about it,
// and that its answer is still good.
func (m *Machine) askAt(v correlate.ValueNum, q question) {
	if m.settings == nil {
		return
	}
	o := m.index.Observable(v)
	m.growLookups()
	for i := range m.settings.Sources {
		src := &m.settings.Sources[i]
		if !slices.Contains(src.Takes, o.Kind) || !src.Internal && m.settings.Own(o) {
			continue
		}
		l := m.lookupOf(v, src.Address)
		if l != nil && (l.pending() || m.at.Before(l.expires)) {
			continue
		}
		id := model.ID("a", src.Address, o.Key(), q.by)
		switch {
		case l != nil && l.ask == id:
			continue
		case l != nil: // asked again, under an id that it never had: the store keeps the old one as it was answered
			id = model.ID("a", src.Address, o.Key(), q.by, l.ask)
		}
		m.fixRows(v, 0)
		if l == nil {
			l = &lookup{value: v, depth: q.depth, source: m.texts.hold(src.Address), src: src}
			m.lookups[v] = append(m.lookups[v], l)
		}
		delete(m.asks, l.ask)
		// Of what was asked about the same, the latest has the latest time.
		if asked := m.at; asked.After(l.asked) {
			l.asked = asked
		} else {
			l.asked = l.asked.Add(1)
		}
		l.ask, l.state, l.signal = id, model.Pending, q.signal
		m.asks[id] = l
		m.pending++
		m.countAsk("", model.Pending)
		m.changed.asks = append(m.changed.asks, model.Ask{
			ID: id, Enrichment: src.Address, Observable: o, At: q.at.UTC(), AskedAt: l.asked, Signal: l.signal, Depth: l.depth,
			Severity: m.severityOf(l.signal),
		})
	}
}

func (m *Machine) growLookups() {
	if n := m.index.ValueRoom(); n > len(m.lookups) {
		m.lookups = append(m.lookups, make([][]*lookup, n-len(m.lookups))...)
	}
}

func (m *Machine) lookupsOf(v correlate.ValueNum) []*lookup {
	if int(v) >= len(m.lookups) {
		return nil
	}
	return m.lookups[v]
}

func (m *Machine) lookupOf(v correlate.ValueNum, source string) *lookup {
	for _, l := range m.lookupsOf(v) {
		if m.texts.text(l.source) == source {
			return l
		}
	}
	return nil
}

// reply takes what became of an ask. What failed never takes the place of an
// answer to the same ask, and of two answers the later counts.
func (m *Machine) reply(r *model.Reply) {
	l := m.asks[r.Ask]
	if l == nil || r.State == model.Pending {
		return
	}
	late := !l.pending()
	if late {
		if r.State == model.Failed || l.state != model.Failed && !r.AnsweredAt.After(l.reply.AnsweredAt) {
			return
		}
	} else if l.src != nil {
		m.pending--
	}
	m.fixRows(l.value, 0)
	m.countAsk(l.state, r.State)
	reply := *r
	was := l.namings
	reply.Before = before(m.index.Observable(l.value), l.reply, r.State == model.Failed)
	l.state, l.expires = r.State, r.Expires
	m.changed.answers[r.Ask] = reply
	m.said(l, &reply)
	m.resolve(l, was)
	m.idle = append(m.idle, l.value)
	defer m.answered(r.Ask)
	if late {
		// Who waited for it went on without it. It is told to the case that it was asked
		// for; others have it when next something happens to them.
		if s, ok := m.index.Signal(l.signal); ok {
			m.touch(m.cases[m.index.Group(s)])
		}
	} else {
		m.touchValue(l.value)
	}
	if l.src == nil || !l.src.Internal || l.depth >= maxDepth {
		return
	}
	for _, f := range l.reply.Found {
		if o, ok := canonical(f.Observable); ok {
			m.askAt(m.index.Value(o), question{by: l.ask, signal: l.signal, at: f.At, depth: l.depth + 1})
		}
	}
}

// said keeps what a reply says.
func (m *Machine) said(l *lookup, r *model.Reply) {
	m.answers -= l.weight
	l.reply, l.weight = r, weigh(r)
	m.answers += l.weight
	m.read(l)
}

// weigh is about how many bytes a reply takes, and what is read from it.
func weigh(r *model.Reply) int {
	const each = 600 // an answer's fields
	n := 200 + len(r.Reason) + each*len(r.Answers) + 100*(len(r.Found)+len(r.Aliases)) + each*len(r.Before)
	for i := range r.Answers {
		a := &r.Answers[i]
		n += 2 * len(a.Details)
		switch {
		case a.Verdict != nil:
			n += sizeOf(a.Verdict.Labels) + len(a.Verdict.Link)
		case a.Asset != nil:
			n += sizeOf(a.Asset.IPs) + sizeOf(a.Asset.MACs) + sizeOf(a.Asset.Roles) + sizeOf(a.Asset.Tags)
		case a.Identity != nil:
			n += sizeOf(a.Identity.Groups)
		}
	}
	return n
}

func sizeOf(list []string) (n int) {
	for _, s := range list {
		n += 2 * (16 + len(s))
	}
	return n
}

// read takes apart what a reply says.
func (m *Machine) read(l *lookup) {
	before := l.named
	m.forget(l)
	m.idle = append(m.idle, before...)
	lists := &answerLists{}
	for _, a := range l.reply.Answers {
		switch {
		case a.Verdict != nil:
			lists.verdicts = append(lists.verdicts, m.verdict(l, a))
		case a.Asset != nil:
			lists.assets = append(lists.assets, m.answer(l, a, a.Asset))
		case a.Identity != nil:
			lists.identities = append(lists.identities, m.answer(l, a, a.Identity))
		case a.Network != nil:
			lists.networks = append(lists.networks, m.answer(l, a, a.Network))
		}
	}
	l.lists = nil
	if len(l.reply.Answers) > 0 {
		l.lists = lists
	}
	l.namings = namings(m.index.Observable(l.value), l.reply)
	eachNamed(l.reply, func(o sdk.Observable) { m.addNamed(l, o) })
	m.growLookups()
}

// eachNamed goes over the values that a reply names, in their canonical form.
func eachNamed(r *model.Reply, f func(sdk.Observable)) {
	name := func(kind, value string) {
		if o, ok := canonical(sdk.Observable{Kind: kind, Value: value}); ok {
			f(o)
		}
	}
	for i := range r.Answers {
		switch a := &r.Answers[i]; {
		case a.Verdict != nil:
		case a.Asset != nil:
			name(sdk.Host, a.Asset.Name)
			name(sdk.Host, a.Asset.FQDN)
		case a.Identity != nil:
			name(sdk.Account, a.Identity.UPN)
			name(sdk.User, a.Identity.Name)
		}
	}
	for _, found := range r.Found {
		name(found.Observable.Kind, found.Observable.Value)
	}
	for _, o := range r.Aliases {
		name(o.Kind, o.Value)
	}
}

// forget takes back what a lookup named.
func (m *Machine) forget(l *lookup) {
	named := l.named
	l.named = nil
	for _, v := range named {
		also := slices.ContainsFunc(m.lookupsOf(l.value), func(o *lookup) bool { return slices.Contains(o.named, v) })
		if also {
			continue
		}
		m.parents[v] = slices.DeleteFunc(m.parents[v], func(p correlate.ValueNum) bool { return p == l.value })
		if len(m.parents[v]) == 0 {
			delete(m.parents, v)
		}
	}
}

// addNamed notes that a lookup names a value.
func (m *Machine) addNamed(l *lookup, o sdk.Observable) {
	v := m.index.Value(o)
	if v == l.value || slices.Contains(l.named, v) {
		return
	}
	l.named = append(l.named, v)
	if !slices.Contains(m.parents[v], l.value) {
		m.parents[v] = append(m.parents[v], l.value)
	}
}

func canonical(o sdk.Observable) (sdk.Observable, bool) {
	if o.Value == "" {
		return o, false
	}
	c, err := sdk.Canonical(o.Kind, o.Value)
	return c, err == nil
}

// shown is the address of now of what is known by another.
func (m *Machine) shown(address string) string {
	if m.settings == nil {
		return address
	}
	if now := m.settings.Names[address]; now != "" {
		return now
	}
	return address
}

// answer is one answer as expressions have it.
func (m *Machine) answer(l *lookup, a model.Answer, fields any) expr.Value {
	return answerValue(m.shown(m.texts.text(l.source)), m.index.Observable(l.value), l.reply, a, fields)
}

func (m *Machine) verdict(l *lookup, a model.Answer) expr.Value {
	return verdictValue(m.shown(m.texts.text(l.source)), m.index.Observable(l.value), l.reply, a)
}

// answerValue is an answer's own fields, and which source said it of what, and when.
func answerValue(source string, o sdk.Observable, r *model.Reply, a model.Answer, fields any) expr.Value {
	doc := map[string]expr.Value{}
	text, err := json.Marshal(fields)
	if err == nil {
		for name, v := range expr.JSON(text).Fields() {
			doc[name] = v
		}
	}
	doc["source"] = expr.String(source)
	doc["observable"], doc["about"] = expr.String(o.Value), expr.String(o.Key())
	if at := a.At; !at.IsZero() {
		doc["at"] = expr.Time(at)
	} else if at := r.AnsweredAt; !at.IsZero() {
		doc["at"] = expr.Time(at)
	}
	if len(a.Details) > 0 && expr.CheckJSON(a.Details) == nil {
		doc["details"] = expr.JSON(slices.Clone(a.Details))
	}
	return expr.Object(doc)
}

func verdictValue(source string, o sdk.Observable, r *model.Reply, a model.Answer) expr.Value {
	doc := map[string]expr.Value{
		"kind":  expr.String(o.Kind),
		"value": expr.String(o.Value),
		"state": expr.String(string(r.State)),
	}
	for name, v := range answerValue(source, o, r, a, a.Verdict).Fields() {
		doc[name] = v
	}
	return expr.Object(doc)
}

// touchValue touches the cases that wait for answers and have a value, or a value
// whose answers led to it. Others are not moved by what somebody else asked: they
// have it when next something happens to them.
func (m *Machine) touchValue(v correlate.ValueNum) {
	m.touchAbove(v, 0)
}

func (m *Machine) touchAbove(v correlate.ValueNum, depth int) {
	for g := range m.index.GroupsOf(v) {
		if cs := m.cases[g]; cs.waiting {
			m.touch(cs)
		}
	}
	if depth <= maxDepth {
		for _, p := range m.parents[v] {
			m.touchAbove(p, depth+1)
		}
	}
}

// fixRows makes the rows of the cases that a lookup about a value says something of,
// and that are not moved by it, as they are before it changes: a row is what a case
// was when something last happened to it.
func (m *Machine) fixRows(v correlate.ValueNum, depth int) {
	for g := range m.index.GroupsOf(v) {
		if cs := m.cases[g]; cs.dirty && !cs.touched {
			m.fixRow(cs)
		}
	}
	if depth <= maxDepth {
		for _, p := range m.parents[v] {
			m.fixRows(p, depth+1)
		}
	}
}

// resource gives every lookup its enrichment in the configuration in force, and
// counts the asks that these still owe.
func (m *Machine) resource() {
	m.pending = 0
	for _, list := range m.lookups {
		for _, l := range list {
			l.src = m.sources[m.texts.text(l.source)]
			if l.src != nil && l.pending() {
				m.pending++
			}
		}
	}
}
