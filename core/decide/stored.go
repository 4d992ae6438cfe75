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
		"history": pastValues(row.History),
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
func (c Stored) answers(s *Settings) map[string]expr.Value {
	affected := map[string]bool{}
	for _, o := range c.Case.Subjects {
		affected[o.Key()] = true
	}
	place := func(l StoredLookup) int {
		return slices.IndexFunc(s.Sources, func(src Source) bool { return src.Address == l.Ask.Enrichment })
	}
	lookups := slices.SortedFunc(slices.Values(c.Lookups), func(a, b StoredLookup) int {
		return cmp.Or(cmp.Compare(a.Ask.Observable.Key(), b.Ask.Observable.Key()), cmp.Compare(place(a), place(b)))
	})
	items := map[string][]expr.Value{"verdicts": nil, "assets": nil, "identities": nil, "networks": nil}
	had := map[string]bool{}
	for _, l := range lookups {
		at := place(l)
		if at < 0 || l.Reply == nil {
			continue
		}
		for _, a := range l.Reply.Answers {
			name, value := storedAnswer(l, a)
			if name == "" {
				continue
			}
			if name == "assets" || name == "identities" {
				key := name + sameAnswer(value)
				if !s.Sources[at].Internal || had[key] {
					continue
				}
				had[key] = true
			}
			items[name] = append(items[name], expr.Record(inCase{value, affected[l.Ask.Observable.Key()]}))
		}
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
	case a.Network == nil:
		return "", expr.Value{}
	}
	return "networks", answerValue(l.Ask.Enrichment, o, l.Reply, a, a.Network)
}
