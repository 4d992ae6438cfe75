package expr

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxNesting is how deep an expression may be nested in an expression.
const maxNesting = 200

// Program is a compiled expression. It is safe for concurrent use, each user with a [Scope] of its own.
type Program struct {
	eval   evalFunc
	test   truthFunc
	locals int
	strict bool
	shape  *Shape
	paths  []Path
	places []place
	costs  []Cost
	at     hcl.Range
	value  *Value
}

type evalFunc func(*Scope) Value

// truthFunc is an evalFunc of what is true, false or null: in a condition there are many of them, and a Value is large.
type truthFunc func(*Scope) Truth

// Compile checks an expression of HCL's native syntax and makes a program of it. The program is nil when the
// diagnostics have errors.
func Compile(e hcl.Expression, env Env) (*Program, hcl.Diagnostics) {
	c := &compiler{env: env, items: map[*hclsyntax.AnonSymbolExpr]int{}}
	native, ok := e.(hclsyntax.Expression)
	if !ok {
		c.errorf(e.Range(), "Not an expression", "Expressions are written in HCL's native syntax.")
		return nil, c.diags
	}
	n := c.expr(native)
	if got := n.kind(); env.Want != NullKind && got != NullKind && got != env.Want && !c.diags.HasErrors() {
		c.errorf(e.Range(), "Wrong type", "This must be %s, and it is %s.", article(env.Want), article(got))
	}
	if c.diags.HasErrors() {
		return nil, c.diags
	}
	p := &Program{eval: n.eval, test: n.truth(), locals: c.mostLocals, strict: env.Strict, shape: n.shape, paths: c.recorded(), places: c.places, costs: ordered(c.costs), at: e.Range()}
	if n.constant {
		p.value = &n.value
	}
	return p, c.diags
}

// Eval gives the result. A nil scope has no values.
func (p *Program) Eval(s *Scope) Value {
	if s == nil {
		s = &Scope{}
	}
	s.begin(p.locals, p.strict)
	if p.value != nil {
		return *p.value
	}
	v := p.eval(s)
	if s.exceeded {
		return Value{}
	}
	return v
}

// Truth is the result of a condition; what is not a bool is Null.
func (p *Program) Truth(s *Scope) Truth {
	if s == nil {
		s = &Scope{}
	}
	s.begin(p.locals, p.strict)
	t := p.test(s)
	if s.exceeded {
		return Null
	}
	return t
}

// Constant is the result, if it reads nothing that a Scope gives.
func (p *Program) Constant() (Value, bool) {
	if p.value == nil {
		return Value{}, false
	}
	return *p.value, true
}

// Range is where the expression is written.
func (p *Program) Range() hcl.Range { return p.at }

// Shape is what is known of the result, null always being possible; it may be nil.
func (p *Program) Shape() *Shape { return p.shape }

// Paths are what the expression reads of its roots, in the order of their names, each once.
func (p *Program) Paths() []Path { return p.paths }

// Reads says whether the expression reads the given path, something below it, or all of something above it. The name
// "*" stands for any.
func (p *Program) Reads(names ...string) bool {
	return slices.ContainsFunc(p.paths, func(path Path) bool {
		for i := range min(len(path.Names), len(names)) {
			if path.Names[i] != names[i] && path.Names[i] != "*" && names[i] != "*" {
				return false
			}
		}
		return true
	})
}

type compiler struct {
	env        Env
	diags      hcl.Diagnostics
	depth      int
	locals     []local // in use where the compiler is; the place is the one in Scope.locals
	mostLocals int
	items      map[*hclsyntax.AnonSymbolExpr]int // of splats, by their place in locals
	paths      []Path
	places     []place
	costs      []Cost
}

type local struct {
	name  string
	shape *Shape
	path  []string
}

// node is a compiled part of an expression.
type node struct {
	eval     evalFunc
	test     truthFunc // nil: what eval gives
	shape    *Shape
	outer    bool // it reads a root
	lowest   int  // the lowest place in locals that it reads
	path     []string
	recorded int // 1 more than the place of path among the compiler's
	constant bool
	value    Value
}

func (n node) kind() Kind {
	if n.constant {
		return n.value.kind
	}
	return n.shape.kind()
}

// truth is what the node gives as a condition.
func (n node) truth() truthFunc {
	switch eval := n.eval; {
	case n.constant:
		t := n.value.Truth()
		return func(*Scope) Truth { return t }
	case n.test != nil:
		return n.test
	default:
		return func(s *Scope) Truth { return eval(s).Truth() }
	}
}

func constant(v Value) node {
	return node{
		eval:     func(*Scope) Value { return v },
		shape:    shapeOf(v),
		lowest:   math.MaxInt,
		constant: true,
		value:    v,
	}
}

// broken stands for a part that got a diagnostic; nothing more is said of it.
func broken() node { return node{eval: func(*Scope) Value { return Value{} }, outer: true} }

