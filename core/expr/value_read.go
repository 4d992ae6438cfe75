package expr

import (
	"iter"
	"slices"
	"strings"
)

// Kind is what the value is.
func (v Value) Kind() Kind { return v.kind }

// IsNull is true of null alone.
func (v Value) IsNull() bool { return v.kind == NullKind }

// Truth of a bool; of everything else it is Null.
func (v Value) Truth() Truth {
	if v.kind != BoolKind {
		return Null
	}
	if v.num == 1 {
		return True
	}
	return False
}

// small is a number that is its coefficient.
func (v *Value) small() (int64, bool) {
	return v.num, v.kind == NumberKind && v.exp == 0 && v.ref == nil
}

// Int is a whole number that fits.
func (v Value) Int() (int64, bool) {
	if v.kind != NumberKind {
		return 0, false
	}
	return v.decimal().int64()
}

// Fixed is the number times 10^places as a whole number, rounded half away from zero: Fixed(2) counts hundredths.
func (v Value) Fixed(places int) (int64, bool) {
	if v.kind != NumberKind || places < 0 || places > 18 {
		return 0, false
	}
	d, ok := v.decimal().round(int32(places), halfAway)
	if !ok {
		return 0, false
	}
	d, ok = d.mul(decimal{coef: pow10(places).Int64()})
	if !ok {
		return 0, false
	}
	return d.int64()
}

// Float is the number as the nearest float64.
func (v Value) Float() (float64, bool) {
	if v.kind != NumberKind {
		return 0, false
	}
	return v.decimal().float(), true
}

// Str is the text of a string; it shares nothing.
func (v Value) Str() (string, bool) {
	if v.kind != StringKind {
		return "", false
	}
	if v.form == borrowed {
		return strings.Clone(v.str), true
	}
	return v.str, true
}

// Len counts the elements of a list or the fields of an object; of everything else it is 0.
func (v Value) Len() int {
	switch ref := v.ref.(type) {
	case *list:
		return len(ref.items)
	case *object:
		return len(ref.keys)
	}
	n := 0
	switch v.kind {
	case ListKind:
		for range v.Items() {
			n++
		}
	case ObjectKind:
		for range v.Fields() {
			n++
		}
	}
	return n
}

// Index is the i-th element of a list, from 0, or null.
func (v Value) Index(i int) Value {
	if v.kind != ListKind || i < 0 {
		return Value{}
	}
	if l, ok := v.ref.(*list); ok {
		if i < len(l.items) {
			return l.items[i]
		}
		return Value{}
	}
	found, _ := rawIndex(v.str, i)
	return found
}

// Attr is the field of that name, or null. Of a list it is the list of what its elements have.
func (v Value) Attr(name string) Value {
	found, _ := v.attr(normal(name))
	return found
}

// attr also says what it cost, in bytes looked at or what is alike.
func (v Value) attr(name string) (Value, int) {
	switch v.kind {
	case ObjectKind:
		if v.form == raw {
			return rawAttr(v.str, name)
		}
		switch ref := v.ref.(type) {
		case *object:
			if i, ok := slices.BinarySearch(ref.keys, name); ok {
				return ref.values[i], 0
			}
		case Fields:
			return ref.Field(name), 0
		}
	case ListKind:
		return v.splat(name)
	}
	return Value{}, 0
}

// decodeCost is what making a string out of its JSON has cost, beside finding it.
func (v Value) decodeCost() int {
	switch {
	case v.kind != StringKind:
		return 0
	case v.form == borrowed:
		return len(v.str) / 8
	}
	return 16 * len(v.str)
}

func (v Value) splat(name string) (Value, int) {
	var items []Value
	cost := len(v.str)
	for item := range v.Items() {
		found, n := item.attr(name)
		items = append(items, found)
		if cost += n + itemCost; len(items) > maxItems || cost > maxWork {
			return Value{}, cost
		}
	}
	return List(items), cost
}

// Items are the elements of a list; everything else has none.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.kind != ListKind {
			return
		}
		if l, ok := v.ref.(*list); ok {
			for _, item := range l.items {
				if !yield(item) {
					return
				}
			}
			return
		}
		rawItems(v.str, yield)
	}
}

// Fields are the fields of an object in order of their names; everything else has none.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.kind != ObjectKind {
			return
		}
		if f, ok := v.ref.(Fields); ok {
			for _, name := range f.Names() {
				if !yield(name, f.Field(name)) {
					return
				}
			}
			return
		}
		o := v.fields()
		for i, key := range o.keys {
			if !yield(key, o.values[i]) {
				return
			}
		}
	}
}

func (v Value) fields() *object {
	if o, ok := v.ref.(*object); ok {
		return o
	}
	b := builder{}
	if v.form == raw {
		rawFields(v.str, func(key string, field Value) { b.add(key, field) })
	} else {
		for key, field := range v.Fields() {
			b.add(key, field)
		}
	}
	return b.object().ref.(*object)
}

// Leaves are the value itself or, of a list, its elements, nested lists opened and nulls left out.
func (v Value) Leaves() iter.Seq[Value] {
	return func(yield func(Value) bool) { v.leaves(yield) }
}

func (v Value) leaves(yield func(Value) bool) bool {
	switch v.kind {
	case NullKind:
		return true
	case ListKind:
		for item := range v.Items() {
			if !item.leaves(yield) {
				return false
			}
		}
		return true
	}
	return yield(v)
}

// Equal compares as == does outside of ignore and protect: numbers by value, lists and objects in depth.
func (v Value) Equal(o Value) bool { return equal(v, o, false) == True }

// Own is the value, sharing nothing with the JSON text it came from.
func (v Value) Own() Value {
	switch v.form {
	case borrowed:
		v.str = strings.Clone(v.str)
		v.form = held
		return v
	case raw:
		return Value{kind: v.kind, form: raw, str: strings.Clone(v.str)}
	}
	switch ref := v.ref.(type) {
	case *list:
		items := make([]Value, len(ref.items))
		for i := range items {
			items[i] = ref.items[i].Own()
		}
		return List(items)
	case *object, Fields:
		b := builder{}
		for key, field := range v.Fields() {
			b.add(strings.Clone(key), field.Own())
		}
		return b.object()
	}
	return v
}

// MarshalJSON writes the value with sorted keys and each number in one form, so that equal values give equal bytes.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil, noLimit), nil }

// UnmarshalJSON takes what [CheckJSON] accepts.
func (v *Value) UnmarshalJSON(text []byte) error {
	if err := CheckJSON(text); err != nil {
		return err
	}
	*v = JSON(slices.Clone(text))
	return nil
}

func (v Value) String() string { return string(v.appendJSON(nil, noLimit)) }
