package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// DecisionID is the id of what a command decides.
func DecisionID(command string) string { return model.ID("d", command) }

// standing is the place of a decision that stands; -1: there is none.
func (m *Machine) standing(id string) int {
	return slices.IndexFunc(m.decisions, func(d model.Decision) bool { return d.ID == id })
}

// decideByHand takes a decision of a person about which signals are one case. One that
// does not fit what there is changes nothing.
func (m *Machine) decideByHand(c *model.Command) {
	d := model.Decision{ID: DecisionID(c.ID), Kind: c.Kind, By: c.By, Because: clip(c.Because), At: m.at}
	if m.settings == nil || m.standing(d.ID) >= 0 || len(m.decisions) >= model.MostDecisions || !m.fits(&d, c) {
		return
	}
	m.decisions = append(slices.Clip(m.decisions), d)
	m.regroup()
	m.changed.flags = true
	m.recordDecision(model.RecordDecision, d, c)
}

// fits fills in a decision and tells whether it says anything new.
func (m *Machine) fits(d *model.Decision, c *model.Command) bool {
	if d.Kind == model.NeverJoin {
		var err error
		d.Value, err = sdk.ParseKey(c.Value)
		return err == nil && !m.index.NeverJoins(d.Value)
	}
	var groups []correlate.GroupNum
	var signals []correlate.SignalNum
	for _, id := range c.Signals {
		n, there := m.index.Signal(id)
		if !there || len(signals) >= model.MostSplit {
			return false
		}
		if g := m.index.Group(n); !slices.Contains(groups, g) {
			groups = append(groups, g)
		} else if d.Kind == model.MergeCases {
			continue // its case is there already
		}
		if !slices.Contains(signals, n) {
			signals = append(signals, n)
		}
	}
	slices.SortFunc(signals, func(a, b correlate.SignalNum) int {
		return cmp.Or(m.index.Time(a).Compare(m.index.Time(b)), strings.Compare(m.index.ID(a), m.index.ID(b)))
	})
	for _, n := range signals {
		d.Signals = append(d.Signals, m.index.ID(n))
	}
	for _, g := range groups {
		d.Cases = append(d.Cases, m.cases[g].id)
	}
	slices.Sort(d.Cases)
	if d.Kind == model.MergeCases {
		return len(groups) > 1
	}
	return len(groups) == 1 && len(signals) < m.index.Size(groups[0])
}

func (m *Machine) undoDecision(c *model.Command) {
	at := m.standing(c.Decision)
	if at < 0 || m.settings == nil {
		return
	}
	d := m.decisions[at]
	m.decisions = slices.Delete(slices.Clone(m.decisions), at, at+1)
	m.regroup()
	m.changed.flags = true
	m.recordDecision(model.RecordUndo, d, c)
}

func (m *Machine) recordDecision(kind model.RecordKind, d model.Decision, c *model.Command) {
	r := model.Record{
		Kind: kind, By: c.By, Because: c.Because, Subject: d.ID, To: string(d.Kind),
		Case: strings.Join(d.Cases[:min(len(d.Cases), maxBeside)], " "), Message: strings.Join(d.Signals, " "),
	}
	if d.Kind == model.NeverJoin {
		r.Target = d.Value.Key()
	}
	m.record(r)
}

// maxJoined bounds what is told of why a case's signals are one.
const maxJoined = 20

// joinedBy tells why the signals of a case are one, beyond values that they share: that
// internal enrichments say that subjects are the same, what people have decided, and
// what was left out for its size.
func (m *Machine) joinedBy(cs *caseState) []string {
	var all []string
	for _, d := range m.decisions {
		if len(d.Signals) > 0 && m.inCase(d, cs) {
			all = append(all, fmt.Sprintf("%s by %s (%s): %s", decided[d.Kind], d.By, d.ID, d.Because))
		}
	}
	all = append(all, m.sameIn(cs, maxJoined-min(maxJoined, len(all)))...)
	if len(cs.beside) > 0 {
		all = append(all, fmt.Sprintf("it would have more than %d signals, the most that a case may have (case.most): the rest is in %s",
			m.most(), strings.Join(cs.beside, ", ")))
	}
	return all
}

func (m *Machine) most() int {
	if m.settings != nil && m.settings.Correlate.Most > 0 {
		return m.settings.Correlate.Most
	}
	return correlate.DefaultMost
}

