package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func grantsBlock() blockType {
	return blockType{name: "grants", doc: "What the module may read and use of what is not its own. What is not named it may not.", body: bodyType{attributes: []attribute{
		expression("detectors", "Detectors that its pipelines may read."),
		expression("pipelines", "Pipelines, and rules, that its rules may read."),
		expression("tables", "Tables that it may read."),
		expression("verbs", "What its responses may do, and those of the configuration that it names: [\"notify\"]."),
		expression("routes", "Routes by which it may tell people."),
	}}}
}

// grants of a module, as they are written.
type grants struct {
	named map[string]map[string]bool // addresses, by the attribute
	verbs map[string]bool
}

// grantOf is the attribute that grants a kind of block.
var grantOf = map[string]string{"detector": "detectors", "pipeline": "pipelines", "rule": "pipelines", "table": "tables", "route": "routes"}

// grantsOf reads the grants of a module.
func (p *parser) grantsOf(u *unit) *grants {
	if u.grants != nil {
		return u.grants
	}
	u.grants = &grants{named: map[string]map[string]bool{}, verbs: map[string]bool{}}
	for _, b := range u.block.Body.Blocks {
		if b.Type != "grants" {
			continue
		}
		for name, attr := range b.Body.Attributes {
			for _, item := range items(attr.Expr) {
				if verb, ok := literalText(item); ok && name == "verbs" {
					u.grants.verbs[verb] = true
				}
				if t, diags := hcl.AbsTraversalForExpr(item); !diags.HasErrors() && len(t) == 2 {
					step, _ := stepName(t[1])
					if u.grants.named[name] == nil {
						u.grants.named[name] = map[string]bool{}
					}
					u.grants.named[name][t.RootName()+"."+step] = true
				}
			}
		}
	}
	return u.grants
}

// mayName complains where a module names what is not its own and not granted to it.
func (p *parser) mayName(u *unit, kind, name string, e *hclsyntax.ScopeTraversalExpr) {
	g := p.grantsOf(u)
	switch kind {
	case "detector", "pipeline", "rule", "table", "route":
		attr, address := grantOf[kind], kind+"."+name
		if !g.named[attr][address] {
			p.errorf(e.SrcRange, "Not granted", "%s may not read %s: it is neither its own nor granted to it. Write %s = [%s] in its grants, in %s.", sentence(u.title()), address, attr, address, u.block.DefRange().Filename)
		}
	case "action":
		if len(e.Traversal) < 3 {
			return // which resolve complains about
		}
		verb, _ := stepName(e.Traversal[len(e.Traversal)-1])
		if !g.verbs[verb] {
			p.errorf(e.SrcRange, "Not granted", "%s may not do %q: its grants do not name that verb. Write verbs = [%q] in them, in %s.", sentence(u.title()), verb, verb, u.block.DefRange().Filename)
		}
	case "response":
		p.lent = append(p.lent, lent{u, "response." + name, e.SrcRange})
	}
}

// lent is a response of the configuration's own that a module names.
type lent struct {
	unit     *unit
	response string
	at       hcl.Range
}

// checkGrants complains about what modules do beyond their grants, when all blocks are
// known.
func (p *parser) checkGrants() {
	for _, l := range p.lent {
		s := p.named[l.response]
		if s == nil {
			continue
		}
		for _, step := range s.of("step") {
			p.grantedStep(l, step)
		}
	}
	for _, u := range p.units {
		if u.kind == "module" {
			p.checkModule(u)
		}
	}
}

// grantedStep complains about a step of a response that a module names and that goes
// beyond its grants.
func (p *parser) grantedStep(l lent, step *section) {
	g := p.grantsOf(l.unit)
	if t, diags := hcl.AbsTraversalForExpr(step.expr("do")); step.has("do") && !diags.HasErrors() && len(t) > 2 {
		verb, _ := stepName(t[len(t)-1])
		if !g.verbs[verb] {
			p.errorf(l.at, "Not granted", "%s does %q, which the grants of %s do not name.", l.response, verb, l.unit.title())
		}
	}
	for _, route := range routesIn(step.expr("to")) {
		if !g.named["routes"]["route."+route] {
			p.errorf(l.at, "Not granted", "%s tells people by route.%s, which the grants of %s do not name.", l.response, route, l.unit.title())
		}
	}
}

func routesIn(e hclsyntax.Expression) []string {
	if e == nil {
		return nil
	}
	var names []string
	for _, t := range e.Variables() {
		if t.RootName() == "route" && len(t) > 1 {
			name, _ := stepName(t[1])
			names = append(names, name)
		}
	}
	return names
}

// byRoutes tells whether an expression names routes and nothing else.
func byRoutes(e hclsyntax.Expression) bool {
	if list, ok := e.(*hclsyntax.TupleConsExpr); ok {
		return len(list.Exprs) > 0 && !slices.ContainsFunc(list.Exprs, func(item hclsyntax.Expression) bool { return !byRoutes(item) })
	}
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	return ok && t.Traversal.RootName() == "route"
}

// checkModule complains about people whom a module tells by no route, about what it
// ignores of others, and about grants of what is not there.
func (p *parser) checkModule(u *unit) {
	for _, body := range u.bodies {
		for _, s := range p.sections {
			if !slices.Contains(body.Blocks, s.block) {
				continue
			}
			for _, step := range s.of("step") {
				if to := step.expr("to"); to != nil && !byRoutes(to) {
					p.errorf(to.Range(), "Not granted", "%s tells people by routes alone, which are granted to it: write to = route.NAME.", sentence(u.title()))
				}
			}
			if s.typ.name == "ignore" {
				for _, item := range items(s.expr("on")) {
					if t, diags := hcl.AbsTraversalForExpr(item); !diags.HasErrors() && len(t) == 2 {
						name, _ := stepName(t[1])
						if at := p.named["pipeline."+name]; at != nil && p.unitOfBlock(at.block) != u {
							p.errorf(item.Range(), "Not granted", "%s may ignore events of its own pipelines alone: others read pipeline.%s too.", sentence(u.title()), name)
						}
					}
				}
			}
		}
	}
	for _, b := range u.block.Body.Blocks {
		if b.Type == "grants" {
			p.checkGranted(b)
		}
	}
}

func (p *parser) checkGranted(b *hclsyntax.Block) {
	for kindOf, kinds := range map[string][]string{"detectors": {"detector"}, "pipelines": {"pipeline", "rule"}, "tables": {"table"}, "routes": {"route"}} {
		attr := b.Body.Attributes[kindOf]
		if attr == nil {
			continue
		}
		for _, s := range p.references(attr.Expr, kinds...) {
			s.used = true
		}
	}
	attr := b.Body.Attributes["verbs"]
	if attr == nil {
		return
	}
	known := append(verbs(), p.offered()...)
	for _, item := range items(attr.Expr) {
		if verb, ok := literalText(item); !ok || !slices.Contains(known, verb) {
			p.errorf(item.Range(), "Unknown verb", "Here stands a verb in quotes. %s", suggest(verb, known))
		}
	}
}

func (p *parser) unitOfBlock(block *hclsyntax.Block) *unit {
	for body, u := range p.unitOf {
		if slices.Contains(body.Blocks, block) {
			return u
		}
	}
	return nil
}
