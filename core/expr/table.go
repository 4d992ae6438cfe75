package expr

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// tableRoot is the name under which expressions read tables: table.NAME[KEY].
const tableRoot = "table"

// Table is what an expression reads by a key. It is no value: there is nothing to do with it but to ask for a row.
type Table struct {
	// Row of a key, an object; null: there is none. It must be safe for concurrent use, give the same for the same key
	// for ever, and not keep the key, which may be a part of an event.
	Row func(key string) Value
	// Shape of a row; nil: free-form.
	Shape *Shape
}

// tableOf is the table that a traversal begins with, and the steps after its name; false is a traversal of something
// else.
func (c *compiler) tableOf(e hclsyntax.Expression) (table *Table, name string, rest hcl.Traversal, ok bool) {
	t, isTraversal := e.(*hclsyntax.ScopeTraversalExpr)
	if !isTraversal || t.Traversal.RootName() != tableRoot || c.hides(tableRoot) {
		return nil, "", nil, false
	}
	if len(t.Traversal) > 1 {
		if attr, isAttr := t.Traversal[1].(hcl.TraverseAttr); isAttr {
			if found, known := c.env.Tables[attr.Name]; known {
				return &found, attr.Name, t.Traversal[2:], true
			}
			c.errorf(attr.SrcRange, "Unknown table", "Here %s",
				sentence(unknown("table", attr.Name, slices.Collect(maps.Keys(c.env.Tables)), "there are")))
			return nil, "", nil, true
		}
	}
	c.errorf(t.SrcRange, "Not a value", "A table is read by a key: write table.NAME[KEY].")
	return nil, "", nil, true
}

// hides tells whether a name of the configuration's own stands where the compiler is: a local of a for expression, a
// root or a constant.
func (c *compiler) hides(name string) bool {
	_, root := c.env.Roots[name]
	_, constant := c.env.Constants[name]
	return root || constant || slices.ContainsFunc(c.locals, func(l local) bool { return l.name == name })
}

// tableTraversal compiles table.NAME["literal"].FIELD, and complains about a table without a key.
func (c *compiler) tableTraversal(table *Table, name string, rest hcl.Traversal, at hcl.Range) node {
	if table == nil {
		return broken()
	}
	if len(rest) == 0 {
		c.errorf(at, "Not a value", "A table is read by a key: write table.%s[KEY].COLUMN for what a row says, and has(table.%s[KEY]) for whether there is one.", name, name)
		return broken()
	}
	key, ok := rest[0].(hcl.TraverseIndex)
	if !ok {
		c.errorf(at, "Without a key", "Which row? A table is read by a key in brackets: write table.%s[KEY].COLUMN.", name)
		return broken()
	}
	v, _ := literalValue(key.Key)
	return c.steps(c.row(table, constant(v), key.SrcRange), rest[1:], at)
}

// row compiles the look-up of a key.
func (c *compiler) row(table *Table, key node, at hcl.Range) node {
	if table == nil {
		return broken()
	}
	c.require(key, stringKind|numberKind|boolKind, at, "The key of a table")
	eval := key.eval
	n := c.combine(table.Shape, func(s *Scope) Value { return s.row(table, eval(s)) }, key)
	n.shape = table.Shape // also of a row that is known not to be there, so that a wrong column is found
	return n
}

func (s *Scope) row(table *Table, key Value) Value {
	text, ok := keyText(key)
	if !ok || !s.spend(itemCost+len(text)) {
		return Value{}
	}
	return table.Row(text)
}

// table is what Reference makes of an expression that reads a table; false is another expression.
func (r *reference) table(e hclsyntax.Expression, ctx *hcl.EvalContext) (cty.Value, bool) {
	var key cty.Value
	traversal, rest := e, hcl.Traversal(nil)
	if index, ok := e.(*hclsyntax.IndexExpr); ok {
		traversal = index.Collection
	}
	t, ok := traversal.(*hclsyntax.ScopeTraversalExpr)
	if !ok || t.Traversal.RootName() != tableRoot || len(t.Traversal) < 2 || !variable(ctx, tableRoot).IsNull() {
		return null, false
	}
	name, _ := t.Traversal[1].(hcl.TraverseAttr)
	table, ok := r.env.Tables[name.Name]
	if !ok {
		return null, false
	}
	if index, ok := e.(*hclsyntax.IndexExpr); ok {
		key = r.eval(index.Key, ctx)
	} else if len(t.Traversal) > 2 {
		step, _ := t.Traversal[2].(hcl.TraverseIndex)
		v, _ := literalValue(step.Key)
		key, rest = toCty(v), t.Traversal[3:]
	}
	text, ok := keyOf(key)
	if !ok {
		return null, true
	}
	return follows(toCty(table.Row(text)), rest), true
}
