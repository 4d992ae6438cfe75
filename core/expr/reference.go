package expr

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Reference says what an expression means: it walks HCL's syntax tree over cty values, the event decoded whole, with the
// rules for null, and shares with the compiled closures only what the functions other than those about null do. It is
// for tests: it does not check the expression, takes a thousand times as long, and bounds no work. The expression must
// be one that [Compile] accepts.
func Reference(e hcl.Expression, env Env, s *Scope) Value {
	r := &reference{env: env, items: map[*hclsyntax.AnonSymbolExpr]cty.Value{}}
	root := &hcl.EvalContext{Variables: map[string]cty.Value{}}
	for name := range env.Roots {
		root.Variables[name] = toCty(s.root(name))
	}
	for name, v := range env.Constants {
		root.Variables[name] = toCty(v)
	}
	return fromCty(r.eval(e.(hclsyntax.Expression), root))
}

type reference struct {
	env   Env
	items map[*hclsyntax.AnonSymbolExpr]cty.Value
}

var null = cty.NullVal(cty.DynamicPseudoType)

func (r *reference) eval(e hclsyntax.Expression, ctx *hcl.EvalContext) cty.Value {
	if row, ok := r.table(e, ctx); ok {
		return row
	}
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		v, _ := literalValue(e.Val)
		return toCty(v)
	case *hclsyntax.ParenthesesExpr:
		return r.eval(e.Expression, ctx)
	case *hclsyntax.TemplateWrapExpr:
		return r.eval(e.Wrapped, ctx)
	case *hclsyntax.ScopeTraversalExpr:
		return follows(variable(ctx, e.Traversal.RootName()), e.Traversal[1:])
	case *hclsyntax.RelativeTraversalExpr:
		return follows(r.eval(e.Source, ctx), e.Traversal)
	case *hclsyntax.IndexExpr:
		return element(r.eval(e.Collection, ctx), r.eval(e.Key, ctx))
	case *hclsyntax.AnonSymbolExpr:
		return r.items[e]
	case *hclsyntax.BinaryOpExpr:
		return r.binary(e, ctx)
	case *hclsyntax.UnaryOpExpr:
		return r.unary(e, ctx)
	case *hclsyntax.ConditionalExpr:
		return r.conditional(e, ctx)
	case *hclsyntax.TemplateExpr:
		return r.template(e, ctx)
	case *hclsyntax.TemplateJoinExpr:
		return r.joined(r.eval(e.Tuple, ctx))
	case *hclsyntax.TupleConsExpr:
		items := make([]cty.Value, len(e.Exprs))
		for i, item := range e.Exprs {
			items[i] = r.eval(item, ctx)
		}
		return tuple(items)
	case *hclsyntax.ObjectConsExpr:
		return r.object(e, ctx)
	case *hclsyntax.ForExpr:
		return r.forExpr(e, ctx)
	case *hclsyntax.SplatExpr:
		return r.splat(e, ctx)
	case *hclsyntax.FunctionCallExpr:
		return r.call(e, ctx)
	}
	return null
}

func variable(ctx *hcl.EvalContext, name string) cty.Value {
	for ; ctx != nil; ctx = ctx.Parent() {
		if v, ok := ctx.Variables[name]; ok {
			return v
		}
	}
	return null
}

func follows(v cty.Value, steps hcl.Traversal) cty.Value {
	for _, step := range steps {
		switch step := step.(type) {
		case hcl.TraverseAttr:
			v = attribute(v, step.Name)
		case hcl.TraverseIndex:
			v = element(v, step.Key)
		}
	}
	return v
}

func (r *reference) unary(e *hclsyntax.UnaryOpExpr, ctx *hcl.EvalContext) cty.Value {
	v := r.eval(e.Val, ctx)
	if e.Op == hclsyntax.OpNegate {
		return calculate(hclsyntax.OpSubtract, cty.Zero, v)
	}
	return not(truthOf(v))
}

func not(t int) cty.Value {
	if t < 0 {
		return null
	}
	return cty.BoolVal(t == 0)
}

