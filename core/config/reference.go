package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// address is a reference as it is written: the names, and their places.
type address struct {
	names []string
	at    hcl.Range
}

func (a address) String() string { return strings.Join(a.names, ".") }

// address reads a traversal such as detector.eve, which is never evaluated.
func (p *parser) address(e hclsyntax.Expression, write string) (address, bool) {
	if text, ok := literalText(e); ok {
		p.errorf(e.Range(), "Not a reference", "The address of a block is written without quotes: %s.", firstOf(text, write))
		return address{}, false
	}
	traversal, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() {
		p.errorf(e.Range(), "Not a reference", "Here stands the address of a block, and nothing else: write it as %s.", write)
		return address{}, false
	}
	a := address{at: e.Range()}
	for _, step := range traversal {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			a.names = append(a.names, step.Name)
		case hcl.TraverseAttr:
			a.names = append(a.names, step.Name)
		default:
			p.errorf(e.Range(), "Not a reference", "Here stands the address of a block, without an index: write it as %s.", write)
			return address{}, false
		}
	}
	return a, true
}

func firstOf(text, write string) string {
	if strings.Count(text, ".") >= 1 && !strings.ContainsAny(text, " \"/\n") {
		return text
	}
	return write
}

// reference is the block that an attribute names. It is nil, after a complaint, if
// there is none.
func (p *parser) reference(e hclsyntax.Expression, kinds ...string) *section {
	a, ok := p.address(e, kinds[0]+".NAME")
	if !ok {
		return nil
	}
	return p.resolve(a, kinds...)
}

// references are the blocks that a list names.
func (p *parser) references(e hclsyntax.Expression, kinds ...string) []*section {
	list, ok := e.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.errorf(e.Range(), "Not a list", "This takes a list of addresses: write [%s.NAME].", kinds[0])
		return nil
	}
	var out []*section
	seen := map[string]bool{}
	for _, item := range list.Exprs {
		s := p.reference(item, kinds...)
		if s == nil {
			continue
		}
		if seen[s.address()] {
			p.errorf(item.Range(), "Named twice", "%s is in this list already.", s.address())
			continue
		}
		seen[s.address()] = true
		out = append(out, s)
	}
	return out
}

// resolve finds the block of an address, and notes that it is used.
func (p *parser) resolve(a address, kinds ...string) *section {
	allowed := false
	for _, kind := range kinds {
		allowed = allowed || a.names[0] == kind
	}
	switch {
	case !allowed && p.kindExists(a.names[0]):
		p.errorf(a.at, "Wrong kind of block", "Here stands %s, not %s.", kindList(kinds), article(a.names[0]))
		return nil
	case !allowed:
		p.errorf(a.at, "Unknown reference", "Here stands %s: write it as %s.NAME. %s", kindList(kinds), kinds[0], meant(a.names[0], kinds))
		return nil
	case len(a.names) != 2:
		p.errorf(a.at, "Not a reference", "The address of a block has two parts: %s.NAME.", a.names[0])
		return nil
	}
	if s := p.named[a.String()]; s != nil {
		s.used = true
		return s
	}
	if p.missing[a.String()] || p.full() {
		return nil
	}
	p.errorf(a.at, "Unknown "+a.names[0], "There is no %s %q. %s", a.names[0], a.names[1], suggest(a.names[1], p.namesOf(a.names[0])))
	return nil
}

func (p *parser) kindExists(kind string) bool {
	_, ok := language().block(kind)
	return ok
}

// namesOf are the names of all blocks of a kind.
func (p *parser) namesOf(kind string) []string {
	var names []string
	for _, s := range p.sections {
		if s.typ.name == kind {
			names = append(names, s.name())
		}
	}
	return names
}

func kindList(kinds []string) string {
	words := make([]string, len(kinds))
	for i, kind := range kinds {
		words[i] = article(kind)
	}
	return strings.Join(words, " or ")
}

func article(kind string) string {
	if strings.ContainsAny(kind[:1], "aeiou") {
		return "an " + kind
	}
	return "a " + kind
}
