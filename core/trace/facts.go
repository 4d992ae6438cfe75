package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Fact is what an event is to a rule over several, for one key.
type Fact struct {
	Rule string `json:"rule"`
	Key  string `json:"key"` // "ip 203.0.113.7"; empty: all events are of one
	// Terms are those of the rule that it is of, from 0.
	Terms []int `json:"terms"`
	// Needs says what the rule looks for, and Has what there is of that up to the event, by
	// the events of the log.
	Needs string `json:"needs"`
	Has   string `json:"has"`
	// Signal is the id of what the rule reports with it; empty: nothing. Stored: it did.
	Signal string `json:"signal,omitempty"`
	Stored bool   `json:"stored,omitempty"`
	Case   string `json:"case,omitempty"`
	// Left: not all of the log that may matter was read.
	Left bool `json:"left,omitempty"`
}

// mostFactEvents of the log are matched again for what a rule over several has seen.
const mostFactEvents = 20_000

// factKey is what facts of one rule are put together by.
type factKey struct{ rule, key string }

// facts says what an event is to the rules over several.
func (t *Tracer) facts(ctx context.Context, r *Report, f found) error {
	if r.Match.Reason != "" || len(r.Match.Facts) == 0 {
		return nil
	}
	around, left, err := t.factsAround(ctx, r, f)
	if err != nil {
		return err
	}
	at := map[factKey]int{}
	for i := range r.Match.Facts {
		own := &r.Match.Facts[i]
		k := factKey{own.Rule, own.Key}
		rule := t.several(own.Rule)
		if rule == nil {
			continue
		}
		n, had := at[k]
		if !had {
			n = len(r.Facts)
			at[k] = n
			fact := Fact{Rule: t.Shown(own.Rule), Key: shownKey(own.Key), Needs: needs(rule), Left: left}
			t.judge(rule, own, around[k], &fact)
			if err := t.reported(ctx, &rule.Watch, own, &fact); err != nil {
				return err
			}
			r.Facts = append(r.Facts, fact)
		}
		if !slices.Contains(r.Facts[n].Terms, own.Term) {
			r.Facts[n].Terms = append(r.Facts[n].Terms, own.Term)
		}
	}
	return nil
}

// several is a rule over several, by its address; nil: there is none.
func (t *Tracer) several(address string) *decide.Rule {
	at := slices.IndexFunc(t.Decide.Rules, func(r decide.Rule) bool { return r.Address == address && !r.Single })
	if at < 0 {
		return nil
	}
	return &t.Decide.Rules[at]
}

func shownKey(key string) string {
	var parts []string
	names, values := model.KeyParts(key)
	for i := range names {
		parts = append(parts, names[i]+" "+values[i])
	}
	return strings.Join(parts, ", ")
}

// factsAround are the facts of the same rules and keys in the log, its own among them.
func (t *Tracer) factsAround(ctx context.Context, r *Report, f found) (map[factKey][]correlate.Fact, bool, error) {
	all := map[factKey][]correlate.Fact{}
	span := time.Duration(0)
	for i := range r.Match.Facts {
		own := &r.Match.Facts[i]
		all[factKey{own.Rule, own.Key}] = nil
		if rule := t.several(own.Rule); rule != nil {
			span = max(span, rule.Watch.Within+rule.Watch.Past+rule.Watch.Lateness)
		}
	}
	take := func(facts []model.Fact) {
		for i := range facts {
			k := factKey{facts[i].Rule, facts[i].Key}
			if _, wanted := all[k]; wanted {
				all[k] = append(all[k], correlateFact(&facts[i]))
			}
		}
	}
	if t.Log == nil || f.seq == 0 || f.alone {
		take(r.Match.Facts)
		return all, true, nil
	}
	began, last := f.batch.Received.Add(-span), f.batch.Received.Add(span)
	w := match.NewWorker(t.Match)
	q := eventlog.Query{Limit: pageBatches, Before: f.seq + pageBatches}
	for events := 0; events < mostFactEvents; {
		p, err := t.Log.ListEvents(ctx, q)
		if err != nil {
			return nil, false, err
		}
		for _, rec := range p.Records {
			b, err := batchOf(rec)
			if err != nil || b.Received.After(last) {
				continue
			}
			if b.Received.Before(began) {
				return all, false, nil
			}
			events += len(b.Events)
			res, _ := w.Match(&b, rec.Seq)
			take(res.Facts)
		}
		if p.Before == 0 || len(p.Records) == 0 {
			return all, false, nil
		}
		q.Before = p.Before
	}
	return all, true, nil
}

func correlateFact(f *model.Fact) correlate.Fact {
	return correlate.Fact{
		Watch: f.Rule, Term: f.Term, Key: f.Key, ID: f.ID, Time: f.Time, Value: f.Value, Number: f.Number,
		Seq: f.Position.Seq, Index: f.Position.Index,
	}
}

