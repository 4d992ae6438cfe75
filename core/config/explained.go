package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// ParseExplained is Parse for who has to say why a condition is not true: it keeps of each
// condition what Parse has no need of.
func ParseExplained(src *Source) (*Config, expr.Conditions, Diagnostics) {
	p := newParser(src, src)
	p.conditions = expr.Conditions{}
	c, diags := p.parse()
	return c, p.conditions, diags
}

// ReadSource reads the text that a source was encoded to, with the files of the tables that
// it names.
func ReadSource(text []byte, tables Kept) (*Source, error) {
	src, err := DecodeSource(text)
	if err != nil {
		return nil, err
	}
	return src, src.fetch(tables)
}

// explained keeps the parts of a condition, and where they are written.
func (p *parser) explained(program *expr.Program, e hclsyntax.Expression, env expr.Env) {
	part, diags := expr.Parts(e, env)
	if diags.HasErrors() {
		return // it was compiled, so there are none
	}
	at := slices.IndexFunc(p.src.Files, func(f File) bool { return p.src.shown(f.Name) == e.Range().Filename })
	if at < 0 {
		return // it is not of a file, but of what a plugin or a preset brings
	}
	f := &p.src.Files[at]
	p.conditions[program] = &expr.Condition{Part: part, File: f.Text, Name: e.Range().Filename}
}
