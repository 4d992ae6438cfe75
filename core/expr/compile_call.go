package expr

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// elsewhere are functions of the configuration that are no functions of an expression.
var elsewhere = map[string]string{
	"secret": "secret() stands alone, as the whole value of an attribute that is marked secret: a secret can be in no other value and in no text.",
	"env":    "env() cannot be used in this place; give the value to a variable, and write var.NAME here.",
	"file":   "file() cannot be used in this place; give the text to a local, and write local.NAME here.",
}

func (c *compiler) call(e *hclsyntax.FunctionCallExpr) node {
	args := make([]node, len(e.Args))
	for i, arg := range e.Args {
		args[i] = c.expr(arg)
	}
	if f, ok := c.env.Functions[e.Name]; ok {
		return c.callNow(e, f, args)
	}
	f, ok := functions[e.Name]
	if !ok {
		c.unknownFunction(e)
		return broken()
	}
	if !c.checkArguments(e, f, args) {
		return broken()
	}
	c.callCosts(f, args, e.Range())
	evals := make([]evalFunc, len(args))
	for i := range args {
		evals[i] = args[i].eval
	}
	var shape *Shape
	if f.result != NullKind {
		shape = of(f.result)
	}
	if e.ExpandFinal {
		return c.combine(shape, f.expanded(evals), args...)
	}
	switch f.Name {
	case "coalesce", "try":
		return c.combine(shape, firstOf(evals), args...)
	case "has":
		return c.combine(shape, func(s *Scope) Value { return Bool(!evals[0](s).IsNull()) }, args...)
	}
	call, ok := c.prepare(e, f, args)
	if !ok {
		return broken()
	}
	return c.combine(shape, f.eval(call, evals), args...)
}

func (c *compiler) unknownFunction(e *hclsyntax.FunctionCallExpr) {
	if why, ok := elsewhere[e.Name]; ok {
		c.errorf(e.NameRange, "Not in this place", "%s", why)
		return
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(functions)), maps.Keys(c.env.Functions))
	c.errorf(e.NameRange, "Unknown function", "In expressions %s", sentence(unknown("function", e.Name, names, "there are")))
}

func (c *compiler) checkArguments(e *hclsyntax.FunctionCallExpr, f *Function, args []node) bool {
	least, most := f.arity()
	if n := len(args); (n < least && !e.ExpandFinal) || (most >= 0 && n > most) {
		c.errorf(e.Range(), "Wrong number of arguments", "It is called as %s; here it gets %d.", f.Signature(), n)
		return false
	}
	for i, arg := range args {
		p := f.param(i)
		if p.known && !arg.constant {
			c.errorf(e.Args[i].Range(), "Must be known beforehand",
				"The %s of %s is read when the configuration is; it can be a literal, a var or a local.", p.name, f.Name)
			return false
		}
		if e.ExpandFinal && i == len(args)-1 {
			c.require(arg, listKind, e.Args[i].Range(), "...")
			continue
		}
		c.require(arg, p.kinds, e.Args[i].Range(), fmt.Sprintf("The %s of %s", p.name, f.Name))
	}
	return true
}

func (c *compiler) prepare(e *hclsyntax.FunctionCallExpr, f *Function, args []node) (callFunc, bool) {
	if f.prepare == nil || c.diags.HasErrors() {
		return f.call, true
	}
	known := make([]*Value, len(args))
	for i := range args {
		if !args[i].constant {
			continue
		}
		if args[i].value.kind == NullKind {
			return f.call, true // never called
		}
		known[i] = &args[i].value
	}
	call, at, err := f.prepare(known)
	if err != nil {
		c.errorf(e.Args[at].Range(), "Wrong argument", "The %s of %s is wrong: %s.", f.param(at).name, f.Name, err)
		return nil, false
	}
	if call == nil {
		call = f.call
	}
	return call, true
}

// callNow calls a function that the configuration has added.
func (c *compiler) callNow(e *hclsyntax.FunctionCallExpr, f func([]Value) (Value, error), args []node) node {
	values := make([]Value, len(args))
	for i, arg := range args {
		if !arg.constant {
			c.errorf(e.Args[i].Range(), "Must be known beforehand",
				"%s() is called when the configuration is read; its argument can be a literal, a var or a local.", e.Name)
			return broken()
		}
		values[i] = arg.value
	}
	if c.diags.HasErrors() {
		return broken()
	}
	v, err := f(values)
	if err != nil {
		c.errorf(e.Range(), "Call failed", "%s: %s.", e.Name, err)
		return broken()
	}
	return constant(v)
}

// accept makes null of what the function does not take; false says that the call is null.
func (f *Function) accept(i int, v Value) (Value, bool) {
	if v.kind != NullKind && !f.param(i).kinds.has(v.kind) {
		v = Value{}
	}
	return v, f.Nulls || v.kind != NullKind
}

func (f *Function) eval(call callFunc, args []evalFunc) evalFunc {
	return func(s *Scope) Value {
		base := len(s.stack)
		for i, arg := range args {
			v, ok := f.accept(i, arg(s))
			if !ok {
				s.stack = s.stack[:base]
				return Value{}
			}
			s.stack = append(s.stack, v)
		}
		return f.finish(s, call, base)
	}
}

// finish calls with the arguments above base.
func (f *Function) finish(s *Scope, call callFunc, base int) Value {
	var v Value
	if s.spend(itemCost) {
		v = call(s, s.stack[base:])
	}
	s.stack = s.stack[:base]
	return v
}

// expanded is a call whose last argument is a list of arguments.
func (f *Function) expanded(args []evalFunc) evalFunc {
	least, most := f.arity()
	return func(s *Scope) Value {
		base := len(s.stack)
		ok := true
		push := func(v Value) {
			v, fits := f.accept(len(s.stack)-base, v)
			ok = ok && fits
			s.stack = append(s.stack, v)
		}
		last := len(args) - 1
		for _, arg := range args[:last] {
			push(arg(s))
		}
		rest := args[last](s)
		items, read := s.items(rest)
		n := len(s.stack) - base + len(items)
		if rest.kind != ListKind || !read || n < least || most >= 0 && n > most {
			s.stack = s.stack[:base]
			return Value{}
		}
		for _, item := range items {
			push(item)
		}
		if !ok {
			s.stack = s.stack[:base]
			return Value{}
		}
		return f.finish(s, f.call, base)
	}
}

func firstOf(args []evalFunc) evalFunc {
	return func(s *Scope) Value {
		for _, arg := range args {
			if v := arg(s); v.kind != NullKind {
				return v
			}
		}
		return Value{}
	}
}