// combine makes the node of an operation over parts: evaluated now, if all that it reads is known.
func (c *compiler) combine(shape *Shape, eval evalFunc, parts ...node) node {
	n := node{eval: eval, shape: shape, lowest: math.MaxInt}
	for _, part := range parts {
		n.outer = n.outer || part.outer
		// What a for expression binds itself is not something that it reads.
		if part.lowest < len(c.locals) {
			n.lowest = min(n.lowest, part.lowest)
		}
	}
	if n.outer || n.lowest < len(c.locals) || c.diags.HasErrors() {
		return n
	}
	s := &Scope{}
	s.begin(c.mostLocals, c.env.Strict)
	if v := eval(s); !s.exceeded {
		return constant(v)
	}
	return n
}

// test makes the node of a condition over parts.
func (c *compiler) test(test truthFunc, parts ...node) node {
	n := c.combine(of(BoolKind), func(s *Scope) Value { return test(s).value() }, parts...)
	if !n.constant {
		n.test = test
	}
	return n
}

func (c *compiler) errorf(at hcl.Range, summary, format string, args ...any) {
	c.diags = append(c.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(format, args...),
		Subject:  at.Ptr(),
	})
}

// require complains where a part is known to be of a kind that its user cannot take.
func (c *compiler) require(n node, kinds kinds, at hcl.Range, user string) {
	got := n.kind()
	if got == NullKind || kinds.has(got) {
		return
	}
	hint := ""
	if got == StringKind && kinds.has(NumberKind) {
		hint = " tonumber() makes a number of a text."
	}
	c.errorf(at, "Wrong type", "%s takes a %s, and this is %s, so that the result would always be null.%s",
		user, kinds, article(got), hint)
}

func (c *compiler) expr(e hclsyntax.Expression) node {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > maxNesting {
		if c.depth == maxNesting+1 {
			c.errorf(e.Range(), "Too deep", "An expression may be nested %d deep.", maxNesting)
		}
		return broken()
	}
	before := len(c.costs)
	n := c.part(e)
	if n.constant {
		c.costs = c.costs[:before]
	}
	return n
}

func (c *compiler) part(e hclsyntax.Expression) node {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return c.literal(e)
	case *hclsyntax.ParenthesesExpr:
		return c.expr(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return c.expr(e.Wrapped)
	case *hclsyntax.ScopeTraversalExpr:
		return c.traversal(e)
	case *hclsyntax.RelativeTraversalExpr:
		return c.steps(c.expr(e.Source), e.Traversal, e.SrcRange)
	case *hclsyntax.IndexExpr:
		return c.index(e)
	case *hclsyntax.AnonSymbolExpr:
		return c.local(c.items[e], e.SrcRange)
	case *hclsyntax.BinaryOpExpr:
		return c.binary(e)
	case *hclsyntax.UnaryOpExpr:
		return c.unary(e)
	case *hclsyntax.ConditionalExpr:
		return c.conditional(e)
	case *hclsyntax.TemplateExpr:
		return c.template(e)
	case *hclsyntax.TemplateJoinExpr:
		return c.join(e)
	case *hclsyntax.TupleConsExpr:
		return c.tuple(e)
	case *hclsyntax.ObjectConsExpr:
		return c.object(e)
	case *hclsyntax.ForExpr:
		return c.forExpr(e)
	case *hclsyntax.SplatExpr:
		return c.splat(e)
	case *hclsyntax.FunctionCallExpr:
		return c.call(e)
	}
	c.errorf(e.Range(), "Not an expression", "This cannot be used in an expression.")
	return broken()
}

func (c *compiler) literal(e *hclsyntax.LiteralValueExpr) node {
	v, ok := literalValue(e.Val)
	if !ok {
		c.errorf(e.SrcRange, "Number out of range",
			"A number has up to %d digits and an exponent of up to %d.", maxDigits, maxExponent)
	}
	return constant(v)
}

// literalValue is a literal of the syntax tree; false is a number beyond the limits.
func literalValue(v cty.Value) (Value, bool) {
	switch {
	case v.IsNull():
		return Value{}, true
	case v.Type() == cty.Bool:
		return Bool(v.True()), true
	case v.Type() == cty.String:
		return String(v.AsString()), true
	}
	// HCL keeps 512 bits, which are 154 digits: all that is within our limits is exact in 100.
	d, ok := parseDecimal(v.AsBigFloat().Text('e', 99))
	return number(d, ok), ok
}

// bind makes a local of a name for the time that body compiles.
func (c *compiler) bind(locals []local, body func()) {
	c.locals = append(c.locals, locals...)
	c.mostLocals = max(c.mostLocals, len(c.locals))
	body()
	c.locals = c.locals[:len(c.locals)-len(locals)]
}

// names are all that can be read where the compiler is.
func (c *compiler) names() []string {
	names := slices.Collect(maps.Keys(c.env.Roots))
	names = slices.AppendSeq(names, maps.Keys(c.env.Constants))
	for _, l := range c.locals {
		if l.name != "" {
			names = append(names, l.name)
		}
	}
	return names
}
