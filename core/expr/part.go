package expr

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Operator joins the parts of a condition.
type Operator string

// The operators that a condition is taken apart at. A part without one is a leaf.
const (
	Leaf Operator = ""
	And  Operator = "&&"
	Or   Operator = "||"
	Not  Operator = "!"
)

// Part of a condition: the whole, or an operand of it. It is safe for concurrent use, each user with a [Scope] of its own.
type Part struct {
	Op    Operator
	Range hcl.Range // without the brackets around it
	// Parts are the operands, in the order of writing: a && b && c has three.
	Parts []*Part
	// Reads are what a leaf reads, in the order of writing, each once; what a for expression binds itself is none of it.
	Reads []Read

	program *Program
}

// Read is one value that a leaf reads.
type Read struct {
	Name  string // as it is written: event.raw.alert.severity
	Range hcl.Range

	program *Program
}

// Parts takes a condition apart at its &&, || and !. The expression must be one that [Compile] accepts; otherwise the
// result is nil, with what is wrong.
func Parts(e hcl.Expression, env Env) (*Part, hcl.Diagnostics) {
	native, ok := e.(hclsyntax.Expression)
	if !ok {
		_, diags := Compile(e, env)
		return nil, diags
	}
	if _, diags := Compile(e, env); diags.HasErrors() { // which bounds how deep it is
		return nil, diags
	}
	env.Want = NullKind
	return part(native, env)
}

func part(e hclsyntax.Expression, env Env) (*Part, hcl.Diagnostics) {
	p := &Part{Range: e.Range()}
	var operands []hclsyntax.Expression
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return part(e.Expression, env)
	case *hclsyntax.UnaryOpExpr:
		if e.Op == hclsyntax.OpLogicalNot {
			p.Op, operands = Not, []hclsyntax.Expression{e.Val}
		}
	case *hclsyntax.BinaryOpExpr:
		switch e.Op {
		case hclsyntax.OpLogicalAnd:
			p.Op = And
		case hclsyntax.OpLogicalOr:
			p.Op = Or
		}
		if p.Op != Leaf {
			operands = operandsOf(e, e.Op)
		}
	}
	if p.Op == Leaf {
		return leaf(e, env)
	}
	for _, operand := range operands {
		inner, diags := part(operand, env)
		if diags.HasErrors() {
			return nil, diags
		}
		p.Parts = append(p.Parts, inner)
	}
	return p, nil
}

// operandsOf are those of a row of one operator: HCL's tree of a && b && c is (a && b) && c.
func operandsOf(e hclsyntax.Expression, op *hclsyntax.Operation) []hclsyntax.Expression {
	if row, ok := e.(*hclsyntax.BinaryOpExpr); ok && row.Op == op {
		return slices.Concat(operandsOf(row.LHS, op), operandsOf(row.RHS, op))
	}
	return []hclsyntax.Expression{e}
}

func leaf(e hclsyntax.Expression, env Env) (*Part, hcl.Diagnostics) {
	p := &Part{Range: e.Range()}
	var diags hcl.Diagnostics
	if p.program, diags = Compile(e, env); diags.HasErrors() {
		return nil, diags
	}
	for _, t := range e.Variables() {
		_, root := env.Roots[t.RootName()]
		_, constant := env.Constants[t.RootName()]
		name := written(t)
		if !root && !constant || slices.ContainsFunc(p.Reads, func(r Read) bool { return r.Name == name }) {
			continue
		}
		at := t.SourceRange()
		program, diags := Compile(&hclsyntax.ScopeTraversalExpr{Traversal: t, SrcRange: at}, env)
		if diags.HasErrors() {
			return nil, diags
		}
		p.Reads = append(p.Reads, Read{Name: name, Range: at, program: program})
	}
	return p, nil
}

// written is a traversal as it stands in the text.
func written(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(step.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + step.Name)
		case hcl.TraverseIndex:
			v, _ := literalValue(step.Key)
			b.WriteString("[" + v.String() + "]")
		}
	}
	return b.String()
}

// Finding is what a part of a condition said at one evaluation.
type Finding struct {
	Part  *Part
	Truth Truth
	// Values of the part's Reads. They hold as long as what the scope was given.
	Values []Value
	Parts  []Finding // of the part's Parts
	// Negated is of Reasons: it stands below an odd number of !.
	Negated bool
}

// Find evaluates every part, also those that the whole has no need of once the others are known.
func (p *Part) Find(s *Scope) Finding {
	f := Finding{Part: p}
	for _, inner := range p.Parts {
		f.Parts = append(f.Parts, inner.Find(s))
	}
	for _, r := range p.Reads {
		f.Values = append(f.Values, r.program.Eval(s))
	}
	switch p.Op {
	case Leaf:
		f.Truth = p.program.Truth(s)
	case Not:
		f.Truth = f.Parts[0].Truth.not()
	case And:
		f.Truth = joined(f.Parts, False, True)
	case Or:
		f.Truth = joined(f.Parts, True, False)
	}
	return f
}

// joined is the truth that decides if any part has it, else null if any part is, else the other.
func joined(parts []Finding, decides, other Truth) Truth {
	result := other
	for _, f := range parts {
		switch f.Truth {
		case decides:
			return decides
		case Null:
			result = Null
		}
	}
	return result
}

// Reasons are the leaves for which the whole is what it is, in the order of writing. If it is true: those that make it so.
// Otherwise all of which any would have to be another, for it to be true.
func (f Finding) Reasons() []Finding { return f.reasons(f.Truth == True, false) }

func (f Finding) reasons(grounds, negated bool) []Finding {
	f.Negated = negated
	want := truth(!negated)
	var all []Finding
	switch f.Part.Op {
	case Leaf:
		return []Finding{f}
	case Not:
		return f.Parts[0].reasons(grounds, !negated)
	}
	for _, inner := range f.Parts {
		if grounds && inner.Truth == f.Truth || !grounds && inner.Truth != want {
			all = append(all, inner.reasons(grounds, negated)...)
		}
	}
	return all
}

// Leaves are the part itself, or those below it, in the order of writing.
func (p *Part) Leaves() []*Part {
	if p.Op == Leaf {
		return []*Part{p}
	}
	var all []*Part
	for _, inner := range p.Parts {
		all = append(all, inner.Leaves()...)
	}
	return all
}

// Leaves are the finding itself, or those below it, in the order of writing.
func (f Finding) Leaves() []Finding {
	if f.Part.Op == Leaf {
		return []Finding{f}
	}
	var all []Finding
	for _, inner := range f.Parts {
		all = append(all, inner.Leaves()...)
	}
	return all
}
