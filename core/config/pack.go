package config

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A pack is a folder of rules that one company can give to another; a module is a team's
// own folder. Either is a unit: its files are a part of the configuration in which every
// name begins with the unit's, so that rule.sqli of pack "web" is rule.web_sqli.

// maxUnits bounds the packs and modules of a configuration.
const maxUnits = 200

// inputKinds are what a pack may want to be given, with the attribute that gives it.
var inputKinds = map[string]string{
	"pipeline": "pipelines", "detector": "detectors", "enrichment": "enrichments", "response": "responses",
}

func packBlock() blockType {
	b := unitBlock("pack", "Rules with their tests, tables and variables, from a folder that somebody else may have written. Every name in it begins with the pack's: its `rule.sqli` is `rule.NAME_sqli` here. It can hold no plugins, connections, responses, secrets and nothing that binds others.")
	for _, kind := range slices.Sorted(maps.Keys(inputKinds)) {
		b.body.attributes = append(b.body.attributes, expression(inputKinds[kind], fmt.Sprintf("For each `input \"%s\"` of the pack, what it is here: { NAME = %s.NAME }.", kind, kind)))
	}
	return b
}

func moduleBlock() blockType {
	b := unitBlock("module", "A team's own folder. Every name in it begins with the module's: its `rule.sqli` is `rule.NAME_sqli` here. It reads what is granted to it under the names that it has here.")
	b.body.blocks = []blockType{grantsBlock()}
	return b
}

func unitBlock(kind, doc string) blockType {
	return blockType{name: kind, labels: []string{"name"}, many: true, doc: doc, body: bodyType{attributes: []attribute{
		text("source", "Its folder, a text without anything to be filled in. A relative one is below the configuration's folder.").must(),
		expression("variables", "Values of its variables: { NAME = value }."),
	}}}
}

func inputBlock() blockType {
	return blockType{name: "input", labels: []string{"kind", "name"}, many: true, doc: "In a pack: what it must be given, a `pipeline`, a `detector`, an `enrichment` or a `response`. The pack reads it as KIND.NAME.", body: bodyType{attributes: []attribute{
		text("description", "For who gives it: what must be in its events, or what it is for."),
	}}}
}

// unit is a pack or a module.
type unit struct {
	kind, name string
	block      *hclsyntax.Block
	folder     string // of its files, as in their names
	bodies     []*hclsyntax.Body

	own    map[string]bool          // addresses of its blocks and constants, as it has them
	inputs map[string]hcl.Range     // addresses of what it must be given
	bound  map[string]hcl.Traversal // what that is here
	grants *grants                  // of a module
}

// joined are the packs and modules of a configuration.
type joined struct {
	units    []*unit
	unitOf   map[*hclsyntax.Body]*unit
	givenBy  map[*hclsyntax.Block]*unit // of variables whose values stand in a unit's block
	bindings []binding
	lent     []lent
}

func (u *unit) address() string { return u.kind + "." + u.name }
func (u *unit) title() string   { return fmt.Sprintf("%s %q", u.kind, u.name) }

// prefixed is a name of the unit's as it is here.
func (u *unit) prefixed(name string) string { return u.name + "_" + name }

// unitFiles are the files of the packs and modules that the configuration's own files
// name. What is wrong with one is told where it is named.
func (s *Source) unitFiles() {
	p := newParser(s, s)
	p.files()
	p.findUnits()
	for _, u := range p.units {
		folder, ok := literalSource(u.block)
		if !ok {
			continue // Parse says so
		}
		full := s.full(folder)
		s.Folders = append(s.Folders, full)
		names, err := hclFiles(full)
		for _, name := range names {
			var text string
			if text, err = readText(full, filepath.Join(full, name)); err != nil {
				break
			}
			s.Files = append(s.Files, File{Name: filepath.Join(folder, name), Text: text, Unit: u.address()})
		}
		if err != nil {
			s.Files = slices.DeleteFunc(s.Files, func(f File) bool { return f.Unit == u.address() })
			if s.Problems == nil {
				s.Problems = map[string]string{}
			}
			s.Problems[u.address()] = plain(err)
		}
	}
}

func literalSource(block *hclsyntax.Block) (string, bool) {
	attr := block.Body.Attributes["source"]
	if attr == nil {
		return "", false
	}
	return literalText(attr.Expr)
}

// findUnits finds the packs and modules in the configuration's own files.
func (p *parser) findUnits() {
	named := map[string]bool{}
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if block.Type != "pack" && block.Type != "module" || len(block.Labels) != 1 || named[block.Labels[0]] {
				continue // the grammar says so, and a name that is given twice is told by register
			}
			u := &unit{kind: block.Type, name: block.Labels[0], block: block}
			named[u.name] = true
			if len(p.units) == maxUnits {
				p.errorf(block.DefRange(), "Too many", "A configuration may have %d packs and modules.", maxUnits)
				return
			}
			p.units = append(p.units, u)
		}
	}
}

