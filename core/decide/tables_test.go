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
	members  map[string]string
	aliases  map[string]string
}

func newTables() *tables {
	return &tables{
		rows: map[string]string{}, cases: map[string]model.Case{}, intents: map[string]model.Intent{}, holds: map[string]model.Hold{},
		members: map[string]string{}, aliases: map[string]string{},
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
	}
	for _, r := range c.Answers {
		t.put("answer", r.Ask, r)
	}
	for _, in := range c.Intents {
		t.put("intent", in.ID, in)
		t.intents[in.ID] = in
	}
	for _, h := range c.Holds {
		t.put("hold", h.ID, h)
		t.holds[h.ID] = h
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
	}
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
