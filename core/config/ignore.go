package config

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
)

// ignore reads an ignore block into the pipelines that it is on.
func (p *parser) ignore(s *section, roads []*road) {
	when := p.condition(s, "when", inIgnore, expr.Env{Strict: true})
	expires, ok := p.expires(s)
	on := s.expr("on")
	if on == nil {
		return
	}
	p.negation(s, true)
	targets := p.references(on, "pipeline", "rule")
	if emptyList(on) && !s.broken {
		p.errorf(on.Range(), "Without effect", "Name at least one pipeline: on = [pipeline.NAME].")
	}
	address := "ignore." + s.name()
	if ok {
		p.config.Ignores = append(p.config.Ignores, Ignore{Address: address, Owner: s.text("owner", ""), Reason: s.text("reason", ""), Expires: expires, place: s.place("expires")})
	}
	for _, t := range targets {
		t.used = t.used && t.typ.name == "rule" || usedBefore(t, roads)
		if t.typ.name == "rule" {
			if when != nil {
				p.ruleIgnores[t] = append(p.ruleIgnores[t], ruleIgnore{match.Ignore{Address: address, When: when, Expires: expires}, s.place("on")})
			}
			continue
		}
		for _, r := range roads {
			if r.section == t && when != nil {
				r.ignores = append(r.ignores, match.Ignore{Address: address, When: when, Expires: expires})
			}
		}
	}
	for _, name := range []string{"owner", "reason"} {
		if s.has(name) && strings.TrimSpace(s.text(name, "")) == "" {
			p.errorf(s.place(name), "Empty", "Say it, so that somebody can ask later.")
		}
	}
}

// ruleIgnore is an ignore of one rule, and where that is written.
type ruleIgnore struct {
	match.Ignore
	on hcl.Range
}

// ignoresOf are the ignores of a rule.
func (p *parser) ignoresOf(rule *section) []match.Ignore {
	var all []match.Ignore
	for _, ig := range p.ruleIgnores[rule] {
		all = append(all, ig.Ignore)
	}
	return all
}

// ignoredSignals complains of ignores of a rule that reads signals: of these the payload is
// not at hand any more.
func (p *parser) ignoredSignals(rule *section, source string) {
	for _, ig := range p.ruleIgnores[rule] {
		p.errorf(ig.on, "Ignore of signals", "%s reads the signals of %s, and an ignore reads events. Put the ignore on what reports them: on = [%s].", rule.address(), source, source)
	}
}

// usedBefore: an ignore does not make a pipeline used.
func usedBefore(t *section, roads []*road) bool {
	return slices.ContainsFunc(roads, func(r *road) bool { return r.section == t && (r.alerts || len(r.matchers) > 0) })
}

// expires is the time at which an ignore has no effect any more.
func (p *parser) expires(s *section) (time.Time, bool) {
	text := s.text("expires", "")
	if text == "" {
		return time.Time{}, false
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), true // the day itself counts
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), true
	}
	p.errorf(s.place("expires"), "Not a day", "Write it as \"2027-03-01\", or as \"2027-03-01T06:00:00Z\".")
	return time.Time{}, false
}

// negation warns of conditions that are not known where a path may be absent, though
// they look as if they were true then. In an ignore, != is one too.
func (p *parser) negation(s *section, strict bool) {
	e := s.expr("when")
	if e == nil {
		return
	}
	asked := pathsAskedFor(e)
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		var part hclsyntax.Expression
		switch n := n.(type) {
		case *hclsyntax.UnaryOpExpr:
			if n.Op == hclsyntax.OpLogicalNot {
				part = n.Val
			}
		case *hclsyntax.BinaryOpExpr:
			if strict && n.Op == hclsyntax.OpNotEqual && !isNull(n.LHS) && !isNull(n.RHS) {
				part = n
			}
		}
		if part == nil || len(callsOf(part, "has", "coalesce", "try")) > 0 {
			return nil
		}
		for _, t := range part.Variables() {
			path := pathOf(t)
			switch {
			case slices.Contains(asked, path):
				continue
			case strings.HasPrefix(path, "event.raw.") && strict:
				p.warnf(n.Range(), "Negation of what may be absent", "An event without %s is not ignored: where something is not known, an ignore does not hold. If it should, write has(PATH) or coalesce(PATH, …).", path)
			case strings.HasPrefix(path, "event.raw."), path == "event.stopped", path == "case.stopped":
				write := "!coalesce(CONDITION, false)"
				if fieldPath(part) == path {
					write = path + " != true"
				}
				p.warnf(n.Range(), "Negation of what may be absent", "Where %s is not known, this is not known either, and counts as false. If it should be true then, write %s.", path, write)
			default:
				continue
			}
			break
		}
		return nil
	})
}

// pathsAskedFor are the paths that an expression compares with null or has().
func pathsAskedFor(e hclsyntax.Expression) []string {
	var paths []string
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n := n.(type) {
		case *hclsyntax.FunctionCallExpr:
			if n.Name == "has" && len(n.Args) == 1 {
				paths = append(paths, fieldPath(n.Args[0]))
			}
		case *hclsyntax.BinaryOpExpr:
			if n.Op == hclsyntax.OpNotEqual && isNull(n.RHS) {
				paths = append(paths, fieldPath(n.LHS))
			}
		}
		return nil
	})
	return paths
}

func isNull(e hclsyntax.Expression) bool {
	literal, ok := e.(*hclsyntax.LiteralValueExpr)
	return ok && literal.Val.IsNull()
}