// join makes the files of packs and modules a part of the configuration. False: one of
// them is no HCL, and nothing is evaluated.
func (p *parser) join() bool {
	p.findUnits()
	before := len(p.diags)
	for _, f := range p.src.Files {
		for _, u := range p.units {
			if f.Unit == u.address() {
				u.bodies = append(u.bodies, p.file(f)...)
			}
		}
	}
	if p.diags[before:].HasErrors() {
		return false
	}
	p.unitOf, p.givenBy = map[*hclsyntax.Body]*unit{}, map[*hclsyntax.Block]*unit{}
	for _, u := range p.units {
		folder, ok := literalSource(u.block)
		if !ok {
			if attr := u.block.Body.Attributes["source"]; attr != nil {
				p.errorf(attr.Expr.Range(), "Not a folder", "\"source\" is the path of a folder, written out: nothing in it can be filled in.")
			}
			continue
		}
		if len(u.bodies) == 0 {
			why := cmp.Or(p.src.Problems[u.address()], "its files have not been read")
			p.errorf(u.block.Body.Attributes["source"].Expr.Range(), "No such "+u.kind, "%s.", sentence(why))
			continue
		}
		u.folder = folder
		p.declare(u)
		p.bind(u)
		for _, body := range u.bodies {
			p.rewrite(u, body)
			p.bodies = append(p.bodies, body)
			p.unitOf[body] = u
		}
	}
	return true
}

// whyNot says why a block has no place in a unit.
func (u *unit) whyNot(kind string) string {
	switch kind {
	case "rule", "pipeline", "template", "table", "variable", "locals", "moved":
		return ""
	case "input":
		if u.kind == "pack" {
			return ""
		}
		return "A module reads what is granted to it, by the names that it has here."
	case "ignore", "response":
		if u.kind == "module" {
			return ""
		}
		return fmt.Sprintf("What is %s is for who uses the pack to decide.", map[string]string{"ignore": "ignored", "response": "done"}[kind])
	case "pack", "module":
		return "Packs and modules stand in the configuration's own files."
	case "plugin", "publisher", "connection", "detector", "enrichment", "action":
		return fmt.Sprintf("A %s starts no programs and has no connections: write the block in the configuration's own files.", u.kind)
	case "kelpie", "case", "score", "protect", "route", "user":
		return "It binds everybody: write it in the configuration's own files."
	}
	return ""
}

// declare finds out which names the unit has, and leaves out what it may not hold.
func (p *parser) declare(u *unit) {
	u.own, u.inputs = map[string]bool{}, map[string]hcl.Range{}
	for _, body := range u.bodies {
		body.Blocks = slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool {
			why := u.whyNot(b.Type)
			if why != "" {
				p.errorf(b.DefRange(), fmt.Sprintf("Not in a %s", u.kind), "%s cannot hold %s block. %s", sentence(u.title()), article(b.Type), why)
			}
			return why != ""
		})
		for _, b := range body.Blocks {
			switch {
			case b.Type == "locals":
				for name := range b.Body.Attributes {
					u.own["local."+name] = true
				}
			case b.Type == "input" && len(b.Labels) == 2:
				if inputKinds[b.Labels[0]] == "" {
					kinds := slices.Sorted(maps.Keys(inputKinds))
					p.errorf(b.LabelRanges[0], "Unknown kind", "A pack can be given %s. %s", oneOf(kinds), meant(b.Labels[0], kinds))
					continue
				}
				address := b.Labels[0] + "." + b.Labels[1]
				if at, twice := u.inputs[address]; twice || u.own[address] {
					p.errorf(b.DefRange(), "Name given twice", "There is another %s. Give one of them another name.", placeOr(at, address))
				}
				u.inputs[address] = b.DefRange()
			case b.Type == "variable" && len(b.Labels) == 1:
				u.own["var."+b.Labels[0]] = true
			case len(b.Labels) > 0:
				u.own[b.Type+"."+b.Labels[len(b.Labels)-1]] = true
			}
		}
	}
}

