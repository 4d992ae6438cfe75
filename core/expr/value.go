package expr

import (
	"encoding/json"
	"fmt"
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
)

// Value is null, a bool, a number, a string, a list or an object. The zero Value is null. A list or object may still be
// JSON text, and is then read only as far as somebody asks.
//
// A Value is read-only and safe for concurrent use. It may share the JSON bytes it was made from: these must not change
// while it is in use, and they stay in memory as long as it does. [Value.Own] gives one that shares nothing.
type Value struct {
	kind Kind
	form form
	exp  int32  // of a number
	num  int64  // of a number: its coefficient; of a bool: 0 or 1
	str  string // the text of a string, the JSON of a raw value
	ref  any    // *big.Int, *list, *object or Fields
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
