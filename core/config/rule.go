package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/sdk"
)

// rule reads a rule block: one over single events into the pipelines that it is on,
// others only as far as names and types go.
func (p *parser) rule(s *section, roads []*road) {
	production := s.text("state", "production") == "production"
	when := p.condition(s, "when", inRule, expr.Env{})
	p.negation(s, false)
	title := p.program(s, "title", inRule, expr.Env{Want: expr.StringKind})
	p.respond(s, s.expr("respond"), production)
	for _, t := range s.of("test") {
		p.ruleTest(t)
	}
	var severity *int
	if s.has("severity") {
		n := s.integer("severity", 0)
		if n < 0 || n > 100 {
			p.errorf(s.place("severity"), "Out of range", "A severity is 0 to 100.")
		}
		severity = &n
	}
	single := p.ruleKind(s)
	if !single {
		p.several(s, roads)
		return
	}
	on := s.expr("on")
	targets := p.references(on, "pipeline", "rule")
	if emptyList(on) && !s.broken {
		p.errorf(on.Range(), "Without a source", "Name at least one pipeline: on = [pipeline.NAME].")
	}
	if when == nil && !s.has("when") {
		p.errorf(s.header(), "Missing attribute", "%s needs \"when\": which events of its pipelines it reports.", sentence(s.title()))
	}
	for _, t := range targets {
		if t.typ.name == "rule" {
			p.later(s.place("on"), "a rule over the signals of another rule")
			continue
		}
		for _, r := range roads {
			if r.section == t && when != nil {
				r.matchers = append(r.matchers, match.Rule{Address: p.identity(s), When: when, Title: title, Severity: severity})
			}
		}
	}
}

// ruleKind tells whether a rule is over single events, and complains if it is of no
// kind or of several.
func (p *parser) ruleKind(s *section) (single bool) {
	var kinds []string
	for _, name := range []string{"on", "sequence", "all"} {
		if s.has(name) {
			kinds = append(kinds, name)
		}
	}
	switch {
	case len(kinds) == 0 && !s.broken:
		p.errorf(s.header(), "Missing attribute", "%s reads nothing: write on = [pipeline.NAME].", sentence(s.title()))
	case len(kinds) > 1:
		p.errorf(s.place(kinds[1]), "Two kinds of rule", "A rule has %q or %q, and not both.", kinds[0], kinds[1])
	}
	return slices.Equal(kinds, []string{"on"}) && !s.has("count")
}

// several checks a rule over several events.
func (p *parser) several(s *section, roads []*road) {
	for _, name := range []string{"on", "sequence", "all", "unless"} {
		if e := s.expr(name); e != nil {
			sources := p.references(e, "pipeline", "rule")
			if name == "sequence" || name == "all" {
				p.by(s, sources, roads)
			}
		}
	}
	if (s.has("sequence") || s.has("all")) && !s.has("within") && !s.broken {
		p.errorf(s.header(), "Missing attribute", "%s needs \"within\": the longest time between its events, such as \"30m\".", sentence(s.title()))
	}
}

// by complains about a kind of observable that nothing can fill: no map, no
// connector and no enrichment.
func (p *parser) by(s *section, sources []*section, roads []*road) {
	for n, kind := range s.texts("by") {
		at := s.item("by", n)
		if !slices.Contains(sdk.Kinds(), kind) {
			p.errorf(at, "Unknown kind", "There is no kind of observable %q. %s", kind, suggest(kind, sdk.Kinds()))
			continue
		}
		for _, source := range sources {
			for _, r := range roads {
				if r.section == source && !p.canFill(r, kind) {
					p.errorf(at, "Nothing fills it", "No event of %s names %s, and no internal enrichment takes what it does name. Add %q to its map, or an enrichment with internal = true.", source.address(), article(kind), kind)
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
		if e.Internal && slices.ContainsFunc(named, func(k string) bool { return slices.Contains(e.Takes, k) }) {
			return true
		}
	}
	return false
}

// ruleTest checks the names in a test.
func (p *parser) ruleTest(t *section) {
	for _, g := range t.of("given") {
		p.quoted(g, 0, "detector")
		if e := g.expr("events"); e != nil {
			for _, call := range callsOf(e, "secret") {
				p.secretErrorf(call.NameRange, "A secret in the wrong place", "A test needs no secret.")
			}
		}
	}
	for _, a := range t.of("answer") {
		p.quoted(a, 0, "enrichment")
		if kind := a.labels[1]; !slices.Contains(sdk.Kinds(), kind) && len(a.block.Labels) == 3 {
			p.errorf(a.block.LabelRanges[1], "Unknown kind", "There is no kind of observable %q. %s", kind, suggest(kind, sdk.Kinds()))
		}
		for _, name := range []string{"verdict", "asset", "identity", "network"} {
			p.program(a, name, nowhere, expr.Env{Want: expr.ObjectKind})
		}
	}
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
