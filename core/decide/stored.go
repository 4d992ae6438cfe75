package decide

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Stored is a case as its rows have it, for expressions that are tried out. It has the
// fields that rules see, but for two things: of more than 200 subjects or indicators
// it has those that the row lists, and of values that were found, and are neither,
// no answers.
type Stored struct {
	Case    model.Case
	Signals []model.Signal
	Lookups []StoredLookup
}

// StoredLookup is an ask and what became of it; Reply is nil while it is pending.
type StoredLookup struct {
	Ask   model.Ask
	Reply *model.Reply
}

// Value is "case" in expressions under these settings, which say what enrichments
// there are.
func (c Stored) Value(s *Settings) expr.Value {
	fields := c.plain()
	maps.Copy(fields, c.answers(s))
	return expr.Object(fields)
}

// plain are the fields that are no answers.
func (c Stored) plain() map[string]expr.Value {
	row := c.Case
	var sources []string
	signals := make([]expr.Value, len(c.Signals))
	for i, g := range c.Signals {
		sources = append(sources, g.Source)
		signals[i] = storedSignal(g)
	}
	slices.Sort(sources)
	fields := map[string]expr.Value{
		"id": expr.String(row.ID), "title": expr.String(row.Title), "severity": expr.Int(int64(row.Severity)), "stopped": {},
		"size": expr.Int(int64(row.Size)), "signals": expr.List(signals),
		"first_at": expr.Time(row.FirstAt), "last_at": expr.Time(row.LastAt),
		"rules": expr.Strings(row.Rules), "sources": expr.Strings(slices.Compact(sources)), "techniques": expr.Strings(row.Techniques),
		"hosts": kindsOf(row.Subjects, sdk.Host), "users": kindsOf(row.Subjects, sdk.User, sdk.Account),
		"subjects": observableList(byKey(row.Subjects)), "indicators": observableList(byKey(row.Indicators)),
		"history": pastValues(row.History, row.Rules),
		"score":   expr.Object(map[string]expr.Value{"total": points(row.Score.Total), "upper": points(row.Score.Upper)}),
	}
	if row.Stopped != nil {
		fields["stopped"] = expr.Bool(*row.Stopped)
	}
	return fields
}

func storedSignal(g model.Signal) expr.Value {
	fields := map[string]expr.Value{
		"id": expr.String(g.ID), "rule": expr.String(g.Rule), "source": expr.String(g.Source), "title": expr.String(g.Title),
		"severity": expr.Int(int64(g.Severity)), "time": expr.Time(g.Time), "stopped": {},
	}
	if g.Stopped != nil {
		fields["stopped"] = expr.Bool(*g.Stopped)
	}
	return expr.Object(fields)
}

// byKey are observables in the order in which a case has them.
func byKey(all []sdk.Observable) []sdk.Observable {
	return slices.SortedFunc(slices.Values(all), func(a, b sdk.Observable) int { return cmp.Compare(a.Key(), b.Key()) })
}

func kindsOf(subjects []sdk.Observable, kinds ...string) expr.Value {
	var items []expr.Value
	for _, o := range byKey(subjects) {
		if slices.Contains(kinds, o.Kind) {
			items = append(items, expr.String(o.Value))
		}
	}
	return expr.List(items)
}

// answers by value, then by enrichment as the configuration has them. Of what internal
// enrichments say, the same thing is one.
func (c Stored) answers(s *Settings) map[string]expr.Value { return listed(c.said(s), nil) }

// storedSaid is an answer as a case has it.
type storedSaid struct {
	place place
	field string // of "case": "verdicts", "assets"
	same  string // what it says, of which one is enough; empty: each counts
	value expr.Value
}

// place of an answer in Stored.Lookups.
type place struct{ lookup, answer int }

// said are all answers that count, in their order.
func (c Stored) said(s *Settings) []storedSaid {
	affected := map[string]bool{}
	for _, o := range c.Case.Subjects {
		affected[o.Key()] = true
	}
	source := func(i int) int {
		return slices.IndexFunc(s.Sources, func(src Source) bool { return src.Address == c.Lookups[i].Ask.Enrichment })
	}
	order := make([]int, len(c.Lookups))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		p, q := c.Lookups[a].Ask.Observable.Key(), c.Lookups[b].Ask.Observable.Key()
		return cmp.Or(cmp.Compare(p, q), cmp.Compare(source(a), source(b)))
	})
	var all []storedSaid
	for _, i := range order {
		l, at := c.Lookups[i], source(i)
		if at < 0 || l.Reply == nil {
			continue
		}
		for j, a := range l.Reply.Answers {
			field, value := storedAnswer(l, a)
			said := storedSaid{place: place{i, j}, field: field}
			if field == "assets" || field == "identities" {
				if !s.Sources[at].Internal {
					continue
				}
				said.same = field + sameAnswer(value)
			}
			said.value = expr.Record(inCase{value, affected[l.Ask.Observable.Key()]})
			all = append(all, said)
		}
	}
	return all
}

// listed are the fields of "case" that answers make, but for some of these.
func listed(all []storedSaid, without func(place) bool) map[string]expr.Value {
	items := map[string][]expr.Value{"verdicts": nil, "assets": nil, "identities": nil, "networks": nil}
	had := map[string]bool{}
	for _, a := range all {
		if without != nil && without(a.place) || a.same != "" && had[a.same] {
			continue
		}
		had[a.same] = true
		items[a.field] = append(items[a.field], a.value)
	}
	fields := map[string]expr.Value{}
	for name, list := range items {
		fields[name] = expr.List(list)
	}
	return fields
}

// storedAnswer is an answer, and the field of "case" that it is in.
func storedAnswer(l StoredLookup, a model.Answer) (string, expr.Value) {
	o := l.Ask.Observable
	switch {
	case a.Verdict != nil:
		return "verdicts", verdictValue(l.Ask.Enrichment, o, l.Reply, a)
	case a.Asset != nil:
		return "assets", answerValue(l.Ask.Enrichment, o, l.Reply, a, a.Asset)
	case a.Identity != nil:
		return "identities", answerValue(l.Ask.Enrichment, o, l.Reply, a, a.Identity)
	}
	return "networks", answerValue(l.Ask.Enrichment, o, l.Reply, a, a.Network)
}
