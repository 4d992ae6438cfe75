package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// compile makes a program of an expression that stands at a place. What env says of
// roots, wishes and strictness is kept; the rest is the place's. It complains and
// gives false if there is something wrong.
func (p *parser) compile(e hclsyntax.Expression, env expr.Env, at place) (*expr.Program, bool) {
	env, ok := p.envAt(e, env, at)
	if !ok {
		return nil, false
	}
	program, diags := expr.Compile(e, env)
	for _, d := range diags {
		if question, ok := strings.CutSuffix(d.Detail, "?."); ok {
			d.Detail = question + "?"
		}
	}
	for _, d := range diags {
		p.add(d)
	}
	if p.conditions != nil && program != nil && env.Want == expr.BoolKind {
		p.explained(program, e, env)
	}
	return program, !diags.HasErrors()
}

// envAt is what an expression at a place is compiled against.
func (p *parser) envAt(e hclsyntax.Expression, env expr.Env, at place) (expr.Env, bool) {
	roots := maps.Clone(p.shapesAt(at))
	maps.Copy(roots, env.Roots)
	env.Roots = roots
	env.Functions = p.functions()
	env.Index, env.Tables = p.index, p.tableRows
	var ok bool
	env.Constants, ok = p.readable(e, env, at)
	return env, ok
}

// shapesAt are the roots that can be read at a place.
func (p *parser) shapesAt(at place) map[string]*expr.Shape {
	if p.shapes[at] == nil {
		p.shapes[at] = shapesAt(at)
	}
	return p.shapes[at]
}

// readable gives the variables and locals that an expression reads, and complains
// about what it reads and cannot, where there is more to say than that a name is not
// known.
func (p *parser) readable(e hclsyntax.Expression, env expr.Env, at place) (map[string]expr.Value, bool) {
	if call := callOf(e, "secret"); call != nil {
		p.secretErrorf(call.NameRange, "A secret in the wrong place", "secret() is the whole value of an attribute that the plugin has marked as secret, and stands nowhere else: not in a text, a local or a condition.")
		return nil, false
	}
	ok := true
	variables, locals := map[string]expr.Value{}, map[string]expr.Value{}
	for _, traversal := range e.Variables() {
		switch root := traversal.RootName(); root {
		case "var":
			ok = p.readConstant(traversal, p.variables, variables, p.variableNames) && ok
		case "local":
			ok = p.readConstant(traversal, p.locals, locals, p.localNames) && ok
		case "table":
			ok = p.readTable(traversal, at) && ok
		case "schedule":
			ok = p.readSchedule(traversal, at) && ok
		default:
			_, here := env.Roots[root]
			switch {
			case here || at == inScore && root == "input":
			case at == inSeveral && root == "event":
				p.errorf(traversal.SourceRange(), "Not available here", "What this rule reads reports signals, and their payloads are not at hand any more: read signal.FIELD, or write this into the pipeline.")
				ok = false
			case at == inRule && root == "signal":
				p.errorf(traversal.SourceRange(), "Not available here", "What this rule reads are the events of pipelines, of which nothing is looked up: read event.FIELD. With alerts = true in the pipelines a rule over several reads their signals.")
				ok = false
			default:
				ok = p.elsewhere(root, traversal.SourceRange()) && ok
			}
		}
	}
	constants := map[string]expr.Value{"var": expr.Object(variables), "local": expr.Object(locals)}
	if at == inScore {
		constants["input"] = expr.Object(p.inputs)
	}
	return constants, ok
}

// elsewhere complains about a name that can be read in another place.
func (p *parser) elsewhere(root string, at hcl.Range) bool {
	switch places := placesOf(root); {
	case len(places) > 0:
		p.errorf(at, "Not available here", "%q can be read in %s; not here.", root, strings.Join(places, ", "))
	case root == "each":
		p.errorf(at, "Not available here", "\"each\" can be read beside for_each: add for_each = … to the block.")
	case root == "step":
		p.errorf(at, "Not available here", "\"step\" can be read in the steps of a response.")
	case p.kindExists(root):
		p.errorf(at, "Not available here", "The address of a block is no value: it stands only where an attribute takes a reference.")
	default:
		return true
	}
	return false
}