func (r *reference) binary(e *hclsyntax.BinaryOpExpr, ctx *hcl.EvalContext) cty.Value {
	a, b := r.eval(e.LHS, ctx), r.eval(e.RHS, ctx)
	switch e.Op {
	case hclsyntax.OpLogicalAnd:
		x, y := truthOf(a), truthOf(b)
		if x == 0 || y == 0 {
			return cty.False
		}
		return truthVal(min(x, y))
	case hclsyntax.OpLogicalOr:
		x, y := truthOf(a), truthOf(b)
		if x == 1 || y == 1 {
			return cty.True
		}
		return truthVal(min(x, y))
	case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
		strict := r.env.Strict && !literallyNull(e.LHS) && !literallyNull(e.RHS)
		same := sameness(a, b, strict)
		if e.Op == hclsyntax.OpNotEqual {
			return not(same)
		}
		return truthVal(same)
	}
	return calculate(e.Op, a, b)
}

func literallyNull(e hclsyntax.Expression) bool {
	if p, ok := e.(*hclsyntax.ParenthesesExpr); ok {
		return literallyNull(p.Expression)
	}
	l, ok := e.(*hclsyntax.LiteralValueExpr)
	return ok && l.Val.IsNull()
}

// sameness is a truth as truthOf gives it.
func sameness(a, b cty.Value, strict bool) int {
	if a.IsNull() || b.IsNull() {
		switch {
		case strict:
			return -1
		case a.IsNull() && b.IsNull():
			return 1
		}
		return 0
	}
	result := 1
	switch {
	case isTuple(a) && isTuple(b):
		x, y := a.AsValueSlice(), b.AsValueSlice()
		if len(x) != len(y) {
			return 0
		}
		for i := range x {
			result = weaker(result, sameness(x[i], y[i], strict))
		}
	case isObject(a) && isObject(b):
		x, y := a.AsValueMap(), b.AsValueMap()
		if len(x) != len(y) {
			return 0
		}
		for key := range x {
			other, ok := y[key]
			if !ok {
				return 0
			}
			result = weaker(result, sameness(x[key], other, strict))
		}
	case a.RawEquals(b):
	default:
		return 0
	}
	return result
}

func weaker(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	return min(a, b)
}

func (r *reference) conditional(e *hclsyntax.ConditionalExpr, ctx *hcl.EvalContext) cty.Value {
	switch t := truthOf(r.eval(e.Condition, ctx)); {
	case t == 1:
		return r.eval(e.TrueResult, ctx)
	case t < 0 && r.env.Strict:
		return null
	}
	return r.eval(e.FalseResult, ctx)
}

func (r *reference) template(e *hclsyntax.TemplateExpr, ctx *hcl.EvalContext) cty.Value {
	var b strings.Builder
	for _, part := range e.Parts {
		b.WriteString(textOf(r.eval(part, ctx)))
	}
	return stringVal(b.String())
}

func (r *reference) joined(v cty.Value) cty.Value {
	if !isTuple(v) {
		return null
	}
	var b strings.Builder
	for _, item := range v.AsValueSlice() {
		b.WriteString(textOf(item))
	}
	return stringVal(b.String())
}

func (r *reference) object(e *hclsyntax.ObjectConsExpr, ctx *hcl.EvalContext) cty.Value {
	fields := map[string]cty.Value{}
	for _, item := range e.Items {
		name, ok := literalKey(item.KeyExpr)
		if !ok {
			key := item.KeyExpr
			if k, wrapped := key.(*hclsyntax.ObjectConsKeyExpr); wrapped {
				key = k.Wrapped
			}
			if name, ok = keyOf(r.eval(key, ctx)); !ok {
				return null
			}
		}
		fields[name] = r.eval(item.ValueExpr, ctx)
	}
	return cty.ObjectVal(fields)
}

