package expr

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says what a [Value] is.
type Kind uint8

// The kinds. In a [Shape] the zero Kind means that nothing is known.
const (
	NullKind Kind = iota
	BoolKind
	NumberKind
	StringKind
	ListKind
	ObjectKind
)

func (k Kind) String() string {
	return [...]string{"null", "bool", "number", "string", "list", "object"}[k]
}

// form says how a value is held.
type form uint8

const (
	held     form = iota // in Go memory of its own
	borrowed             // a string that shares the bytes of a JSON text
	raw                  // a list or object that is still JSON text
	indexed              // a raw object, known to a Document
)

// Value is null, a bool, a number, a string, a list or an object. The zero Value is null. A list or object may still be
// JSON text, and is then read only as far as somebody asks.
//
// A Value is read-only and safe for concurrent use, except one that comes from a [Document]. It may share the JSON
// bytes it was made from: these must not change while it is in use, and they stay in memory as long as it does.
// [Value.Own] gives one that shares nothing.
type Value struct {
	kind Kind
	form form
	exp  int32  // of a number; generation of the Document of an indexed object
	num  int64  // of a number: its coefficient; of a bool: 0 or 1; of an indexed object: its place in the Document
	str  string // the text of a string, the JSON of a raw value
	ref  any    // *big.Int, *list, *object, Fields or *Document
}

type list struct{ items []Value }

// object has its keys in order.
type object struct {
	keys   []string
	values []Value
}

// Fields is an object that Go code provides field by field, so that nothing is built that no expression reads.
type Fields interface {
	// Field is null for a name that the object does not have.
	Field(name string) Value
	// Names are all names, sorted.
	Names() []string
}

// Bool makes a bool.
func Bool(b bool) Value {
	v := Value{kind: BoolKind}
	if b {
		v.num = 1
	}
	return v
}

// Int makes a number.
func Int(i int64) Value { return Value{kind: NumberKind, num: i} }

// Number makes a number from text in JSON's grammar. Other text, more than 40 digits or an exponent beyond 308 give
// null.
func Number(text string) Value { return number(parseDecimal(text)) }

// Float makes a number of the shortest decimal that stands for f; of NaN and the infinities it makes null.
func Float(f float64) Value { return Number(strconv.FormatFloat(f, 'g', -1, 64)) }

// String makes a string. Like HCL it brings the text into Unicode's form NFC, so that equal-looking texts are equal.
func String(s string) Value { return Value{kind: StringKind, str: normal(s)} }

// Time makes the text of t in RFC 3339, in UTC: the form in which expressions have times. The zero time is null.
func Time(t time.Time) Value {
	t = t.UTC()
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return Value{}
	}
	return Value{kind: StringKind, str: t.Format(time.RFC3339Nano)}
}

// List makes a list, which keeps the slice.
func List(items []Value) Value { return Value{kind: ListKind, ref: &list{items}} }

// Strings makes a list of strings.
func Strings[S ~string](items []S) Value {
	values := make([]Value, len(items))
	for i, s := range items {
		values[i] = String(string(s))
	}
	return List(values)
}

// Object makes an object. Of two names that are equal in NFC, the one that sorts first counts.
func Object(fields map[string]Value) Value {
	b := builder{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b.add(normal(name), fields[name])
	}
	return b.object()
}

// Record makes an object that f provides.
func Record(f Fields) Value { return Value{kind: ObjectKind, ref: f} }

// JSON makes a value of a JSON text without reading more of it than is asked for, and without copying it. Of a
// duplicate key the first counts. What is not JSON reads as null where that is noticed: [CheckJSON] says so
// beforehand. See [Document] for an object that many expressions read.
func JSON(text []byte) Value {
	v, _ := parseValue(view(text))
	return v
}

// From makes a value of Go's own types: nil, bool, numbers, strings, [time.Time], [json.Number], [json.RawMessage],
// and slices of any or string and string-keyed maps of them. It panics on another type.
func From(v any) Value {
	switch v := v.(type) {
	case nil:
		return Value{}
	case Value:
		return v
	case bool:
		return Bool(v)
	case int:
		return Int(int64(v))
	case int32:
		return Int(int64(v))
	case int64:
		return Int(v)
	case uint32:
		return Int(int64(v))
	case uint64:
		return Number(strconv.FormatUint(v, 10))
	case float64:
		return Float(v)
	case string:
		return String(v)
	case time.Time:
		return Time(v)
	case json.Number:
		return Number(v.String())
	case json.RawMessage:
		return JSON(v)
	case []Value:
		return List(v)
	case []string:
		return Strings(v)
	case []any:
		items := make([]Value, len(v))
		for i := range v {
			items[i] = From(v[i])
		}
		return List(items)
	case map[string]Value:
		return Object(v)
	case map[string]any:
		return fromMap(v)
	case map[string]string:
		return fromMap(v)
	case Fields:
		return Record(v)
	}
	panic(fmt.Sprintf("expr: no value can be made of a %T", v))
}

func fromMap[T any](m map[string]T) Value {
	fields := make(map[string]Value, len(m))
	for name, field := range m {
		fields[name] = From(field)
	}
	return Object(fields)
}

func number(d decimal, ok bool) Value {
	if !ok {
		return Value{}
	}
	v := Value{kind: NumberKind, num: d.coef, exp: d.exp}
	if d.wide != nil {
		v.ref = d.wide
	}
	return v
}

func (v Value) decimal() decimal {
	d := decimal{coef: v.num, exp: v.exp}
	if v.ref != nil {
		d.wide = v.ref.(*big.Int)
	}
	return d
}

// like makes a string cut from v's own, which therefore shares what v shares.
func (v Value) like(s string) Value {
	return Value{kind: StringKind, form: v.form, str: s}
}

// builder collects an object's fields in any order; of a repeated key the first counts.
type builder struct {
	keys   []string
	values []Value
}

func (b *builder) add(key string, v Value) {
	b.keys = append(b.keys, key)
	b.values = append(b.values, v)
}

func (b *builder) object() Value {
	order := make([]int, len(b.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(b.keys[i], b.keys[j]) })
	o := &object{keys: make([]string, 0, len(order)), values: make([]Value, 0, len(order))}
	for _, i := range order {
		if n := len(o.keys); n > 0 && o.keys[n-1] == b.keys[i] {
			continue
		}
		o.keys = append(o.keys, b.keys[i])
		o.values = append(o.values, b.values[i])
	}
	return Value{kind: ObjectKind, ref: o}
}

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

// document is what knows the object, as long as it is of the text that it knows.
func (v *Value) document() *Document {
	if v.form != indexed {
		return nil
	}
	if d := v.ref.(*Document); d.generation == v.exp {
		return d
	}
	return nil
}

// attr also says what it cost, in bytes looked at or what is alike.
func (v Value) attr(name string) (Value, int) {
	switch v.kind {
	case ObjectKind:
		if d := v.document(); d != nil {
			m, cost := d.find(int32(v.num), name)
			if m == nil {
				return Value{}, cost
			}
			found := d.value(m)
			return found, cost + found.decodeCost()
		}
		if v.form == raw || v.form == indexed {
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
	if v.form == raw || v.form == indexed {
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

// Own is the value, sharing nothing with the JSON text it came from, and free of a [Document].
func (v Value) Own() Value {
	switch v.form {
	case borrowed:
		v.str = strings.Clone(v.str)
		v.form = held
		return v
	case raw, indexed:
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

// MarshalJSON writes the value with sorted keys and numbers in full, so that equal values give equal bytes.
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