// readConstant checks var.NAME or local.NAME, notes that it is used and copies its
// value. Of one that has been complained about nothing more is said.
func (p *parser) readConstant(traversal hcl.Traversal, from, to map[string]expr.Value, known []string) bool {
	root, what, write := traversal.RootName(), "variable", "variable \"NAME\" { … }"
	if root == "local" {
		what, write = "local", "locals { NAME = … }"
	}
	if len(traversal) < 2 {
		p.errorf(traversal.SourceRange(), "Not a value", "Write %s.NAME; all of them together cannot be read.", root)
		return false
	}
	name, at := stepName(traversal[1])
	if name == "" || !slices.Contains(known, name) {
		p.errorf(at, "Unknown "+what, "There is no %s %q. %s", what, name, orDeclare(name, known, write))
		return false
	}
	p.constantsUsed[root+"."+name] = true
	v, ok := from[name]
	to[name] = v
	return ok
}

func orDeclare(name string, known []string, write string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	return "Declare it: " + strings.ReplaceAll(write, "NAME", name)
}

func stepName(t hcl.Traverser) (string, hcl.Range) {
	switch t := t.(type) {
	case hcl.TraverseAttr:
		return t.Name, t.SrcRange
	case hcl.TraverseIndex:
		return "", t.SrcRange
	}
	return "", hcl.Range{}
}

// callOf is a call of a function somewhere in an expression, or nil.
func callOf(e hclsyntax.Node, name string) *hclsyntax.FunctionCallExpr {
	for _, call := range callsOf(e, name) {
		return call
	}
	return nil
}

func callsOf(e hclsyntax.Node, names ...string) []*hclsyntax.FunctionCallExpr {
	var found []*hclsyntax.FunctionCallExpr
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && slices.Contains(names, call.Name) {
			found = append(found, call)
		}
		return nil
	})
	return found
}

// functions are those that read the world outside, as the source has it.
func (p *parser) functions() map[string]func([]expr.Value) (expr.Value, error) {
	one := func(read func(string) (expr.Value, error)) func([]expr.Value) (expr.Value, error) {
		return func(args []expr.Value) (expr.Value, error) {
			if len(args) != 1 {
				return expr.Value{}, errors.New("it takes one text")
			}
			text, ok := args[0].Str()
			if !ok {
				return expr.Value{}, errors.New("it takes a text")
			}
			return read(text)
		}
	}
	return map[string]func([]expr.Value) (expr.Value, error){
		"env": one(func(name string) (expr.Value, error) {
			if secretSound.MatchString(name) {
				return expr.Value{}, errors.New("this sounds like a secret, and what env() gives is kept in the log; write secret(\"NAME\") where the plugin takes one")
			}
			text, ok := p.world.env(name)
			if !ok {
				return expr.Value{}, nil
			}
			return expr.String(text), nil
		}),
		"file": one(func(path string) (expr.Value, error) {
			text, err := p.world.file(path)
			return expr.String(text), err
		}),
	}
}

// condition compiles an attribute that must be true or false; nil if it is absent.
func (p *parser) condition(s *section, name string, at place, env expr.Env) *expr.Program {
	env.Want = expr.BoolKind
	program := p.program(s, name, at, env)
	p.rehearsal.condition(p, program, s, name, at, env)
	return program
}

// program compiles an attribute; nil if it is absent or wrong.
func (p *parser) program(s *section, name string, at place, env expr.Env) *expr.Program {
	e := s.expr(name)
	if e == nil {
		return nil
	}
	program, ok := p.compile(e, env, at)
	if !ok {
		s.broken = true
		return nil
	}
	return program
}
