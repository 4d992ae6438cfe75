package expr

// What one evaluation may use. Work is counted in bytes read or written and what costs about as much.
const (
	maxText  = 1 << 20  // bytes of a text that an expression makes
	maxItems = 1 << 16  // elements of a list or fields of an object that it makes
	maxWork  = 64 << 20 // all that it does
	itemCost = 128      // of an element or a call
)

// Scope holds the values of an expression's roots for one evaluation, and the room it works in. It is meant to be used
// again and again by one goroutine, with any number of programs; after the first few evaluations it allocates nothing.
type Scope struct {
	names    []string
	values   []Value
	document *Document

	locals []Value // of for expressions and splats, by the place that Compile gave them
	stack  []Value // arguments of the calls that are being prepared

	strict   bool
	work     int
	exceeded bool
}

// Set gives the root of that name its value. A root that is not set is null.
func (s *Scope) Set(root string, v Value) {
	for i, name := range s.names {
		if name == root {
			s.values[i] = v
			return
		}
	}
	s.names = append(s.names, root)
	s.values = append(s.values, v)
}

// SetDocument gives the text that programs compiled with an [Index] read; nil takes it away. What the document does not
// know, because its plan is not for the program or it has none, is read from the root all the same.
func (s *Scope) SetDocument(d *Document) { s.document = d }

// Exceeded says that the latest evaluation was given up, with the result null, because it would have taken too much
// work: some tenths of a second at most. Whoever must not miss what the expression says looks here.
func (s *Scope) Exceeded() bool { return s.exceeded }

func (s *Scope) begin(locals int, strict bool) {
	s.work, s.exceeded, s.strict = maxWork, false, strict
	s.stack = s.stack[:0]
	if len(s.locals) < locals {
		s.locals = append(s.locals, make([]Value, locals-len(s.locals))...)
	}
}

// spend counts work; false says to give up.
func (s *Scope) spend(n int) bool {
	s.work -= n
	if s.work < 0 {
		s.exceeded = true
	}
	return !s.exceeded
}

// spendDeep counts reading all of v, which may hold the same part many times over.
func (s *Scope) spendDeep(v Value) bool {
	switch v.kind {
	case StringKind:
		return s.spend(len(v.str))
	case ListKind, ObjectKind:
	default:
		return s.spend(8)
	}
	if v.form == raw {
		// Each level of a raw value is passed over before what is in it is read.
		return s.spend(len(v.str)) && s.spend((8+nesting(v.str))*len(v.str))
	}
	if !s.spend(itemCost) {
		return false
	}
	for item := range v.Items() {
		if !s.spendDeep(item) {
			return false
		}
	}
	for _, field := range v.Fields() {
		if !s.spendDeep(field) {
			return false
		}
	}
	return true
}

func (s *Scope) equal(a, b Value) Truth {
	if a.kind == b.kind && a.kind >= StringKind && !(s.spendDeep(a) && s.spendDeep(b)) {
		return Null
	}
	return equal(a, b, s.strict)
}

func (s *Scope) root(name string) Value {
	for i := range s.names {
		if s.names[i] == name {
			return s.values[i]
		}
	}
	return Value{}
}

func (s *Scope) attr(v Value, name string) Value {
	found, cost := v.attr(name)
	if cost > 0 && !s.spend(cost) {
		return Value{}
	}
	return found
}

// text makes a string of bytes that nothing else uses.
func (s *Scope) text(b []byte) Value {
	if len(b) > maxText || !s.spend(len(b)) {
		return Value{}
	}
	return Value{kind: StringKind, str: normal(view(b))}
}

func (s *Scope) list(items []Value) Value {
	if len(items) > maxItems || !s.spend(len(items)*itemCost) {
		return Value{}
	}
	return List(items)
}

// items are a list's elements, read in full; false says that they are too many.
func (s *Scope) items(v Value) ([]Value, bool) {
	if l, ok := v.ref.(*list); ok {
		return l.items, s.spend(len(l.items))
	}
	if !s.spend(len(v.str)) {
		return nil, false
	}
	var items []Value
	for item := range v.Items() {
		if items = append(items, item); !s.spend(itemCost) {
			return nil, false
		}
	}
	return items, true
}

// fields are an object's fields, read in full; false says that they are too many.
func (s *Scope) fields(v Value) (*object, bool) {
	if o, ok := v.ref.(*object); ok {
		return o, s.spend(len(o.keys))
	}
	if !s.spend(8 * len(v.str)) {
		return nil, false
	}
	return v.fields(), true
}
