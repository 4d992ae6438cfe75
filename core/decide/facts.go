package decide

import (
	"encoding/json"
	"slices"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

var _ plan.Facts = (*view)(nil)

// blocks are the verbs that act on evidence instead of on who is affected.
var blocks = []string{"block_indicator", "unblock_indicator"}

// Earned: a target that is contained is a subject that a detector reported and an
// internal enrichment knows, or that an internal enrichment names from such a
// subject. An indicator that is blocked is one that a detector reported, and none
// of the organisation's own. What an external enrichment says earns nothing.
func (v *view) Earned(verb string, t model.Target) (ok bool, why string) {
	n, known := v.number(t)
	var s *seen
	if known {
		v.values()
		s = v.find(n)
	}
	switch {
	case slices.Contains(blocks, verb):
		switch {
		case s == nil || !s.reported:
			return false, "no detector reported it in this case"
		case v.m.settings.Own(sdk.Observable{Kind: t.Kind, Value: t.Value}):
			return false, "it is one of the organisation's own"
		}
		return true, ""
	case s == nil || !s.affected():
		return false, "no detector reported it as affected, and no internal enrichment names it from what was"
	case v.confirmed(s, 0):
		return true, ""
	}
	return false, "no internal enrichment knows it"
}

// confirmed: an internal enrichment knows it, or names it from a subject that was
// reported.
func (v *view) confirmed(s *seen, depth int) bool {
	if s.subject {
		for _, l := range v.lookups(s.value) {
			if l.internal() && l.known() {
				return true
			}
		}
	}
	for _, by := range s.by {
		from := v.find(by)
		if from != nil && depth <= maxDepth && (from.subject || v.confirmed(from, depth+1)) {
			return true
		}
	}
	return false
}

func (v *view) number(t model.Target) (correlate.ValueNum, bool) {
	return v.m.index.Lookup(sdk.Observable{Kind: t.Kind, Value: t.Value})
}

// Target is "target" in expressions.
func (v *view) Target(t model.Target) expr.Value {
	fields := map[string]expr.Value{"kind": expr.String(t.Kind), "value": expr.String(t.Value)}
	if n, ok := v.number(t); ok {
		v.values()
		fields["asset"] = merged(v.about(n, func(a *answerLists) []expr.Value { return a.assets }))
		fields["identity"] = merged(v.about(n, func(a *answerLists) []expr.Value { return a.identities }))
		fields["network"] = merged(v.about(n, func(a *answerLists) []expr.Value { return a.networks }))
	}
	return expr.Object(fields)
}

// Notice is the case as people and connectors are told of it.
func (v *view) Notice(own sdk.Notice) json.RawMessage {
	n := v.notice()
	n.Because, n.DryRun = own.Because, own.DryRun
	n.Subject, n.Text, n.Asked = own.Subject, own.Text, own.Asked
	n.Question, n.Options, n.Wait, n.Previews = own.Question, own.Options, own.Wait, own.Previews
	n.Bound()
	text, err := json.Marshal(n)
	if err != nil {
		return nil // of plain values there is no error
	}
	return text
}
