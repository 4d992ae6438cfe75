package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// rewrite gives the blocks of a unit the names that they have in the configuration, and
// what they name likewise. Places stay, so that messages are about the unit's files.
func (p *parser) rewrite(u *unit, body *hclsyntax.Body) {
	var unread []*hclsyntax.Block
	for _, b := range body.Blocks {
		switch {
		case b.Type == "locals":
			renamed := hclsyntax.Attributes{}
			for name, attr := range b.Body.Attributes {
				attr.Name = u.prefixed(name)
				renamed[attr.Name] = attr
			}
			b.Body.Attributes = renamed
		case b.Type == "input":
		case len(b.Labels) > 0:
			b.Labels = slices.Clone(b.Labels)
			b.Labels[len(b.Labels)-1] = u.prefixed(b.Labels[len(b.Labels)-1])
		}
		p.rewriteBody(u, b, b.Body)
		if attr := b.Body.Attributes["path"]; b.Type == "table" && len(b.Labels) > 0 && attr != nil && !p.rewritePath(u, attr.Expr) {
			p.missing["table."+b.Labels[len(b.Labels)-1]] = true
			unread = append(unread, b)
		}
	}
	body.Blocks = slices.DeleteFunc(body.Blocks, func(b *hclsyntax.Block) bool { return slices.Contains(unread, b) })
}

func (p *parser) rewriteBody(u *unit, b *hclsyntax.Block, body *hclsyntax.Body) {
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		attr := body.Attributes[name]
		if b.Type == "variable" && name == "default" && p.givenBy[b] == u {
			continue // which is written outside
		}
		switch {
		case b.Type == "table" && name == "path" && body == b.Body: // see rewrite
		case b.Type == "moved":
			p.rewriteMoved(u, attr.Expr)
		default:
			p.rewriteExpr(u, attr.Expr)
		}
	}
	for _, inner := range body.Blocks {
		if inner.Type == "given" || inner.Type == "answer" || inner.Type == "choose" {
			p.rewriteLabel(u, inner)
		}
		if inner.Type == "want" {
			p.rewriteWant(u, inner.Body)
		}
		p.rewriteBody(u, b, inner.Body)
	}
}

// rewriteExpr renames what an expression names.
func (p *parser) rewriteExpr(u *unit, e hclsyntax.Expression) {
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			p.rewriteTraversal(u, n)
		case *hclsyntax.FunctionCallExpr:
			p.rewriteCall(u, n)
		}
		return nil
	})
}

// named are the kinds whose addresses stand in attributes; tables, variables and locals
// are read as values.
var namedKinds = []string{"rule", "pipeline", "template", "response", "table", "var", "local", "detector", "enrichment", "action", "route", "connection"}

func (p *parser) rewriteTraversal(u *unit, e *hclsyntax.ScopeTraversalExpr) {
	kind := e.Traversal.RootName()
	if len(e.Traversal) < 2 || !slices.Contains(namedKinds, kind) {
		return
	}
	step, ok := e.Traversal[1].(hcl.TraverseAttr)
	if !ok {
		return
	}
	address := kind + "." + step.Name
	bound, given := u.bound[address]
	_, input := u.inputs[address]
	switch {
	case given:
		other, _ := bound[1].(hcl.TraverseAttr)
		step.Name = other.Name
	case input: // which has been complained about
		step.Name = u.prefixed(step.Name)
		p.missing[kind+"."+step.Name] = true
	case u.own[address], kind == "var", kind == "local", kind == "table" && u.kind == "pack":
		step.Name = u.prefixed(step.Name)
	case u.kind == "module":
		p.mayName(u, kind, step.Name, e)
		return
	default:
		p.errorf(e.SrcRange, "Unknown "+kind, "%s has no %s %q and is given none by that name. %s", sentence(u.title()), kind, step.Name, suggest(step.Name, append(u.names(kind), u.inputsOf(kind)...)))
		step.Name = u.prefixed(step.Name)
		p.missing[kind+"."+step.Name] = true
	}
	e.Traversal = slices.Clone(e.Traversal)
	e.Traversal[1] = step
}

func (p *parser) rewriteCall(u *unit, call *hclsyntax.FunctionCallExpr) {
	switch call.Name {
	case "env":
		p.errorf(call.NameRange, "Not in a "+u.kind, "%s cannot read the environment: it has variables, to which the configuration gives values.", sentence(u.title()))
		harmless(call)
	case "secret":
		p.secretErrorf(call.NameRange, "A secret in the wrong place", "%s has no secrets.", sentence(u.title()))
		harmless(call)
	case "file":
		if len(call.Args) == 1 && !p.rewritePath(u, call.Args[0]) {
			harmless(call)
		}
	}
}

// harmless makes a call that has been refused one that reads nothing.
func harmless(call *hclsyntax.FunctionCallExpr) { call.Name = "coalesce" }

// rewritePath makes a path of the unit's one of the configuration's; false: it must not
// be read.
func (p *parser) rewritePath(u *unit, e hclsyntax.Expression) bool {
	path, ok := literalText(e)
	switch {
	case !ok:
		p.errorf(e.Range(), "Not a path", "In a %s a path is written out: nothing in it can be filled in.", u.kind)
		return false
	case !filepath.IsLocal(path):
		p.errorf(e.Range(), "Outside of the "+u.kind, "What %s reads lies in its own folder.", u.title())
		return false
	}
	setLiteral(e, filepath.Join(u.folder, path))
	return true
}

func setLiteral(e hclsyntax.Expression, text string) {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || len(t.Parts) != 1 {
		return
	}
	if part, ok := t.Parts[0].(*hclsyntax.LiteralValueExpr); ok {
		part.Val = cty.StringVal(text)
	}
}

// rewriteMoved renames both ends of a move, of which one is not there.
func (p *parser) rewriteMoved(u *unit, e hclsyntax.Expression) {
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok || len(t.Traversal) < 2 {
		return
	}
	if step, ok := t.Traversal[1].(hcl.TraverseAttr); ok {
		step.Name = u.prefixed(step.Name)
		t.Traversal = slices.Clone(t.Traversal)
		t.Traversal[1] = step
	}
}

// rewriteLabel renames the address that is the first label of a block in a test.
func (p *parser) rewriteLabel(u *unit, b *hclsyntax.Block) {
	if len(b.Labels) == 0 {
		return
	}
	b.Labels = slices.Clone(b.Labels)
	b.Labels[0] = u.here(b.Labels[0])
}

// here is an address in a text, as it is in the configuration.
func (u *unit) here(address string) string {
	parts := strings.Split(address, ".")
	if len(parts) < 2 {
		return address
	}
	first := parts[0] + "." + parts[1]
	switch bound, given := u.bound[first]; {
	case given:
		other, _ := bound[1].(hcl.TraverseAttr)
		parts[1] = other.Name
	case u.own[first]:
		parts[1] = u.prefixed(parts[1])
	}
	return strings.Join(parts, ".")
}

// rewriteWant renames the addresses in the texts of what a test wants.
func (p *parser) rewriteWant(u *unit, body *hclsyntax.Body) {
	for _, attr := range body.Attributes {
		hclsyntax.VisitAll(attr.Expr, func(n hclsyntax.Node) hcl.Diagnostics {
			if t, ok := n.(*hclsyntax.TemplateExpr); ok {
				if text, ok := literalText(t); ok {
					setLiteral(t, u.here(text))
				}
			}
			return nil
		})
	}
}
