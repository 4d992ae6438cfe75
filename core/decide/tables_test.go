package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// tables hold the rows as a store does.
type tables struct {
	position Position
	rows     map[string]string // "table key" to the row as JSON
	cases    map[string]model.Case
	intents  map[string]model.Intent
	holds    map[string]model.Hold

	flags     Flags
	questions map[string]model.Question
	proposals map[string]model.Proposal

	members map[string]string
	aliases map[string]string

	settled map[int64]Settled
	numbers int64
	away    map[uint64]bool
	recalls []Recall
	asks    []model.Ask
	answers map[string]model.Reply

	recalling func() // when rows were committed for a recall
}

func newTables() *tables {
	return &tables{
		rows: map[string]string{}, cases: map[string]model.Case{}, intents: map[string]model.Intent{}, holds: map[string]model.Hold{},
		questions: map[string]model.Question{}, proposals: map[string]model.Proposal{},
		members: map[string]string{}, aliases: map[string]string{},
		settled: map[int64]Settled{}, away: map[uint64]bool{}, answers: map[string]model.Reply{},
	}
}

func (t *tables) put(table, key string, row any) {
	text, err := json.Marshal(row)
	if err != nil {
		panic(err)
	}
	t.rows[table+" "+key] = string(text)
}

func (t *tables) commit(c Changes) {
	t.position = c.Position
	for _, s := range c.Signals {
		t.put("signal", s.ID, s)
	}
	for _, k := range c.Cases {
		t.put("case", k.ID, k)
		t.cases[k.ID] = k
	}
	for _, m := range c.Members {
		t.put("member", m.Signal, m)
		t.members[m.Signal] = m.Case
	}
	for _, a := range c.Aliases {
		if a.Case == "" {
			delete(t.rows, "alias "+a.ID)
			delete(t.aliases, a.ID)
			continue
		}
		t.put("alias", a.ID, a)
		t.aliases[a.ID] = a.Case
	}
	for _, a := range c.Asks {
		t.put("ask", a.ID, a)
		t.asks = append(t.asks, a)
	}
	for _, r := range c.Answers {
		t.put("answer", r.Ask, r)
		t.answers[r.Ask] = r
	}
	for _, in := range c.Intents {
		if old, ok := t.intents[in.ID]; ok {
			in.Parameters, in.Target.Known = old.Parameters, old.Target.Known
		}
		t.put("intent", in.ID, in)
		t.intents[in.ID] = in
	}
	for _, h := range c.Holds {
		t.put("hold", h.ID, h)
		t.holds[h.ID] = h
	}
	for _, q := range c.Questions {
		t.put("question", q.ID, q)
		t.questions[q.ID] = q
	}
	for _, p := range c.Proposals {
		t.put("proposal", p.ID, p)
		t.proposals[p.ID] = p
	}
	for _, l := range c.Ledger {
		t.put("ledger", l.Source+" "+l.Hour.String(), l)
	}
	for _, s := range c.Sources {
		t.put("source", s.Source, s)
	}
	for _, v := range c.Configs {
		t.put("config", v.Hash, v)
	}
	if c.Sums != nil {
		t.put("sums", "", c.Sums)
	}
	if c.Flags != nil {
		t.put("flags", "", c.Flags)
		t.flags = *c.Flags
	}
	t.memory(c)
}

// memory takes what has left a machine's memory and what is back.
func (t *tables) memory(c Changes) {
	for _, n := range c.Recalled {
		delete(t.settled, n)
	}
	for _, s := range c.Settled {
		t.numbers++
		t.settled[t.numbers] = s
	}
	for _, h := range c.Away {
		t.away[h] = true
	}
	for _, r := range c.Recalls { // one for each place
		t.recalls = slices.DeleteFunc(slices.Clone(t.recalls), func(o Recall) bool { return o.Position == r.Position })
		t.recalls = append(t.recalls, r)
	}
}

