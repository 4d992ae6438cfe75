package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// constants reads variables and locals, which everything else may read: those of packs
// and modules after the configuration's own, by which they may be given their values.
func (p *parser) constants() {
	p.variables, p.locals = map[string]expr.Value{}, map[string]expr.Value{}
	for _, u := range append([]*unit{nil}, p.units...) {
		p.constantsOf(u)
	}
	for _, name := range slices.Sorted(maps.Keys(p.src.Variables)) {
		if !slices.Contains(p.variableNames, name) {
			p.diags = append(p.diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Unknown variable",
				Detail: "A value was given for the variable \"" + name + "\", which is not declared. " + suggest(name, p.variableNames),
			})
		}
	}
}

func (p *parser) constantsOf(u *unit) {
	var variables []*section
	locals := map[string]*hclsyntax.Attribute{}
	for _, body := range p.bodies {
		if p.unitOf[body] != u {
			continue
		}
		for _, block := range body.Blocks {
			switch block.Type {
			case "variable":
				variables = append(variables, p.top(block, variableBlock()))
			case "locals":
				p.top(block, localsBlock())
				p.declareLocals(block, locals)
			}
		}
	}
	for _, s := range variables {
		p.variableNames = append(p.variableNames, s.name())
	}
	p.localNames = append(p.localNames, slices.Sorted(maps.Keys(locals))...)
	p.readVariables(variables)
	p.readLocals(locals)
}

// declareLocals collects the names of a locals block.
func (p *parser) declareLocals(block *hclsyntax.Block, locals map[string]*hclsyntax.Attribute) {
	for _, inner := range block.Body.Blocks {
		p.errorf(inner.DefRange(), "Not a block", "In locals every line is NAME = value.")
	}
	for _, name := range slices.Sorted(maps.Keys(block.Body.Attributes)) {
		attr := block.Body.Attributes[name]
		if other := locals[name]; other != nil {
			p.errorf(attr.NameRange, "Name given twice", "There is another local %q on line %d of %s. Give one of them another name.", name, other.NameRange.Start.Line, other.NameRange.Filename)
			continue
		}
		locals[name] = attr
	}
}

func (p *parser) readVariables(sections []*section) {
	values := map[string]expr.Value{}
	for _, s := range sections {
		if v, ok := p.variable(s); ok {
			values[s.name()] = v
		}
	}
	maps.Copy(p.variables, values)
}

func (p *parser) variable(s *section) (expr.Value, bool) {
	t := model.Type{Kind: s.text("type", "string")}
	if given, ok := p.src.Variables[s.name()]; ok {
		if secretSound.MatchString(s.name()) {
			p.errorf(s.header(), "A secret in the wrong place", "This sounds like a secret, and what a variable is given is kept in the log. Write secret(\"NAME\") where the plugin takes one, or give the variable another name.")
			return expr.Value{}, false
		}
		return p.givenVariable(s, given, t)
	}
	e := s.expr("default")
	if u := p.unitOfBlock(s.block); e == nil && u != nil {
		p.errorf(s.header(), "Variable without a value", "Give it where the %s is named, in %s: variables = { %s = … }.", u.kind, u.block.DefRange().Filename, strings.TrimPrefix(s.name(), u.name+"_"))
		return expr.Value{}, false
	}
	if e == nil {
		p.errorf(s.header(), "Variable without a value", "Give it with --var %s=… or %s, or add default = …", s.name(), "KELPIE_VAR_"+strings.ToUpper(s.name()))
		return expr.Value{}, false
	}
	v, ok := p.constant(e)
	if !ok || v.IsNull() {
		return v, ok
	}
	name := `"default"`
	if p.givenBy[s.block] != nil {
		name = s.title()
	}
	return v, p.check(v, t, name, e)
}

// givenVariable reads a value from outside: a text is as it is, all else an
// expression.
func (p *parser) givenVariable(s *section, given string, t model.Type) (expr.Value, bool) {
	if t.Kind == "string" {
		return expr.String(given), true
	}
	name := "the value given for variable " + s.name()
	wrong := func() (expr.Value, bool) {
		p.errorf(s.header(), "Wrong type", "The value that was given for %q is not %s.", s.name(), typeName(t))
		return expr.Value{}, false
	}
	if tooDeep([]byte(given)) {
		return wrong()
	}
	e, diags := hclsyntax.ParseExpression([]byte(given), name, hcl.InitialPos)
	if diags.HasErrors() {
		return wrong()
	}
	program, diags := expr.Compile(e, expr.Env{})
	if diags.HasErrors() {
		return wrong()
	}
	v, ok := program.Constant()
	before := len(p.diags)
	if !ok || !p.check(v, t, name, e) {
		p.diags = p.diags[:before]
		return wrong()
	}
	return v, true
}

// readLocals evaluates locals in the order in which they need one another.
func (p *parser) readLocals(attrs map[string]*hclsyntax.Attribute) {
	needs := map[string][]string{}
	for name, attr := range attrs {
		for _, traversal := range attr.Expr.Variables() {
			if traversal.RootName() == "local" && len(traversal) > 1 {
				if other, _ := stepName(traversal[1]); attrs[other] != nil {
					needs[name] = append(needs[name], other)
				}
			}
		}
	}
	order, cycle := sortByNeed(slices.Sorted(maps.Keys(attrs)), needs)
	if len(cycle) > 0 {
		at := attrs[cycle[0]]
		p.errorf(at.NameRange, "Cycle", "These locals need one another, so none has a value: %s.", chain("local.", cycle))
	}
	for _, name := range order {
		if v, ok := p.constant(attrs[name].Expr); ok {
			p.locals[name] = v
		}
	}
}

func chain(prefix string, names []string) string {
	parts := make([]string, 0, len(names)+1)
	for _, name := range append(slices.Clone(names), names[0]) {
		parts = append(parts, prefix+name)
	}
	return strings.Join(parts, " → ")
}

// sortByNeed puts names behind what they need. Those in a cycle, and those that need
// them, are left out, and the first cycle is given.
func sortByNeed(names []string, needs map[string][]string) (order, cycle []string) {
	const (
		open = iota + 1
		done
		bad
	)
	state := map[string]int{}
	var path []string
	var visit func(string) bool
	visit = func(name string) bool {
		switch state[name] {
		case done:
			return true
		case bad:
			return false
		case open:
			if cycle == nil {
				cycle = slices.Clone(path[slices.Index(path, name):])
			}
			return false
		}
		state[name] = open
		path = append(path, name)
		ok := true
		for _, other := range needs[name] {
			ok = visit(other) && ok
		}
		path = path[:len(path)-1]
		if !ok {
			state[name] = bad
			return false
		}
		state[name] = done
		order = append(order, name)
		return true
	}
	for _, name := range names {
		visit(name)
	}
	return order, cycle
}
