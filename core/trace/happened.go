package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// happened is what became of a stored event.
func (t *Tracer) happened(ctx context.Context, r *Report, f found) error {
	flags, err := t.Store.Flags(ctx)
	if err != nil {
		return err
	}
	r.Stored = &Stored{Decided: flags.Events.Has(f.seq), Signals: []Signal{}}
	if r.Then, err = t.Store.ConfigAt(ctx, f.batch.Received); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	ids := t.signalIDs(f.batch.Source, f.batch.Maker, f.batch.Events[f.index].ID)
	if r.Then != "" && r.Then != t.Hash && t.Former != nil {
		before := &Tracer{Match: t.Former(ctx, r.Then)}
		if before.Match != nil {
			ids = append(ids, before.signalIDs(f.batch.Source, f.batch.Maker, f.batch.Events[f.index].ID)...)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		g, in, err := t.Store.Signal(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.Stored.Signals = append(r.Stored.Signals, t.signal(g, in))
		if at := (model.Position{Seq: f.seq, Index: f.index}); g.Position.After(at) {
			r.Note = fmt.Sprintf("a later revision of it is at %d/%d", g.Position.Seq, g.Position.Index)
		}
	}
	if len(r.Stored.Signals) > 0 {
		return nil
	}
	aside, err := t.rejected(ctx, f.batch.Source, f.seq, f.index)
	if err == nil && aside != nil {
		r.Stored.Rejected = aside.Reason
	}
	return err
}

// compare says where what happened is not what the configuration would make of it.
func (t *Tracer) compare(r *Report) {
	s := r.Stored
	if s == nil || !s.Decided {
		return
	}
	add := func(format string, args ...any) { r.Differs = append(r.Differs, fmt.Sprintf(format, args...)) }
	had := map[string]bool{}
	for _, g := range s.Signals {
		had[g.ID] = true
		if !slices.ContainsFunc(r.Signals, func(now Signal) bool { return now.ID == g.ID }) {
			add("%s reported it, and would not", g.Rule)
		}
	}
	for _, g := range r.Signals {
		if !had[g.ID] {
			add("%s did not report it, and would", g.Rule)
		}
	}
	switch {
	case s.Rejected != "" && r.Match.Reason == "":
		add("it was set aside, and would not be")
	case s.Rejected == "" && r.Match.Reason != "" && len(s.Signals) == 0:
		add("it was not set aside, and would be")
	}
	t.compareCases(r)
}

// compareCases compares a case as it is stored with what the configuration would make of it.
func (t *Tracer) compareCases(r *Report) {
	for i := range r.Cases {
		would := &r.Cases[i]
		if !would.Would {
			continue
		}
		for j := range r.Cases {
			is := &r.Cases[j]
			if is.Would || !slices.ContainsFunc(is.Own, func(id string) bool { return slices.Contains(would.Own, id) }) {
				continue
			}
			if is.Score.Total != would.Score.Total {
				r.Differs = append(r.Differs, fmt.Sprintf("the score of its case is %s, and would be %s", is.Score.Total, would.Score.Total))
			}
			steps := func(c *Case) []string {
				var all []string
				for _, in := range c.Intents {
					if in.Undoes == "" {
						all = append(all, in.Response+"."+in.Step+" for "+in.Target.Value)
					}
				}
				slices.Sort(all)
				return slices.Compact(all)
			}
			did, does := steps(is), steps(would)
			for _, step := range did {
				if !slices.Contains(does, step) {
					r.Differs = append(r.Differs, step+" was planned, and would not be")
				}
			}
			for _, step := range does {
				if !slices.Contains(did, step) {
					r.Differs = append(r.Differs, step+" was not planned, and would be")
				}
			}
		}
	}
}
