package expr

import (
	"encoding/json"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

func attribute(v cty.Value, name string) cty.Value {
	switch {
	case isObject(v):
		if v.Type().HasAttribute(name) {
			return v.GetAttr(name)
		}
	case isTuple(v):
		var items []cty.Value
		for _, item := range v.AsValueSlice() {
			items = append(items, attribute(item, name))
		}
		return tuple(items)
	}
	return null
}

func element(v, key cty.Value) cty.Value {
	switch {
	case isTuple(v) && isNumber(key):
		i := ratOf(key)
		if i.IsInt() && i.Sign() >= 0 && i.Num().IsInt64() && i.Num().Int64() < int64(v.LengthInt()) {
			return v.Index(key)
		}
	case isObject(v):
		if name, ok := keyOf(key); ok {
			return attribute(v, name)
		}
	}
	return null
}

func keyOf(v cty.Value) (string, bool) {
	switch {
	case v.IsNull():
		return "", false
	case v.Type() == cty.String:
		return v.AsString(), true
	case v.Type() == cty.Number || v.Type() == cty.Bool:
		return textOf(v), true
	}
	return "", false
}

func isObject(v cty.Value) bool { return !v.IsNull() && v.Type().IsObjectType() }
func isTuple(v cty.Value) bool  { return !v.IsNull() && v.Type().IsTupleType() }
func isNumber(v cty.Value) bool { return !v.IsNull() && v.Type() == cty.Number }
func isString(v cty.Value) bool { return !v.IsNull() && v.Type() == cty.String }

func tuple(items []cty.Value) cty.Value {
	if len(items) > maxItems {
		return null
	}
	return cty.TupleVal(items)
}

func textOf(v cty.Value) string {
	if isString(v) {
		return v.AsString()
	}
	return fromCty(v).Text()
}

func stringVal(s string) cty.Value {
	if len(s) > maxText {
		return null
	}
	return cty.StringVal(s)
}

// truthOf is 1 for true, 0 for false and -1 for what says neither.
func truthOf(v cty.Value) int {
	switch {
	case v.IsNull() || v.Type() != cty.Bool:
		return -1
	case v.True():
		return 1
	}
	return 0
}

func truthVal(t int) cty.Value {
	if t < 0 {
		return null
	}
	return cty.BoolVal(t == 1)
}

func toCty(v Value) cty.Value {
	switch v.Kind() {
	case BoolKind:
		return cty.BoolVal(v.Truth() == True)
	case NumberKind:
		return numberVal(v.Text())
	case StringKind:
		return cty.StringVal(v.str)
	}
	switch {
	case v.form == raw:
		return decode(v.str)
	case v.Kind() == ListKind:
		var items []cty.Value
		for item := range v.Items() {
			items = append(items, toCty(item))
		}
		return cty.TupleVal(items)
	case v.Kind() == ObjectKind:
		fields := map[string]cty.Value{}
		for name, field := range v.Fields() {
			fields[name] = toCty(field)
		}
		return cty.ObjectVal(fields)
	}
	return null
}

// decode reads JSON with encoding/json; what that refuses is null.
func decode(text string) cty.Value {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return null
	}
	return v
}

func decodeValue(d *json.Decoder) (cty.Value, error) {
	token, err := d.Token()
	if err != nil {
		return null, err
	}
	switch t := token.(type) {
	case bool:
		return cty.BoolVal(t), nil
	case json.Number:
		return numberVal(t.String()), nil
	case string:
		return cty.StringVal(t), nil
	case json.Delim:
		if t == '[' {
			return decodeList(d)
		}
		return decodeObject(d)
	}
	return null, nil
}

func decodeList(d *json.Decoder) (cty.Value, error) {
	var items []cty.Value
	for d.More() {
		item, err := decodeValue(d)
		if err != nil {
			return null, err
		}
		items = append(items, item)
	}
	_, err := d.Token()
	return cty.TupleVal(items), err
}

func decodeObject(d *json.Decoder) (cty.Value, error) {
	fields := map[string]cty.Value{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return null, err
		}
		field, err := decodeValue(d)
		if err != nil {
			return null, err
		}
		name := cty.NormalizeString(key.(string))
		if _, twice := fields[name]; !twice {
			fields[name] = field
		}
	}
	_, err := d.Token()
	return cty.ObjectVal(fields), err
}

func fromCty(v cty.Value) Value {
	switch {
	case v.IsNull():
		return Value{}
	case v.Type() == cty.Bool:
		return Bool(v.True())
	case v.Type() == cty.Number:
		return Number(numberText(v))
	case v.Type() == cty.String:
		return String(v.AsString())
	case isTuple(v):
		return List(fromCtys(v.AsValueSlice()))
	}
	fields := map[string]Value{}
	for name, field := range v.AsValueMap() {
		fields[name] = fromCty(field)
	}
	return Object(fields)
}

func fromCtys(values []cty.Value) []Value {
	items := make([]Value, len(values))
	for i, v := range values {
		items[i] = fromCty(v)
	}
	return items
}
