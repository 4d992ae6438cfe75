package expr

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// loop is a compiled for expression.
type loop struct {
	collection       evalFunc
	place            int // of the key among the locals; the value follows it
	key, value, only evalFunc
	group            bool
}

func (c *compiler) forExpr(e *hclsyntax.ForExpr) node {
	collection := c.expr(e.CollExpr)
	c.require(collection, listKind|objectKind, e.CollExpr.Range(), "for")
	l := loop{collection: collection.eval, place: len(c.locals), group: e.Group}
	parts := []node{collection}
	if !collection.constant {
		c.cost(Loop, e.SrcRange)
	}
	part := func(e hclsyntax.Expression) (evalFunc, node) {
		if e == nil {
			return nil, node{}
		}
		n := c.expr(e)
		parts = append(parts, n)
		return n.eval, n
	}
	item := local{name: e.ValVar, shape: collection.shape.elem(), path: below(collection.path)}
	var value node
	c.bind([]local{{name: e.KeyVar}, item}, func() {
		var key, only node
		l.key, key = part(e.KeyExpr)
		l.value, value = part(e.ValExpr)
		l.only, only = part(e.CondExpr)
		if l.key != nil {
			c.require(key, stringKind|numberKind|boolKind, e.KeyExpr.Range(), "A key")
		}
		if l.only != nil {
			c.require(only, boolKind, e.CondExpr.Range(), "if")
		}
	})
	if l.key != nil {
		return c.combine(of(ObjectKind), l.object, parts...)
	}
	return c.combine(&Shape{Kind: ListKind, Elem: value.shape}, l.list, parts...)
}

func below(path []string) []string {
	if path == nil {
		return nil
	}
	return append(slices.Clone(path), "*")
}

// each calls body with the locals set, for all that the if lets through. False says that there is no result.
func (l *loop) each(s *Scope, body func() bool) bool {
	next := func(key, value Value) bool {
		if !s.spend(itemCost) {
			return false
		}
		s.locals[l.place], s.locals[l.place+1] = key, value
		if l.only != nil {
			switch l.only(s).Truth() {
			case False:
				return true
			case Null:
				return !s.strict
			}
		}
		return body()
	}
	v := l.collection(s)
	switch v.kind {
	case ListKind:
		i := int64(0)
		for item := range v.Items() {
			if !next(Int(i), item) {
				return false
			}
			i++
		}
		return s.spend(len(v.str))
	case ObjectKind:
		o, ok := s.fields(v)
		for i := 0; ok && i < len(o.keys); i++ {
			ok = next(Value{kind: StringKind, form: borrowed, str: o.keys[i]}, o.values[i])
		}
		return ok
	}
	return false
}

func (l *loop) list(s *Scope) Value {
	items := []Value{}
	ok := l.each(s, func() bool {
		items = append(items, l.value(s))
		return len(items) <= maxItems
	})
	if !ok {
		return Value{}
	}
	return List(items)
}

func (l *loop) object(s *Scope) Value {
	b := builder{}
	places := map[string]int{}
	ok := l.each(s, func() bool {
		key, ok := keyText(l.key(s))
		if !ok {
			return false
		}
		value := l.value(s)
		place, twice := places[key]
		if !twice {
			places[key] = len(b.keys)
			if l.group {
				value = List([]Value{value})
			}
			b.add(key, value)
			return len(b.keys) <= maxItems
		}
		if !l.group {
			return false
		}
		group := b.values[place].ref.(*list)
		group.items = append(group.items, value)
		return true
	})
	if !ok {
		return Value{}
	}
	return b.object()
}

// splat is x[*].name: of a list every element, of null nothing, of anything else that alone.
func (c *compiler) splat(e *hclsyntax.SplatExpr) node {
	source := c.expr(e.Source)
	shape, path := source.shape, source.path
	if source.kind() == ListKind {
		shape = shape.elem()
	} else if source.kind() == NullKind {
		shape = nil
	}
	if source.recorded > 0 {
		c.paths[source.recorded-1] = Path{}
	}
	if !source.constant {
		c.cost(Loop, e.SrcRange)
	}
	place := len(c.locals)
	c.items[e.Item] = place
	var each node
	c.bind([]local{{shape: shape, path: below(path)}}, func() { each = c.expr(e.Each) })
	of, body := source.eval, each.eval
	return c.combine(&Shape{Kind: ListKind, Elem: each.shape}, func(s *Scope) Value {
		v := of(s)
		items := []Value{}
		if v.kind == NullKind {
			return List(items)
		}
		if v.kind != ListKind {
			v = List([]Value{v})
		}
		for item := range v.Items() {
			s.locals[place] = item
			items = append(items, body(s))
			if len(items) > maxItems || !s.spend(itemCost) {
				return Value{}
			}
		}
		s.spend(len(v.str))
		return List(items)
	}, source, each)
}