var decided = map[model.CommandKind]string{model.MergeCases: "merged", model.SplitCase: "split off"}

func (m *Machine) inCase(d model.Decision, cs *caseState) bool {
	in := 0
	for _, id := range d.Signals {
		if n, there := m.index.Signal(id); there && m.index.Group(n) == cs.group {
			in++
		}
	}
	return in > 1 || in > 0 && d.Kind == model.SplitCase
}

// maxSubjects bounds the subjects of a case that are looked at for who they are.
const maxSubjects = 500

// sameIn tells which subjects of a case are the same, and who says so, where that joins
// something: a signal of the case has the other value, or two of them stand for it.
func (m *Machine) sameIn(cs *caseState, most int) []string {
	refs := cs.sum.refs
	if most <= 0 || !slices.ContainsFunc(refs, func(r correlate.Ref) bool { return r.Role == correlate.Same }) {
		return nil
	}
	type text struct {
		of  correlate.ValueNum
		why string
	}
	texts, subjects := map[correlate.ValueNum][]text{}, 0 // by what they stand for
	for _, r := range refs {
		if r.Role != correlate.Subject {
			continue
		}
		if subjects++; subjects > maxSubjects {
			break
		}
		for v, why := range m.namedBy(r.Value) {
			texts[v] = append(texts[v], text{r.Value, why})
		}
	}
	var all []string
	told := map[[2]correlate.ValueNum]bool{}
	for i, r := range refs {
		if r.Role != correlate.Same {
			continue
		}
		var values []correlate.ValueNum // that are one by it
		if i > 0 && refs[i-1].Value == r.Value {
			values = append(values, r.Value) // a signal has it itself
		}
		for _, t := range texts[r.Value] {
			values = append(values, t.of)
		}
		if m.together(cs, values) {
			continue
		}
		for _, t := range texts[r.Value] {
			if told[[2]correlate.ValueNum{t.of, r.Value}] || told[[2]correlate.ValueNum{r.Value, t.of}] || len(all) >= most {
				continue
			}
			told[[2]correlate.ValueNum{t.of, r.Value}] = true
			all = append(all, t.why)
		}
	}
	return all
}

// maxTogether bounds the values and, of each, the signals that are looked at for
// whether they are together anyway.
const maxTogether = 100

// together tells whether signals of a case that have two of these values and more hold
// all of them together, so that nothing else has to.
func (m *Machine) together(cs *caseState, values []correlate.ValueNum) bool {
	if len(values) < 2 {
		return true
	}
	values = values[:min(len(values), maxTogether)]
	reached, left := slices.Clone(values[:1]), slices.Clone(values[1:])
	for len(reached) > 0 && len(left) > 0 {
		looked, v := 0, reached[0]
		reached = reached[1:]
		for n := range m.index.SignalsOf(v) {
			if looked++; looked > maxTogether {
				break
			}
			if m.index.Group(n) != cs.group {
				continue
			}
			left = slices.DeleteFunc(left, func(w correlate.ValueNum) bool {
				has := m.has(n, v) && m.has(n, w)
				if has {
					reached = append(reached, w)
				}
				return has
			})
		}
	}
	return len(left) == 0
}

// has tells whether a signal has a value itself.
func (m *Machine) has(n correlate.SignalNum, v correlate.ValueNum) bool {
	return slices.ContainsFunc(m.index.Refs(n), func(r correlate.Ref) bool { return r.Value == v && r.Role != correlate.Same })
}

// namedBy are the values that a subject stands for, and who says so.
func (m *Machine) namedBy(p correlate.ValueNum) map[correlate.ValueNum]string {
	texts := map[correlate.ValueNum]string{}
	for _, l := range m.lookupsOf(p) {
		if l.src == nil || !l.src.Internal {
			continue
		}
		for _, n := range l.namings {
			for _, name := range n.names {
				v, ok := m.index.Lookup(name)
				if !ok || v == p || texts[v] != "" {
					continue
				}
				texts[v] = fmt.Sprintf("%s is %s by %s", m.index.Key(p), m.index.Key(v), m.shown(l.src.Address))
				if !n.timeless() {
					texts[v] += ", seen " + n.to.Format(time.DateTime)
				}
			}
		}
	}
	return texts
}
