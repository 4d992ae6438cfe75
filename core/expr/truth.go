package expr

// Truth is what a condition says: true, false, or null where it cannot say.
type Truth uint8

// The three truths. The zero Truth is Null.
const (
	Null Truth = iota
	False
	True
)

func (t Truth) String() string { return [...]string{"null", "false", "true"}[t] }

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (t Truth) value() Value {
	if t == Null {
		return Value{}
	}
	return Bool(t == True)
}

func (t Truth) not() Truth {
	switch t {
	case True:
		return False
	case False:
		return True
	}
	return Null
}

// equal is ==. Where strict, a null says nothing: neither that two values are equal nor that they differ.
func equal(a, b Value, strict bool) Truth {
	if a.kind == NullKind || b.kind == NullKind {
		if strict {
			return Null
		}
		return truth(a.kind == b.kind)
	}
	if a.kind != b.kind {
		return False
	}
	switch a.kind {
	case NumberKind:
		return truth(a.decimal().equal(b.decimal()))
	case StringKind:
		return truth(a.str == b.str)
	case ListKind:
		return equalLists(a, b, strict)
	case ObjectKind:
		return equalObjects(a, b, strict)
	}
	return truth(a.num == b.num)
}

func equalLists(a, b Value, strict bool) Truth {
	if a.Len() != b.Len() {
		return False
	}
	result := True
	next := itemReader(b)
	for x := range a.Items() {
		switch equal(x, next(), strict) {
		case False:
			return False
		case Null:
			result = Null
		}
	}
	return result
}

// itemReader returns the list's elements one after the other.
func itemReader(v Value) func() Value {
	var items []Value
	if l, ok := v.ref.(*list); ok {
		items = l.items
	} else {
		for item := range v.Items() {
			items = append(items, item)
		}
	}
	return func() Value {
		item := items[0]
		items = items[1:]
		return item
	}
}

func equalObjects(a, b Value, strict bool) Truth {
	x, y := a.fields(), b.fields()
	if len(x.keys) != len(y.keys) {
		return False
	}
	result := True
	for i, key := range x.keys {
		if y.keys[i] != key {
			return False
		}
		switch equal(x.values[i], y.values[i], strict) {
		case False:
			return False
		case Null:
			result = Null
		}
	}
	return result
}
