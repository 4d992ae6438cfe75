package expr

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (c *compiler) template(e *hclsyntax.TemplateExpr) node {
	parts := make([]node, len(e.Parts))
	for i, part := range e.Parts {
		parts[i] = c.expr(part)
	}
	return c.combine(of(StringKind), func(s *Scope) Value {
		b := make([]byte, 0, 64)
		for i := range parts {
			v := parts[i].eval(s)
			if v.kind >= ListKind && !s.spendDeep(v) {
				return Value{}
			}
			if b = v.appendText(b, maxText); len(b) > maxText {
				return Value{}
			}
		}
		return s.text(b)
	}, parts...)
}

// join is a template's for directive: the texts of a list, one after the other.
func (c *compiler) join(e *hclsyntax.TemplateJoinExpr) node {
	tuple := c.expr(e.Tuple)
	if !tuple.constant {
		c.cost(Loop, e.Range())
	}
	eval := tuple.eval
	return c.combine(of(StringKind), func(s *Scope) Value { return s.join("", eval(s)) }, tuple)
}

// join is null for what is no list.
func (s *Scope) join(separator string, v Value) Value {
	if v.kind != ListKind {
		return Value{}
	}
	var b []byte
	first := true
	for item := range v.Items() {
		if !first {
			b = append(b, separator...)
		}
		first = false
		if item.kind >= ListKind && !s.spendDeep(item) || !s.spend(itemCost) {
			return Value{}
		}
		if b = item.appendText(b, maxText); len(b) > maxText {
			return Value{}
		}
	}
	return s.text(b)
}

func (c *compiler) tuple(e *hclsyntax.TupleConsExpr) node {
	parts := make([]node, len(e.Exprs))
	for i, part := range e.Exprs {
		parts[i] = c.expr(part)
	}
	return c.combine(of(ListKind), func(s *Scope) Value {
		items := make([]Value, len(parts))
		for i := range parts {
			items[i] = parts[i].eval(s)
		}
		return s.list(items)
	}, parts...)
}

func (c *compiler) object(e *hclsyntax.ObjectConsExpr) node {
	keys, values := make([]node, len(e.Items)), make([]node, len(e.Items))
	shape := &Shape{Kind: ObjectKind, Fields: map[string]*Shape{}}
	fixed := true
	for i, item := range e.Items {
		keys[i], values[i] = c.key(item.KeyExpr), c.expr(item.ValueExpr)
		name, ok := keyText(keys[i].value)
		if !keys[i].constant || !ok {
			fixed = false
			continue
		}
		if _, twice := shape.Fields[name]; twice {
			c.errorf(item.KeyExpr.Range(), "Key comes twice",
				"The key %q has a value already; several values are a list: %s = [first, second].", name, name)
		}
		shape.Fields[name] = values[i].shape
	}
	parts := slices.Concat(keys, values)
	if fixed {
		return c.combine(shape, fixedObject(keys, values), parts...)
	}
	return c.combine(of(ObjectKind), func(s *Scope) Value {
		b := builder{}
		for i := len(keys) - 1; i >= 0; i-- { // of a repeated key the last counts
			key, ok := keyText(keys[i].eval(s))
			if !ok {
				return Value{}
			}
			b.add(key, values[i].eval(s))
		}
		if !s.spend(len(keys) * itemCost) {
			return Value{}
		}
		return b.object()
	}, parts...)
}

// fixedObject shares its keys among all the objects that it makes.
func fixedObject(keys, values []node) evalFunc {
	b := builder{}
	for i, key := range keys {
		name, _ := keyText(key.value)
		b.add(name, Int(int64(i)))
	}
	layout := b.object().ref.(*object)
	evals := make([]evalFunc, len(layout.keys))
	for i, place := range layout.values {
		evals[i] = values[place.num].eval
	}
	return func(s *Scope) Value {
		o := &object{keys: layout.keys, values: make([]Value, len(evals))}
		for i, eval := range evals {
			o.values[i] = eval(s)
		}
		if !s.spend(len(evals) * itemCost) {
			return Value{}
		}
		return Value{kind: ObjectKind, ref: o}
	}
}

// key reads a bare word as itself, as HCL does.
func (c *compiler) key(e hclsyntax.Expression) node {
	if name, ok := literalKey(e); ok {
		return constant(String(name))
	}
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		if t, ok := k.Wrapped.(*hclsyntax.ScopeTraversalExpr); ok && !k.ForceNonLiteral && len(t.Traversal) > 1 {
			c.errorf(e.Range(), "Ambiguous key",
				"Write it in parentheses to use its value as the key, or in quotes to use it as it is.")
			return broken()
		}
		e = k.Wrapped
	}
	n := c.expr(e)
	c.require(n, stringKind|numberKind|boolKind, e.Range(), "A key")
	return n
}

func literalKey(e hclsyntax.Expression) (string, bool) {
	k, ok := e.(*hclsyntax.ObjectConsKeyExpr)
	if !ok || k.ForceNonLiteral {
		return "", false
	}
	name := hcl.ExprAsKeyword(k.Wrapped)
	return name, name != ""
}
