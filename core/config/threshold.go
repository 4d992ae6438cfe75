package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// thresholds complains about comparisons of the score that can never be true.
func (p *parser) thresholds(e hclsyntax.Expression) {
	if e == nil {
		return
	}
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if op, ok := n.(*hclsyntax.BinaryOpExpr); ok {
			p.threshold(op)
		}
		return nil
	})
}

func (p *parser) threshold(op *hclsyntax.BinaryOpExpr) {
	field, limit, way := op.LHS, op.RHS, op.Op
	path := fieldPath(field)
	if path == "" {
		field, limit = op.RHS, op.LHS
		path = fieldPath(field)
		way = turned(way)
	}
	most, step := int64(10_000), int64(0)
	switch path {
	case "case.score.total", "case.score.upper":
		most, step = mostPoints(&p.config.Decide.Score), int64(p.config.Decide.Score.Round)*100
	case "case.severity":
	default:
		return
	}
	if most == 0 {
		return // the score is wrong, and that has been said
	}
	n, ok := p.fixed(limit)
	if !ok {
		return
	}
	never := false
	switch way {
	case hclsyntax.OpGreaterThan:
		never = n >= most
	case hclsyntax.OpGreaterThanOrEqual:
		never = n > most
	case hclsyntax.OpEqual:
		never = n > most || step > 0 && n%step != 0
	case hclsyntax.OpLessThan:
		never = n <= 0
	case hclsyntax.OpLessThanOrEqual:
		never = n < 0
	}
	if !never {
		return
	}
	why := "it is 0 to 100"
	if most < 10_000 {
		why = "with the weights of this score it is 0 to " + expr.Int(most/100).Text()
	}
	if step > 0 {
		why += ", in steps of " + expr.Int(step/100).Text()
	}
	p.errorf(op.Range(), "Threshold out of reach", "%s is never so: %s. Write a threshold inside of that.", path, why)
}

// fixed is a constant number in hundredths.
func (p *parser) fixed(e hclsyntax.Expression) (int64, bool) {
	before := len(p.diags)
	v, ok := p.constant(e)
	p.diags = p.diags[:before]
	if !ok || v.Kind() != expr.NumberKind {
		return 0, false
	}
	return v.Fixed(2)
}

// fieldPath is a traversal of names as it is written, or "".
func fieldPath(e hclsyntax.Expression) string {
	if wrapped, ok := e.(*hclsyntax.ParenthesesExpr); ok {
		return fieldPath(wrapped.Expression)
	}
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok {
		return ""
	}
	return pathOf(t.Traversal)
}

func pathOf(t hcl.Traversal) string {
	names := []string{t.RootName()}
	for _, step := range t[1:] {
		name, _ := stepName(step)
		names = append(names, name)
	}
	return strings.Join(names, ".")
}

// turned is an operation with its sides changed.
func turned(op *hclsyntax.Operation) *hclsyntax.Operation {
	switch op {
	case hclsyntax.OpGreaterThan:
		return hclsyntax.OpLessThan
	case hclsyntax.OpGreaterThanOrEqual:
		return hclsyntax.OpLessThanOrEqual
	case hclsyntax.OpLessThan:
		return hclsyntax.OpGreaterThan
	case hclsyntax.OpLessThanOrEqual:
		return hclsyntax.OpGreaterThanOrEqual
	}
	return op
}
