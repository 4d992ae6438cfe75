package expr

import (
	"cmp"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func of(kind Kind) *Shape { return &Shape{Kind: kind} }

func (c *compiler) binary(e *hclsyntax.BinaryOpExpr) node {
	l, r := c.expr(e.LHS), c.expr(e.RHS)
	switch e.Op {
	case hclsyntax.OpLogicalAnd:
		c.requireBoth(e, l, r, boolKind, "&&")
		return c.test(and(l.truth(), r.truth()), l, r)
	case hclsyntax.OpLogicalOr:
		c.requireBoth(e, l, r, boolKind, "||")
		return c.test(or(l.truth(), r.truth()), l, r)
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		return c.equality(e, l, r)
	}
	sign := operators[e.Op]
	c.requireBoth(e, l, r, numberKind, sign)
	if o, ok := orders[e.Op]; ok {
		return c.test(o.compare(l, r), l, r)
	}
	a, b := l.eval, r.eval
	compute := arithmetic[e.Op]
	return c.combine(of(NumberKind), func(s *Scope) Value {
		x, y := a(s), b(s)
		if x.kind != NumberKind || y.kind != NumberKind || !s.spend(itemCost) {
			return Value{}
		}
		return number(compute(x.decimal(), y.decimal()))
	}, l, r)
}

var operators = map[*hclsyntax.Operation]string{
	hclsyntax.OpGreaterThan:        ">",
	hclsyntax.OpGreaterThanOrEqual: ">=",
	hclsyntax.OpLessThan:           "<",
	hclsyntax.OpLessThanOrEqual:    "<=",
	hclsyntax.OpAdd:                "+",
	hclsyntax.OpSubtract:           "-",
	hclsyntax.OpMultiply:           "*",
	hclsyntax.OpDivide:             "/",
	hclsyntax.OpModulo:             "%",
}

// order is what a comparison says of a number that is less than, equal to or greater than another.
type order struct{ less, equal, greater Truth }

var orders = map[*hclsyntax.Operation]order{
	hclsyntax.OpGreaterThan:        {False, False, True},
	hclsyntax.OpGreaterThanOrEqual: {False, True, True},
	hclsyntax.OpLessThan:           {True, False, False},
	hclsyntax.OpLessThanOrEqual:    {True, True, False},
}

func (o order) of(c int) Truth {
	switch {
	case c < 0:
		return o.less
	case c > 0:
		return o.greater
	}
	return o.equal
}

func (o order) compare(l, r node) truthFunc {
	a, b := l.eval, r.eval
	if k, ok := r.value.small(); ok && r.constant {
		return func(s *Scope) Truth {
			x := a(s)
			if n, ok := x.small(); ok {
				return o.of(cmp.Compare(n, k))
			}
			if x.kind != NumberKind {
				return Null
			}
			return o.of(x.decimal().compare(whole(k)))
		}
	}
	return func(s *Scope) Truth {
		x, y := a(s), b(s)
		if x.kind != NumberKind || y.kind != NumberKind {
			return Null
		}
		return o.of(x.decimal().compare(y.decimal()))
	}
}

var arithmetic = map[*hclsyntax.Operation]func(a, b decimal) (decimal, bool){
	hclsyntax.OpAdd:      decimal.add,
	hclsyntax.OpSubtract: decimal.sub,
	hclsyntax.OpMultiply: decimal.mul,
	hclsyntax.OpDivide:   decimal.div,
	hclsyntax.OpModulo:   decimal.mod,
}

func (c *compiler) requireBoth(e *hclsyntax.BinaryOpExpr, l, r node, kinds kinds, sign string) {
	c.require(l, kinds, e.LHS.Range(), sign)
	c.require(r, kinds, e.RHS.Range(), sign)
}

func and(a, b truthFunc) truthFunc {
	return func(s *Scope) Truth {
		l := a(s)
		if l == False {
			return False
		}
		if r := b(s); r != True {
			return r
		}
		return l
	}
}

func or(a, b truthFunc) truthFunc {
	return func(s *Scope) Truth {
		l := a(s)
		if l == True {
			return True
		}
		if r := b(s); r != False {
			return r
		}
		return l
	}
}

func (c *compiler) equality(e *hclsyntax.BinaryOpExpr, l, r node) node {
	negated := e.Op == hclsyntax.OpNotEqual
	if k, o := l.kind(), r.kind(); k != NullKind && o != NullKind && k != o {
		c.errorf(e.SrcRange, "Never equal", "The left side is %s and the right side %s; these are never equal.",
			article(k), article(o))
	}
	a, b := l.eval, r.eval
	var test truthFunc
	switch {
	case isNullLiteral(e.RHS):
		test = func(s *Scope) Truth { return truth(a(s).IsNull() != negated) }
	case isNullLiteral(e.LHS):
		test = func(s *Scope) Truth { return truth(b(s).IsNull() != negated) }
	case negated && r.constant && r.value.kind == StringKind:
		text := r.value.str
		test = func(s *Scope) Truth { return s.equalText(a(s), text).not() }
	case negated:
		test = func(s *Scope) Truth { return s.equal(a(s), b(s)).not() }
	case r.constant && r.value.kind == StringKind:
		text := r.value.str
		test = func(s *Scope) Truth { return s.equalText(a(s), text) }
	default:
		test = func(s *Scope) Truth { return s.equal(a(s), b(s)) }
	}
	return c.test(test, l, r)
}

// equalText is equal with a text that is known.
func (s *Scope) equalText(v Value, text string) Truth {
	switch {
	case v.kind == StringKind:
		if !s.spend(len(v.str) + len(text)) {
			return Null
		}
		return truth(v.str == text)
	case v.kind == NullKind && s.strict:
		return Null
	}
	return False
}

// isNullLiteral is about what is written: a constant that happens to be null is none.
func isNullLiteral(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return isNullLiteral(e.Expression)
	case *hclsyntax.LiteralValueExpr:
		return e.Val.IsNull()
	}
	return false
}

func (c *compiler) unary(e *hclsyntax.UnaryOpExpr) node {
	n := c.expr(e.Val)
	if e.Op == hclsyntax.OpLogicalNot {
		c.require(n, boolKind, e.Val.Range(), "!")
		test := n.truth()
		return c.test(func(s *Scope) Truth { return test(s).not() }, n)
	}
	eval := n.eval
	c.require(n, numberKind, e.Val.Range(), "-")
	return c.combine(of(NumberKind), func(s *Scope) Value {
		v := eval(s)
		if v.kind != NumberKind {
			return Value{}
		}
		return number(v.decimal().neg())
	}, n)
}

func (c *compiler) conditional(e *hclsyntax.ConditionalExpr) node {
	condition, yes, no := c.expr(e.Condition), c.expr(e.TrueResult), c.expr(e.FalseResult)
	c.require(condition, boolKind, e.Condition.Range(), "A condition")
	var shape *Shape
	if yes.kind() == no.kind() {
		shape = of(yes.kind())
	}
	if yes.shape == no.shape {
		shape = yes.shape
	}
	test, a, b := condition.truth(), yes.eval, no.eval
	return c.combine(shape, func(s *Scope) Value {
		switch test(s) {
		case True:
			return a(s)
		case Null:
			if s.strict {
				return Value{}
			}
		}
		return b(s)
	}, condition, yes, no)
}
