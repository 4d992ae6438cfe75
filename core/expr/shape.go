package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// Shape is what is known of a value when an expression is compiled. A nil Shape, or one of the zero Kind, is free-form:
// every path below it is allowed. So is an object without Fields and a list without Elem.
type Shape struct {
	Kind   Kind
	Doc    string            // one line for the reference
	Fields map[string]*Shape // of an object: these and no others
	Elem   *Shape            // of a list
}

// Env is what an expression is compiled against. Its maps must not change while Compile runs.
type Env struct {
	// Roots are the names that a Scope gives a value for each evaluation.
	Roots map[string]*Shape
	// Constants are names whose value is known now, such as var and local; what reads nothing else is evaluated once.
	Constants map[string]Value
	// Tables by name, read as table.NAME[KEY].
	Tables map[string]Table
	// Functions are further functions. They are called while compiling, with arguments known by then; their error
	// becomes a diagnostic at the call.
	Functions map[string]func(args []Value) (Value, error)
	// Strict is for ignore and protect: == and != with a null operand are null, save a comparison with the literal
	// null; and so is ?: with a null condition, and a for expression with a null if.
	Strict bool
	// Index numbers what is read of the text that it is of; nil: such a text is read from its root each time.
	Index *Index
	// Want is the kind that the result must have; a result known to have another is an error. Zero asks nothing.
	Want Kind
}

// Path is one thing that an expression reads: a root and the names below it, "*" where all or unknown parts of a list
// or object are read.
type Path struct {
	Names []string
	Range hcl.Range
}

func (p Path) String() string { return strings.Join(p.Names, ".") }

func article(k Kind) string {
	if k == ObjectKind {
		return "an object"
	}
	return "a " + k.String()
}

func (sh *Shape) kind() Kind {
	if sh == nil {
		return NullKind
	}
	return sh.Kind
}

// attr is the shape of a field; the error says why there can be none.
func (sh *Shape) attr(name, of string) (*Shape, error) {
	switch sh.kind() {
	case NullKind:
		return nil, nil
	case ObjectKind:
		if sh.Fields == nil {
			return nil, nil
		}
		field, ok := sh.Fields[name]
		if !ok {
			return nil, unknown("field", name, slices.Collect(maps.Keys(sh.Fields)), of+" has")
		}
		return field, nil
	case ListKind:
		elem, err := sh.Elem.attr(name, of+"[*]")
		return &Shape{Kind: ListKind, Elem: elem}, err
	}
	return nil, fmt.Errorf("%s is %s and has no fields", of, article(sh.Kind))
}

// elem is the shape of what a for expression or a splat gets one by one.
func (sh *Shape) elem() *Shape {
	if sh.kind() == ListKind {
		return sh.Elem
	}
	return nil
}

// shapeOf is the shape of a constant, so that a wrong name below it is found.
func shapeOf(v Value) *Shape {
	sh := &Shape{Kind: v.kind}
	if v.kind == ObjectKind {
		sh.Fields = map[string]*Shape{}
		for key, field := range v.Fields() {
			sh.Fields[key] = shapeOf(field)
		}
	}
	return sh
}

// unknown explains a name that is not there, by the nearest that is.
func unknown(what, name string, known []string, which string) error {
	slices.Sort(known)
	text := fmt.Sprintf("there is no %s %q", what, name)
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("%s; did you mean %q?", text, near)
	}
	if len(known) == 0 {
		return fmt.Errorf("%s", text)
	}
	if len(known) > 30 {
		known = append(known[:30:30], "…")
	}
	return fmt.Errorf("%s; %s: %s", text, which, strings.Join(known, ", "))
}

// sentence ends what an error says.
func sentence(err error) string {
	text := err.Error()
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

func nearest(name string, known []string) string {
	allowed := 1
	if len(name) > 3 {
		allowed = 1 + len(name)/4
	}
	best, distance := "", min(allowed+1, len(name))
	for _, candidate := range known {
		if d := levenshtein.Distance(name, candidate, nil); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}
