package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// shadow is the block that this one is the shadow of; nil: it counts itself. A block
// with a mistake in what it says of that is broken.
func (p *parser) shadow(i *instance) *section {
	s := i.section
	if !s.has("shadow") || s.broken || p.alone {
		return nil
	}
	kind := s.typ.name
	if kind == "action" {
		p.refuseShadow(s, "An action has no shadow", "What it does takes effect, and would so twice. To try one, write actions = \"dry_run\" in the kelpie block.")
		return nil
	}
	a, ok := p.address(s.expr("shadow"), kind+".NAME")
	if !ok {
		s.broken = true
		return nil
	}
	first := p.named[a.String()]
	used := first != nil && first.used
	if first = p.resolve(a, kind); first == nil {
		s.broken = true
		return nil
	}
	first.used = used // to be compared with is no use
	p.checkShadow(s, first)
	return first
}

// checkShadow complains about a shadow that can't be one.
func (p *parser) checkShadow(s, first *section) {
	kind := s.typ.name
	switch {
	case first == s:
		p.refuseShadow(s, "A shadow of itself", "Write the address of the %s that it is to be compared with.", kind)
	case first.has("shadow"):
		p.refuseShadow(s, "A shadow of a shadow", "%s does not count itself. Write here what it is the shadow of: shadow = %s.", first.address(), fieldPath(first.expr("shadow")))
	case s.flag("enabled", true) && !first.flag("enabled", true):
		p.refuseShadow(s, "Disabled "+kind, "%s has enabled = false, so there is nothing to compare with. Enable it, or write enabled = false here too.", first.address())
	case s.text("isolation", "") == "shared":
		p.errorf(s.place("isolation"), "A shadow has its own process", "It could pull down what counts. Remove this attribute.")
		s.broken = true
	case kind == "enrichment" && first.flag("internal", false) && !s.flag("internal", false):
		p.refuseShadow(s, "Names would leave the house", "%s is internal and is told the organisation's own names; this block is not, and would be told the same. Write internal = true if it is the organisation's own, or shadow an enrichment that is external too.", first.address())
	}
}

func (p *parser) refuseShadow(s *section, summary, format string, args ...any) {
	p.errorf(s.place("shadow"), summary, format, args...)
	s.broken = true
}

// common are the kinds that a shadow and its first both take.
func (p *parser) common(s *section, takes []string, first *section) {
	for _, i := range p.config.instances {
		if i.section != first {
			continue
		}
		theirs := i.connector.Takes
		if first.has("takes") {
			theirs = first.texts("takes")
		}
		if !slices.ContainsFunc(takes, func(kind string) bool { return slices.Contains(theirs, kind) }) {
			p.errorf(s.place("takes"), "Asked about nothing", "%s is asked about %s, and this one takes %s: there is no question for both.", first.address(), strings.Join(theirs, ", "), strings.Join(takes, ", "))
		}
	}
}

// shadows complains about what reads a shadow as if it counted: none of it would ever
// be true.
func (p *parser) shadows() {
	shadows := map[string]*section{}
	for _, kind := range []string{"detector", "enrichment"} {
		for _, s := range p.each(kind) {
			if s.has("shadow") {
				shadows[s.address()] = s
			}
		}
	}
	if len(shadows) == 0 {
		return
	}
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if isConnector(block.Type) {
				continue
			}
			p.readsShadow(block, shadows)
		}
	}
}

func (p *parser) readsShadow(block *hclsyntax.Block, shadows map[string]*section) {
	hclsyntax.VisitAll(block.Body, func(n hclsyntax.Node) hcl.Diagnostics {
		if e, ok := n.(*hclsyntax.TemplateExpr); ok {
			text, _ := literalText(e)
			if s := shadows[text]; s != nil {
				p.errorf(e.Range(), "A shadow does not count", "%s", uncounted(s))
			}
		}
		return nil
	})
}

// fromShadow complains about a pipeline that reads a shadow's events.
func (p *parser) fromShadow(s *section, from []*section) {
	for _, d := range from {
		if d.has("shadow") && !d.broken {
			p.errorf(s.place("from"), "A shadow does not count", "%s", uncounted(d))
		}
	}
}

func uncounted(s *section) string {
	first := fieldPath(s.expr("shadow"))
	if s.typ.name == "enrichment" {
		return fmt.Sprintf("%s is the shadow of %s: no case has an answer of it. Write %s, or make the other one the shadow.", s.address(), first, first)
	}
	return fmt.Sprintf("%s is the shadow of %s: no rule sees an event of it. Write %s, or make the other one the shadow.", s.address(), first, first)
}