// pairs are what a for expression goes through, in order.
func pairs(v cty.Value) (keys, values []cty.Value, ok bool) {
	if !isTuple(v) && !isObject(v) {
		return nil, nil, false
	}
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		keys, values = append(keys, key), append(values, value)
	}
	return keys, values, true
}

func (r *reference) forExpr(e *hclsyntax.ForExpr, ctx *hcl.EvalContext) cty.Value {
	keys, values, ok := pairs(r.eval(e.CollExpr, ctx))
	if !ok {
		return null
	}
	var items []cty.Value
	groups := map[string][]cty.Value{}
	for i := range keys {
		inner := ctx.NewChild()
		inner.Variables = map[string]cty.Value{e.ValVar: values[i]}
		if e.KeyVar != "" {
			inner.Variables[e.KeyVar] = keys[i]
		}
		if e.CondExpr != nil {
			switch truthOf(r.eval(e.CondExpr, inner)) {
			case -1:
				if r.env.Strict {
					return null
				}
				continue
			case 0:
				continue
			}
		}
		value := r.eval(e.ValExpr, inner)
		if e.KeyExpr == nil {
			items = append(items, value)
			continue
		}
		key, ok := keyOf(r.eval(e.KeyExpr, inner))
		if !ok || !e.Group && groups[key] != nil {
			return null
		}
		groups[key] = append(groups[key], value)
	}
	if e.KeyExpr == nil {
		return tuple(items)
	}
	fields := map[string]cty.Value{}
	for key, group := range groups {
		fields[key] = group[0]
		if e.Group {
			fields[key] = cty.TupleVal(group)
		}
	}
	if len(fields) > maxItems {
		return null
	}
	return cty.ObjectVal(fields)
}

func (r *reference) splat(e *hclsyntax.SplatExpr, ctx *hcl.EvalContext) cty.Value {
	source := r.eval(e.Source, ctx)
	if source.IsNull() {
		return cty.EmptyTupleVal
	}
	if !isTuple(source) {
		source = cty.TupleVal([]cty.Value{source})
	}
	var items []cty.Value
	for _, item := range source.AsValueSlice() {
		r.items[e.Item] = item
		items = append(items, r.eval(e.Each, ctx))
	}
	return tuple(items)
}

func (r *reference) call(e *hclsyntax.FunctionCallExpr, ctx *hcl.EvalContext) cty.Value {
	args := make([]cty.Value, 0, len(e.Args))
	for _, arg := range e.Args {
		args = append(args, r.eval(arg, ctx))
	}
	if e.ExpandFinal {
		last := args[len(args)-1]
		if !isTuple(last) {
			return null
		}
		args = append(args[:len(args)-1], last.AsValueSlice()...)
	}
	if f, ok := r.env.Functions[e.Name]; ok {
		v, _ := f(fromCtys(args))
		return toCty(v)
	}
	f := functions[e.Name]
	least, most := f.arity()
	if len(args) < least || most >= 0 && len(args) > most {
		return null
	}
	for i, arg := range args {
		if kind := fromCty(arg).Kind(); kind != NullKind && !f.param(i).kinds.has(kind) {
			args[i] = null
		}
		if args[i].IsNull() && !f.Nulls {
			return null
		}
	}
	switch e.Name {
	case "coalesce", "try":
		for _, arg := range args {
			if !arg.IsNull() {
				return arg
			}
		}
		return null
	case "has":
		return cty.BoolVal(!args[0].IsNull())
	case "lookup":
		if found := element(args[0], args[1]); !found.IsNull() || len(args) < 3 {
			return found
		}
		return args[2]
	case "contains":
		if isTuple(args[0]) {
			return r.member(args[0], args[1])
		}
	}
	s := &Scope{}
	s.begin(0, r.env.Strict)
	return toCty(f.call(s, fromCtys(args)))
}

func (r *reference) member(list, v cty.Value) cty.Value {
	result := 0
	for _, item := range list.AsValueSlice() {
		switch sameness(item, v, r.env.Strict) {
		case 1:
			return cty.True
		case -1:
			result = -1
		}
	}
	return truthVal(result)
}
