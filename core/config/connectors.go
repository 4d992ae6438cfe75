package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Connectors makes of a source the blocks of the plugins whose schemas it has, and the
// kelpie block, and leaves out all others: a plugin can be tried with the blocks of one
// that runs, or with blocks that nothing uses. What it returns is good for Resolve and
// Diagnose alone.
func Connectors(src *Source) (*Config, hcl.Diagnostics) {
	p := newParser(src, src)
	if p.files(); p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	p.constants()
	for n, body := range p.bodies {
		kept := *body
		kept.Blocks = slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool { return !src.tries(b) })
		p.bodies[n] = &kept
	}
	p.blocks()
	p.kelpie()
	p.connectors()
	if p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	return p.config, sorted(p.diags)
}

// tries tells whether a block is one that Connectors reads.
func (s *Source) tries(b *hclsyntax.Block) bool {
	if isConnector(b.Type) && len(b.Labels) > 0 {
		return s.plugin(pluginName(b.Labels[0])) != nil
	}
	return b.Type == "kelpie"
}
