package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/sdk"
)

// rule reads a rule block: one over single events into the pipelines that it is on, one
// over several or over signals into decide's settings.
func (p *parser) rule(s *section, roads []*road) {
	p.negation(s, false)
	p.respond(s, s.expr("respond"), true)
	p.tests(s, true)
	p.rigour(s)
	var severity *int
	if s.has("severity") {
		n := s.integer("severity", 0)
		if n < 0 || n > 100 {
			p.errorf(s.place("severity"), "Out of range", "A severity is 0 to 100.")
		}
		severity = &n
	}
	terms, ok := p.ruleTerms(s, roads)
	if !ok {
		return
	}
	if kind := p.severalKind(s); kind != "" || terms.rules > 0 {
		p.several(s, kind, terms, severity)
		return
	}
	when := p.condition(s, "when", inRule, expr.Env{})
	title := p.program(s, "title", inRule, expr.Env{Want: expr.StringKind})
	if when == nil && !s.has("when") {
		p.errorf(s.header(), "Missing attribute", "%s needs \"when\": which events of its pipelines it reports.", sentence(s.title()))
	}
	for _, r := range terms.roads() {
		if when != nil {
			r.matchers = append(r.matchers, match.Rule{
				Address: p.identity(s), When: when, Title: title, Severity: severity, Experimental: experimental(s), Ignores: p.ignoresOf(s),
			})
		}
	}
}

// by complains about a kind of observable that nothing can fill: no map, no connector
// and, of a source that reports signals, no enrichment.
func (p *parser) by(s *section, terms ruleTerms) {
	for n, kind := range s.texts("by") {
		at := s.item("by", n)
		if !slices.Contains(sdk.Kinds(), kind) {
			p.errorf(at, "Unknown kind", "There is no kind of observable %q. %s", kind, suggest(kind, sdk.Kinds()))
			continue
		}
		for _, term := range terms.all {
			for _, source := range term {
				switch {
				case source.road == nil || p.canFill(source.road, kind):
				case source.signals:
					p.errorf(at, "Nothing fills it", "No event of %s names %s, and no internal enrichment takes what it does name. Add %q to its map, or an enrichment with internal = true.", source.section.address(), article(kind), kind)
				default:
					p.errorf(at, "Nothing fills it", "No event of %s names %s. Add %q to its map. What only feeds rules is not looked up; with alerts = true an internal enrichment may name it.", source.section.address(), article(kind), kind)
				}
			}
		}
	}
}

// canFill tells whether events of a pipeline may come to name a kind of observable.
func (p *parser) canFill(r *road, kind string) bool {
	if !r.mapped {
		return true // the connector may report it
	}
	var named []string
	for _, name := range []string{"subjects", "indicators", "observables"} {
		attr := r.written[name]
		if attr == nil {
			continue
		}
		object, ok := attr.Expr.(*hclsyntax.ObjectConsExpr)
		if !ok {
			return true
		}
		for _, item := range object.Items {
			key, ok := literalKey(item.KeyExpr)
			if !ok {
				return true
			}
			named = append(named, key)
		}
	}
	if slices.Contains(named, kind) {
		return true
	}
	for _, e := range p.config.Enrich.Sources {
		if r.alerts && e.Internal && slices.ContainsFunc(named, func(k string) bool { return slices.Contains(e.Takes, k) }) {
			return true
		}
	}
	return false
}

// quoted checks a label that is the address of a block.
func (p *parser) quoted(s *section, label int, kind string) {
	if len(s.block.Labels) <= label {
		return
	}
	address, at := s.block.Labels[label], s.block.LabelRanges[label]
	if p.named[address] == nil || p.named[address].typ.name != kind {
		var known []string
		for _, name := range p.namesOf(kind) {
			known = append(known, kind+"."+name)
		}
		p.errorf(at, "Unknown "+kind, "There is no %q. %s", address, suggest(address, known))
	}
}