// judge says what a rule has of what it looks for when an event comes, and whether it
// reports it.
func (t *Tracer) judge(rule *decide.Rule, own *model.Fact, facts []correlate.Fact, out *Fact) {
	out.Has = has(rule, own, facts)
	windows := correlate.NewWindows([]correlate.Watch{rule.Watch})
	slices.SortStableFunc(facts, func(a, b correlate.Fact) int { return a.Time.Compare(b.Time) })
	latest := map[time.Time]correlate.Report{}
	note := func(all []correlate.Report) {
		for _, r := range all {
			latest[r.Bucket] = r
		}
	}
	for i := range facts {
		note(windows.Put(&facts[i]))
	}
	note(windows.Pass(rule.Address, t.Now.Add(-rule.Watch.Lateness)))
	for _, r := range latest {
		if slices.ContainsFunc(r.Members, func(m correlate.FactRef) bool { return m.ID == own.ID }) {
			out.Signal = model.SeveralID(rule.Address, own.Key, r.Bucket)
		}
	}
}

// mostPeriods in which a rule may have reported an event are looked at.
const mostPeriods = 16

// reported looks whether what a rule reports of an event is stored: in the period that was
// worked out, or in one in which a hit with the event may lie.
func (t *Tracer) reported(ctx context.Context, w *correlate.Watch, own *model.Fact, out *Fact) error {
	if t.Store == nil {
		return nil
	}
	every := int64(w.Every)
	if every == 0 {
		every = int64(w.Within)
	}
	ids := []string{out.Signal}
	if every > 0 {
		first := own.Time.UnixNano() - own.Time.UnixNano()%every
		for n := range int64(mostPeriods) {
			if at := first + n*every; at <= own.Time.Add(w.Within).UnixNano() {
				ids = append(ids, model.SeveralID(w.Rule, own.Key, time.Unix(0, at)))
			}
		}
	}
	for _, id := range ids {
		if id == "" {
			continue
		}
		g, in, err := t.Store.Signal(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		isMember := slices.ContainsFunc(g.Members, func(m model.Member) bool { return m.ID == own.ID })
		if isMember || id == out.Signal && g.Size > len(g.Members) {
			out.Signal, out.Stored, out.Case = id, true, in
			return nil
		}
	}
	return nil
}

// needs says what a rule looks for.
func needs(r *decide.Rule) string {
	w := &r.Watch
	number := fmt.Sprintf("%g", float64(w.Above)/1000)
	text := map[correlate.Kind]string{
		correlate.Count:      fmt.Sprintf("%d events", w.Least),
		correlate.Distinct:   fmt.Sprintf("%d different values", w.Least),
		correlate.Sum:        "a sum of " + number,
		correlate.Average:    fmt.Sprintf("an average of %s over at least %d events", number, w.Least),
		correlate.Percentile: fmt.Sprintf("a percentile %d of %s over at least %d events", w.Percent, number, w.Least),
		correlate.Sequence:   fmt.Sprintf("%d events one after the other", w.Terms),
		correlate.All:        fmt.Sprintf("%d events in any order", w.Terms),
		correlate.Absence:    "no answer to the first",
		correlate.First:      "none before it",
		correlate.Spike:      fmt.Sprintf("%g times its past, and at least %d events", float64(w.Factor)/1000, w.Least),
	}[w.Kind]
	return text + " within " + span(w.Within)
}

// has counts, of each term, the facts that lie in the window that an event ends.
func has(r *decide.Rule, own *model.Fact, facts []correlate.Fact) string {
	w := &r.Watch
	terms := make([]int, max(w.Terms, own.Term+1, 1))
	values, sum, seen := map[string]bool{}, int64(0), map[[2]string]bool{}
	for i := range facts {
		f := &facts[i]
		id := [2]string{f.ID, fmt.Sprint(f.Term)}
		if f.Time.After(own.Time) || !f.Time.After(own.Time.Add(-w.Within)) || f.Term >= len(terms) || seen[id] {
			continue
		}
		seen[id] = true
		terms[f.Term]++
		values[f.Value] = true
		sum += f.Number
	}
	switch {
	case len(terms) > 1:
		var all []string
		for i, n := range terms {
			text := fmt.Sprintf("%d of the %s", n, ordinal(i+1))
			if i < len(r.Terms) && len(r.Terms[i].Signals) > 0 {
				text += " (signals of " + strings.Join(r.Terms[i].Signals, ", ") + " not counted)"
			}
			all = append(all, text)
		}
		return strings.Join(all, ", ")
	case w.Kind == correlate.Distinct:
		return fmt.Sprintf("%d different values", len(values))
	case w.Kind == correlate.Sum:
		return fmt.Sprintf("a sum of %g", float64(sum)/1000)
	}
	return fmt.Sprintf("%d", terms[0])
}

// span is a duration without the units that are nought.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "1st"
	case 2:
		return "2nd"
	case 3:
		return "3rd"
	}
	return fmt.Sprintf("%dth", n)
}