// bind reads what a unit is given: its variables' values and a pack's inputs.
func (p *parser) bind(u *unit) {
	u.bound = map[string]hcl.Traversal{}
	for _, item := range p.handed(u, "variables") {
		if !u.own["var."+item.name] {
			p.errorf(item.key, "Unknown variable", "%s has no variable %q. %s", sentence(u.title()), item.name, suggest(item.name, u.names("var")))
			continue
		}
		for _, body := range u.bodies {
			for _, b := range body.Blocks {
				if b.Type == "variable" && len(b.Labels) == 1 && b.Labels[0] == item.name {
					b.Body.Attributes["default"] = &hclsyntax.Attribute{
						Name: "default", Expr: item.value, SrcRange: item.value.Range(), NameRange: item.key, EqualsRange: item.key,
					}
					p.givenBy[b] = u
				}
			}
		}
	}
	if u.kind != "pack" {
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(inputKinds)) {
		for _, item := range p.handed(u, inputKinds[kind]) {
			address := kind + "." + item.name
			if _, ok := u.inputs[address]; !ok {
				p.errorf(item.key, "Unknown input", "%s has no input %q %q. %s", sentence(u.title()), kind, item.name, suggest(item.name, u.inputsOf(kind)))
				continue
			}
			if t, diags := hcl.AbsTraversalForExpr(item.value); !diags.HasErrors() && len(t) == 2 {
				u.bound[address] = t
			}
			p.bindings = append(p.bindings, binding{kind, item.value})
		}
	}
	for _, address := range slices.Sorted(maps.Keys(u.inputs)) {
		if u.bound[address] == nil && !p.complained(u, address) {
			kind, name, _ := strings.Cut(address, ".")
			d := p.errorf(u.block.DefRange(), "Missing input", "%s must be given %s: write %s = { %s = %s.NAME }. %s", sentence(u.title()), article(kind), inputKinds[kind], name, kind, p.described(u, address))
			d.Detail = strings.TrimSpace(d.Detail)
		}
	}
}

// complained tells whether an input is given by something that is no address, which is
// told where it stands.
func (p *parser) complained(u *unit, address string) bool {
	kind, name, _ := strings.Cut(address, ".")
	return slices.ContainsFunc(p.handed(u, inputKinds[kind]), func(i handedItem) bool { return i.name == name })
}

// described is what the pack's author says of an input.
func (p *parser) described(u *unit, address string) string {
	for _, body := range u.bodies {
		for _, b := range body.Blocks {
			if b.Type == "input" && len(b.Labels) == 2 && b.Labels[0]+"."+b.Labels[1] == address {
				if attr := b.Body.Attributes["description"]; attr != nil {
					text, _ := literalText(attr.Expr)
					return text
				}
			}
		}
	}
	return ""
}

// binding is what a pack is given, to be looked up when all blocks are known.
type binding struct {
	kind  string
	value hclsyntax.Expression
}

func (p *parser) resolveBindings() {
	for _, b := range p.bindings {
		if a, ok := p.address(b.value, b.kind+".NAME"); ok && p.resolve(a, b.kind) == nil && len(a.names) > 1 {
			p.missing[b.kind+"."+a.names[1]] = true
		}
	}
}

type handedItem struct {
	name  string
	key   hcl.Range
	value hclsyntax.Expression
}

// handed are the fields of an attribute that is an object as it is written.
func (p *parser) handed(u *unit, name string) []handedItem {
	attr := u.block.Body.Attributes[name]
	if attr == nil {
		return nil
	}
	object, ok := attr.Expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		p.errorf(attr.Expr.Range(), "Wrong type", "%q takes names with what they are: write { NAME = … }.", name)
		return nil
	}
	var all []handedItem
	for _, item := range object.Items {
		key, ok := literalKey(item.KeyExpr)
		if !ok {
			p.errorf(item.KeyExpr.Range(), "Not a name", "Here stands a name of the %s's.", u.kind)
			continue
		}
		all = append(all, handedItem{key, item.KeyExpr.Range(), item.ValueExpr})
	}
	return all
}

// names of the unit's own of a kind, and inputsOf what it must be given of it.
func (u *unit) names(kind string) []string {
	var names []string
	for address := range u.own {
		if name, ok := strings.CutPrefix(address, kind+"."); ok {
			names = append(names, name)
		}
	}
	return names
}

func (u *unit) inputsOf(kind string) []string {
	var names []string
	for address := range u.inputs {
		if name, ok := strings.CutPrefix(address, kind+"."); ok {
			names = append(names, name)
		}
	}
	return names
}

func placeOr(at hcl.Range, address string) string {
	if at.Filename == "" {
		return address
	}
	return fmt.Sprintf("%s on line %d of %s", address, at.Start.Line, at.Filename)
}

// Folders are those of the packs and modules that a configuration names and that lie
// below its own.
func Folders(path string) []string {
	src, err := readFiles(path)
	if err != nil {
		return nil
	}
	p := newParser(src, src)
	p.files()
	p.findUnits()
	var folders []string
	for _, u := range p.units {
		if folder, ok := literalSource(u.block); ok && filepath.IsLocal(folder) {
			folders = append(folders, src.shown(folder))
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}
