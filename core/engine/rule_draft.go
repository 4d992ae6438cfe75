package engine

import (
	"context"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/proposal"
	"github.com/kelpie-sec/kelpie/sdk"
)

// DraftRule writes an experimental rule with a test from the events of a case. It reads
// the pipeline that reported most of them, and is read with the configuration before it is
// given out.
func (k *Kelpie) DraftRule(ctx context.Context, caseID, name string) (api.RuleDraft, error) {
	c, err := k.store.Case(ctx, caseID)
	if err != nil {
		return api.RuleDraft{}, err
	}
	w := &drafting{k: k, p: model.Proposal{Case: c.ID, Rules: c.Rules}}
	if err := w.begin(ctx); err != nil {
		return api.RuleDraft{}, err
	}
	out := api.RuleDraft{Name: name}
	source, signals, _ := w.about()
	r := proposal.Rule{Name: name, Case: c.ID, Detector: w.config.Shown(source)}
	var from *match.Pipeline
	left := slices.Clone(c.Rules)
	for i := range signals {
		s := &signals[i]
		p := w.pipeline(source, s.Rule)
		if p == nil || from != nil && p != from {
			continue
		}
		from = p
		left = slices.DeleteFunc(left, func(rule string) bool { return rule == s.Rule })
		r.Severity = max(r.Severity, s.Severity)
		if !slices.ContainsFunc(r.Events, func(g proposal.Given) bool { return string(g.Raw) == string(s.Raw) && g.Time.Equal(s.Time) }) {
			r.Events = append(r.Events, given(s, p))
		}
	}
	if from == nil {
		return out, problem("the events of this case are of rules over several, of pipelines that are gone, or not stored any more: a rule for them is a person's to write")
	}
	for _, rule := range left {
		out.Left = append(out.Left, w.config.Shown(rule))
	}
	r.On = reference(w.config.Shown(from.Address))
	telling, further := w.paths(source, c.Rules)
	who := pathsOf(from.Map.Subjects)
	whose := func(path []string) bool {
		return slices.ContainsFunc(who, func(p []string) bool { return slices.Equal(p, path) })
	}
	r.Telling = slices.DeleteFunc(telling, whose) // a rule is for whoever it happens to
	r.Further = append(slices.DeleteFunc(further, whose), who...)
	text, err := r.Text()
	if err != nil {
		return out, problem("%v; a rule for it is a person's to write", err)
	}
	out.Text = string(config.Format([]byte(text)))
	with := *w.src
	with.Files = append(slices.Clone(w.src.Files), config.File{Name: "draft.hcl", Text: out.Text})
	if _, diags := config.Parse(&with); diags.HasErrors() {
		return out, problem("the configuration is not read with it: %s", firstError(diags))
	}
	return out, nil
}

// pipeline is the one of a detector that reports by an address itself, or by a rule; nil:
// there is none.
func (w *drafting) pipeline(detector, rule string) *match.Pipeline {
	for i := range w.config.Match.Sources {
		s := &w.config.Match.Sources[i]
		if s.Detector != detector || s.Maker != "" || s.Until > 0 {
			continue
		}
		for j := range s.Pipelines {
			p := &s.Pipelines[j]
			if p.Address == rule || slices.ContainsFunc(p.Rules, func(r match.Rule) bool { return r.Address == rule }) {
				return p
			}
		}
	}
	return nil
}

// given is a stored signal's event as a test has it.
func given(s *model.Signal, p *match.Pipeline) proposal.Given {
	g := proposal.Given{
		Event: proposal.Event{Raw: s.Raw, Named: knownBy(s)}, Time: s.Time, Title: s.Title, Severity: s.Severity,
		Reported: p.Map.Title == nil, Subjects: map[string][]string{}, Indicators: map[string][]string{},
	}
	if s.Receipt {
		g.Time = time.Time{}
	}
	for _, o := range s.Observables {
		switch o.Role {
		case sdk.Subject:
			g.Subjects[o.Kind] = append(g.Subjects[o.Kind], o.Value)
		case sdk.Indicator:
			g.Indicators[o.Kind] = append(g.Indicators[o.Kind], o.Value)
		}
	}
	return g
}
