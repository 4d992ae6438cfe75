package expr

import (
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func of(kind Kind) *Shape { return &Shape{Kind: kind} }

func (c *compiler) binary(e *hclsyntax.BinaryOpExpr) node {
	l, r := c.expr(e.LHS), c.expr(e.RHS)
	a, b := l.eval, r.eval
	switch e.Op {
	case hclsyntax.OpLogicalAnd:
		c.requireBoth(e, l, r, boolKind, "&&")
		return c.combine(of(BoolKind), and(a, b), l, r)
	case hclsyntax.OpLogicalOr:
		c.requireBoth(e, l, r, boolKind, "||")
		return c.combine(of(BoolKind), or(a, b), l, r)
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		return c.equality(e, l, r)
	}
	sign := operators[e.Op]
	c.requireBoth(e, l, r, numberKind, sign)
	if holds, ok := orders[e.Op]; ok {
		return c.combine(of(BoolKind), func(s *Scope) Value {
			x, y := a(s), b(s)
			if x.kind != NumberKind || y.kind != NumberKind {
				return Value{}
			}
			return Bool(holds(x.decimal().compare(y.decimal())))
		}, l, r)
	}
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

var orders = map[*hclsyntax.Operation]func(int) bool{
	hclsyntax.OpGreaterThan:        func(c int) bool { return c > 0 },
	hclsyntax.OpGreaterThanOrEqual: func(c int) bool { return c >= 0 },
	hclsyntax.OpLessThan:           func(c int) bool { return c < 0 },
	hclsyntax.OpLessThanOrEqual:    func(c int) bool { return c <= 0 },
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

func and(a, b evalFunc) evalFunc {
	return func(s *Scope) Value {
		l := a(s).Truth()
		if l == False {
			return Bool(false)
		}
		r := b(s).Truth()
		if r == False {
			return Bool(false)
		}
		if l == Null || r == Null {
			return Value{}
		}
		return Bool(true)
	}
}

func or(a, b evalFunc) evalFunc {
	return func(s *Scope) Value {
		l := a(s).Truth()
		if l == True {
			return Bool(true)
		}
		r := b(s).Truth()
		if r == True {
			return Bool(true)
		}
		if l == Null || r == Null {
			return Value{}
		}
		return Bool(false)
	}
}

func (c *compiler) equality(e *hclsyntax.BinaryOpExpr, l, r node) node {
	negated := e.Op == hclsyntax.OpNotEqual
	if k, o := l.kind(), r.kind(); k != NullKind && o != NullKind && k != o {
		c.errorf(e.SrcRange, "Never equal", "The left side is %s and the right side %s; these are never equal.",
			article(k), article(o))
	}
	a, b := l.eval, r.eval
	var eval evalFunc
	switch {
	case isNullLiteral(e.RHS):
		eval = func(s *Scope) Value { return Bool(a(s).IsNull() != negated) }
	case isNullLiteral(e.LHS):
		eval = func(s *Scope) Value { return Bool(b(s).IsNull() != negated) }
	case negated:
		eval = func(s *Scope) Value { return s.equal(a(s), b(s)).not().value() }
	default:
		eval = func(s *Scope) Value { return s.equal(a(s), b(s)).value() }
	}
	return c.combine(of(BoolKind), eval, l, r)
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
	eval := n.eval
	if e.Op == hclsyntax.OpLogicalNot {
		c.require(n, boolKind, e.Val.Range(), "!")
		return c.combine(of(BoolKind), func(s *Scope) Value { return eval(s).Truth().not().value() }, n)
	}
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
	test, a, b := condition.eval, yes.eval, no.eval
	return c.combine(shape, func(s *Scope) Value {
		switch test(s).Truth() {
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
