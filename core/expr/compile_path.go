package expr

import (
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// step is one part of a path after its root.
type step struct {
	name  string // of an attribute, or the index as the key of an object
	key   Value  // the index
	index bool
}

func (c *compiler) traversal(e *hclsyntax.ScopeTraversalExpr) node {
	if table, name, rest, ok := c.tableOf(e); ok {
		return c.tableTraversal(table, name, rest, e.SrcRange)
	}
	root := e.Traversal.RootName()
	for i := len(c.locals) - 1; i >= 0; i-- {
		if c.locals[i].name == root {
			return c.steps(c.local(i, e.SrcRange), e.Traversal[1:], e.SrcRange)
		}
	}
	if v, ok := c.env.Constants[root]; ok {
		n := constant(v)
		n.path = []string{root}
		return c.steps(n, e.Traversal[1:], e.SrcRange)
	}
	shape, ok := c.env.Roots[root]
	if !ok {
		c.errorf(e.Traversal[0].SourceRange(), "Unknown name", "In this place %s",
			sentence(unknown("name", root, c.names(), "there are")))
		return broken()
	}
	n := node{
		eval:   func(s *Scope) Value { return s.root(root) },
		shape:  shape,
		outer:  true,
		lowest: math.MaxInt,
		path:   []string{root},
	}
	if len(e.Traversal) == 1 {
		c.scans(n.path, e.SrcRange)
		return c.record(n, e.SrcRange)
	}
	steps, n, ok := c.resolve(n, e.Traversal[1:])
	if !ok {
		return broken()
	}
	n.eval = func(s *Scope) Value { return s.walk(s.root(root), steps) }
	if at, ok := c.env.Index.place(root, steps); ok {
		c.places = append(c.places, at)
		n.eval = at.eval(root, steps, len(steps)-len(at.names))
	} else {
		c.scans(n.path, e.SrcRange)
	}
	return c.record(n, e.SrcRange)
}

// eval reads the place: from the document, where it has looked for it, and else from the root. The steps from the
// given one on lead from the text's root to the place.
func (p place) eval(root string, steps []step, from int) evalFunc {
	slot := int32(p.slot)
	names := int32(len(p.names))
	return func(s *Scope) Value {
		d := s.document
		if d == nil || d.plan == nil || d.plan.index != p.index || int(slot) >= len(d.found) {
			return s.walk(s.root(root), steps)
		}
		f := &d.found[slot]
		switch {
		case f.generation != d.generation:
			if d.plan.covers(slot) {
				return Value{}
			}
			return s.walk(s.root(root), steps)
		case f.decoded && f.taken == names:
			return f.value
		}
		return s.found(f, slot, steps[from:])
	}
}

// found decodes what a document has found, and goes on from there.
func (s *Scope) found(f *found, slot int32, steps []step) Value {
	v := f.value
	if !f.decoded {
		v = s.document.decode(f, slot)
		if cost := v.decodeCost(); cost > 0 && !s.spend(cost) {
			return Value{}
		}
	}
	return s.walk(v, steps[f.taken:])
}

func (c *compiler) local(place int, at hcl.Range) node {
	l := c.locals[place]
	n := node{
		eval:   func(s *Scope) Value { return s.locals[place] },
		shape:  l.shape,
		lowest: place,
		path:   l.path,
	}
	return c.record(n, at)
}

// steps follows a path from a part that is already compiled.
func (c *compiler) steps(from node, rest hcl.Traversal, at hcl.Range) node {
	if len(rest) == 0 {
		return from
	}
	steps, n, ok := c.resolve(from, rest)
	if !ok {
		return broken()
	}
	eval := from.eval
	shape, path := n.shape, n.path
	n = c.combine(shape, func(s *Scope) Value { return s.walk(eval(s), steps) }, from)
	if n.constant {
		return n
	}
	n.path, n.recorded = path, from.recorded
	c.scans(path, at)
	return c.record(n, at)
}

// resolve finds shape and path of what the steps lead to; false is a name that is not there.
func (c *compiler) resolve(n node, rest hcl.Traversal) ([]step, node, bool) {
	n.path = slices.Clone(n.path)
	steps := make([]step, 0, len(rest))
	for _, t := range rest {
		var st step
		switch t := t.(type) {
		case hcl.TraverseAttr:
			st.name = normal(t.Name)
		case hcl.TraverseIndex:
			st.index = true
			st.key, _ = literalValue(t.Key)
			st.name, _ = keyText(st.key)
		default:
			c.errorf(t.SourceRange(), "Not an expression", "This cannot be used in an expression.")
			return nil, n, false
		}
		shape, names, err := follow(n.shape, st, strings.Join(n.path, "."))
		if err != nil {
			c.errorf(t.SourceRange(), "Unknown field", "Here %s", sentence(err))
			return nil, n, false
		}
		n.shape = shape
		if n.path != nil {
			n.path = append(n.path, names...)
		}
		steps = append(steps, st)
	}
	return steps, n, true
}

// follow is the shape behind one step, and the step as names of a Path.
func follow(shape *Shape, st step, of string) (*Shape, []string, error) {
	if of == "" {
		of = "the value"
	}
	if st.index {
		if shape.kind() == ListKind || st.key.kind != StringKind {
			return shape.elem(), []string{"*"}, nil
		}
		next, err := shape.attr(st.key.str, of)
		return next, []string{st.key.str}, err
	}
	next, err := shape.attr(st.name, of)
	if shape.kind() == ListKind {
		return next, []string{"*", st.name}, err
	}
	return next, []string{st.name}, err
}

func (c *compiler) index(e *hclsyntax.IndexExpr) node {
	if table, name, rest, ok := c.tableOf(e.Collection); ok {
		if table == nil || len(rest) == 0 {
			return c.row(table, c.expr(e.Key), e.Key.Range())
		}
		return c.indexOf(e, c.tableTraversal(table, name, rest, e.Collection.Range()))
	}
	return c.indexOf(e, c.expr(e.Collection))
}

func (c *compiler) indexOf(e *hclsyntax.IndexExpr, collection node) node {
	key := c.expr(e.Key)
	c.require(collection, listKind|objectKind, e.Collection.Range(), "An index")
	c.require(key, stringKind|numberKind|boolKind, e.Key.Range(), "An index")
	of, at := collection.eval, key.eval
	n := c.combine(collection.shape.elem(), func(s *Scope) Value { return s.index(of(s), at(s)) }, collection, key)
	if n.constant || collection.path == nil {
		return n
	}
	n.path, n.recorded = append(slices.Clone(collection.path), "*"), collection.recorded
	c.scans(n.path, e.SrcRange)
	return c.record(n, e.SrcRange)
}

// record notes the path that n reads, in place of the shorter one it goes on from.
func (c *compiler) record(n node, at hcl.Range) node {
	if n.path == nil {
		return n
	}
	if n.recorded > 0 {
		c.paths[n.recorded-1] = Path{}
	}
	c.paths = append(c.paths, Path{Names: n.path, Range: at})
	n.recorded = len(c.paths)
	return n
}

func (c *compiler) recorded() []Path {
	paths := slices.DeleteFunc(c.paths, func(p Path) bool {
		if len(p.Names) == 0 {
			return true
		}
		_, known := c.env.Constants[p.Names[0]]
		return known
	})
	slices.SortStableFunc(paths, func(a, b Path) int { return slices.Compare(a.Names, b.Names) })
	return slices.CompactFunc(paths, func(a, b Path) bool { return slices.Equal(a.Names, b.Names) })
}

func (s *Scope) walk(v Value, steps []step) Value {
	for len(steps) > 0 && v.kind != NullKind {
		if steps[0].index {
			v = s.index(v, steps[0].key)
		} else {
			v = s.attr(v, steps[0].name)
		}
		steps = steps[1:]
	}
	return v
}

func (s *Scope) index(v, key Value) Value {
	switch v.kind {
	case ListKind:
		i, ok := key.Int()
		if !ok || i < 0 || i > math.MaxInt32 {
			return Value{}
		}
		if v.form == raw {
			found, cost := rawIndex(v.str, int(i))
			s.spend(cost)
			return found
		}
		return v.Index(int(i))
	case ObjectKind:
		if name, ok := keyText(key); ok {
			return s.attr(v, name)
		}
	}
	return Value{}
}

// keyText is a value as the key of an object: 1 and 1.0 are both "1".
func keyText(v Value) (string, bool) {
	switch v.kind {
	case StringKind:
		return v.str, true
	case NumberKind:
		return v.decimal().String(), true
	case BoolKind:
		if v.num == 1 {
			return "true", true
		}
		return "false", true
	}
	return "", false
}