// recall finds what is wanted, as a store does.
func (t *tables) recall(w Wanted) (found Recalled) {
	cases := map[string]bool{}
	names := slices.Clone(w.Names)
	for _, id := range w.Intents {
		names = append(names, t.intents[id].Case)
	}
	for _, id := range w.Questions {
		names = append(names, t.questions[id].Case)
	}
	for _, name := range names {
		cases[name], cases[t.aliases[name]] = true, true
	}
	for _, id := range w.Signals {
		cases[t.members[id]] = true
	}
	for _, n := range slices.Sorted(maps.Keys(t.settled)) {
		s := t.settled[n]
		byValue := slices.ContainsFunc(s.Values, func(h uint64) bool { return slices.Contains(w.Values, h) })
		if cases[s.Case] || byValue && (s.Last >= w.Horizon || s.Changed > w.Quiet) {
			found.Cases = append(found.Cases, Back{Number: n, Doc: s.Doc})
		}
	}
	if len(w.Plans) > 0 {
		found.Plans = t.recall(Wanted{Names: w.Plans}).Cases
	}
	lookups := slices.Clone(w.Lookups)
	for _, a := range t.asks {
		if slices.Contains(w.Asks, a.ID) {
			lookups = append(lookups, a.Observable)
		}
	}
	for _, o := range lookups {
		for _, enrichment := range w.Enrichments {
			var last *model.Ask
			for i := range t.asks {
				if a := &t.asks[i]; a.Observable == o && a.Enrichment == enrichment && (last == nil || a.AskedAt.After(last.AskedAt)) {
					last = a
				}
			}
			if last == nil {
				continue
			}
			b := BackLookup{Ask: *last}
			if r, ok := t.answers[last.ID]; ok {
				b.Reply = &r
			}
			found.Lookups = append(found.Lookups, b)
		}
	}
	return found
}

// bring gives a machine what an input needs; what it has not saved yet is committed if
// need be.
func (t *tables) bring(m *Machine, at Position, in *model.Input, step int) error {
	maybe := func(h uint64) bool { return t.away[h] || slices.Contains(m.changed.away, h) }
	rounds, err := need(m, in, maybe, func(w Wanted) (Recalled, error) {
		if m.Left() {
			t.commit(m.Changes())
			if t.recalling != nil && len(m.brought) > 0 {
				t.recalling()
			}
		}
		var found Recalled
		text, err := json.Marshal(t.recall(w)) // as it is when it is read again
		if err == nil {
			err = json.Unmarshal(text, &found)
		}
		return found, err
	})
	m.recalled(at, step, rounds)
	return err
}

// again applies an input with what was brought for it before.
func (t *tables) again(m *Machine, p part) error {
	bring := func(step int) error {
		for _, r := range t.recalls {
			if r.Position != p.at {
				continue
			}
			if err := r.bring(m, step); err != nil {
				return err
			}
		}
		return nil
	}
	if err := bring(0); err != nil {
		return err
	}
	return m.apply(p.at, p.in, bring)
}

// dump is all rows in order.
func (t *tables) dump() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		fmt.Fprintf(&b, "%s %s\n", key, t.rows[key])
	}
	return b.String()
}

// open are the cases that are none under another id.
func (t *tables) open() []model.Case {
	var open []model.Case
	for _, id := range slices.Sorted(maps.Keys(t.cases)) {
		if t.cases[id].State == model.CaseOpen {
			open = append(open, t.cases[id])
		}
	}
	return open
}

// planned are the intents as "step target state".
func (t *tables) planned() []string {
	var all []string
	for _, in := range t.intents {
		all = append(all, in.Step+" "+in.Target.Value+" "+string(in.State))
	}
	slices.Sort(all)
	return all
}

// grouping shows which signals are in which case.
func (t *tables) grouping() string {
	groups := map[string][]string{}
	for signal, id := range t.members {
		groups[id] = append(groups[id], signal)
	}
	var all []string
	for id, signals := range groups {
		slices.Sort(signals)
		all = append(all, id+" "+strings.Join(signals, " "))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
