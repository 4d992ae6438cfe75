package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// ConsoleName is what diagnostics of a Console have for a file's name.
const ConsoleName = "expression"

// Console compiles expressions as if they stood in the configuration.
type Console struct {
	src *Source
	at  place
}

// NewConsole makes one for expressions that read "event" or "case", or neither. They
// read the source's variables and locals as well.
func NewConsole(src *Source, root string) *Console {
	at := map[string]place{"event": inPipeline, "case": inResponse}[root]
	return &Console{src: src, at: at}
}

// Compile makes a program of an expression; nil if something is wrong.
func (c *Console) Compile(text string) (*expr.Program, Diagnostics) {
	p := newParser(c.src, c.src)
	if p.files(); p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	p.constants()
	p.diags = nil // of the configuration's own they are for validate
	if err := usable([]byte(text)); err != nil {
		return nil, reading(err)
	}
	if tooDeep([]byte(text)) {
		p.errorf(hcl.Range{Filename: ConsoleName, Start: hcl.InitialPos, End: hcl.InitialPos}, "Nested too deep", "Brackets and conditions may be nested %d deep.", maxNesting)
		return nil, p.diags
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), ConsoleName, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, syntax(diags)
	}
	program, ok := p.compile(e, expr.Env{}, c.at)
	if !ok {
		return nil, sorted(p.diags)
	}
	return program, sorted(p.diags)
}
