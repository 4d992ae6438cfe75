package config

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// undo reads whether what a step does is held, and how long.
func (p *parser) undo(s *section, out *plan.Step, verb *model.Verb, env expr.Env) {
	// What changes nothing of its target, such as a ticket, is held only if its end is
	// wanted.
	out.Holds = verb.Undo && (out.Contains || s.has("undo_after"))
	switch {
	case s.broken:
	case s.has("undo_after") && !verb.Undo:
		p.errorf(s.place("undo_after"), "Cannot be undone", "%s cannot undo %q. %s", p.shown(out.Action), verb.Name, undoHint(out.Action, p.undoable(out.Action)))
	case s.has("undo_after"):
		p.undoAfter(s, out, env)
	case out.Holds && !p.assumedAt(out.Action):
		p.errorf(s.header(), "Held without an end", "Write how long %q is held, such as undo_after = \"4h\"; or undo_after = \"forever\", until a person lets it go, with a because that says why.", verb.Name)
	}
}

// assumedAt tells whether nothing is known of an action, since its plugin is not there.
func (p *parser) assumedAt(action string) bool {
	return slices.ContainsFunc(p.config.instances, func(i *instance) bool { return i.settings.Address == action && i.assumed })
}

// undoAfter reads a time, what gives one, or "forever".
func (p *parser) undoAfter(s *section, out *plan.Step, env expr.Env) {
	e := s.expr("undo_after")
	if forever(e) && !s.has("because") {
		p.errorf(s.place("undo_after"), "Without a reason", "What is held for ever says why: write because = \"…\", for who finds it in \"kelpie held\".")
	}
	text, ok := literalText(e)
	if !ok {
		env.Want = expr.StringKind
		out.UndoBy = p.program(s, "undo_after", inParams, env)
		for _, part := range parts(e) {
			if text, ok := literalText(part); ok {
				p.undoTime(part.Range(), text)
			}
		}
		return
	}
	if text != plan.Forever {
		out.UndoAfter = p.undoTime(s.place("undo_after"), text)
	}
}

func (p *parser) undoTime(at hcl.Range, text string) time.Duration {
	d, err := sdk.ParseDuration(text)
	if text != plan.Forever && (err != nil || d <= 0) {
		p.errorf(at, "Not a time", "Write how long it is held, such as \"4h\" or \"90m\"; or \"forever\", until somebody lets it go (\"kelpie release\").")
	}
	return d
}

// parts are what a condition chooses from: of "c ? a : b", a and b.
func parts(e hclsyntax.Expression) []hclsyntax.Expression {
	switch e := e.(type) {
	case *hclsyntax.ConditionalExpr:
		return append(parts(e.TrueResult), parts(e.FalseResult)...)
	case *hclsyntax.ParenthesesExpr:
		return parts(e.Expression)
	}
	return []hclsyntax.Expression{e}
}

// forever tells whether an expression can give "forever".
func forever(e hclsyntax.Expression) bool {
	found := false
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if l, ok := n.(*hclsyntax.TemplateExpr); ok {
			text, ok := literalText(l)
			found = found || ok && text == plan.Forever
		}
		return nil
	})
	return found
}

// stuckEvery is how often people are told of a hold that could not be ended.
const stuckEvery = time.Hour

// stuck reads who is told of holds that could not be ended.
func (p *parser) stuck(out *plan.Settings) {
	out.Stuck.Every = stuckEvery
	s := p.first("hold")
	if s == nil {
		return
	}
	stuck := plan.Stuck{To: s.texts("to"), Every: s.duration("every", stuckEvery)}
	if s.has("to") && len(stuck.To) == 0 && !s.broken {
		p.errorf(s.place("to"), "Empty", "Name who is told: to = [\"soc@example.org\"].")
	}
	for i, to := range stuck.To {
		if strings.TrimSpace(to) == "" {
			p.errorf(s.item("to", i), "Empty", "Name who is told: to = [\"soc@example.org\"].")
		}
	}
	if stuck.Every < time.Minute && !s.broken {
		p.errorf(s.place("every"), "Out of range", "Write at least \"1m\": at each of these times everybody is told again.")
	}
	if e := s.expr("via"); e != nil {
		if stuck.Via = p.via(e); stuck.Via != "" {
			stuck.Notice, out.Stuck = true, stuck
		}
	}
}

// undoable are the verbs that an action can undo.
func (p *parser) undoable(action string) []string {
	var all []string
	for _, i := range p.config.instances {
		for _, v := range i.connector.Verbs {
			if i.settings.Address == action && v.Undo {
				all = append(all, v.Name)
			}
		}
	}
	return all
}

func undoHint(action string, undoable []string) string {
	if len(undoable) == 0 {
		return "It can undo nothing: remove the line."
	}
	return "It can undo: " + strings.Join(undoable, ", ") + ". Otherwise remove the line."
}
