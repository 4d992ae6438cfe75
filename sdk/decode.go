package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode fills the struct that config points to from a JSON object, by the schema that
// Schema derives from it: what is unknown, missing or of another type is complained
// about, with its path. Null is as good as absent. Empty data is an empty object.
// What is filled where there are complaints is not to be used.
func Decode(data []byte, config any) []Diagnostic {
	b, err := bodyOf(config)
	if err != nil {
		return []Diagnostic{{Summary: "wrong configuration struct", Detail: err.Error()}}
	}
	tree, complaint := parseObject(data)
	if complaint != nil {
		return []Diagnostic{*complaint}
	}
	return b.decode(tree, config)
}

// parseObject reads the JSON object of a block.
func parseObject(data []byte) (map[string]any, *Diagnostic) {
	if len(data) == 0 {
		return nil, nil
	}
	value, err := parseJSON(data)
	if err != nil {
		return nil, &Diagnostic{Summary: "the configuration is no JSON", Detail: err.Error()}
	}
	tree, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, &Diagnostic{Summary: "the configuration must be a JSON object, not " + nameOf(value)}
	}
	return tree, nil
}

func (b *body) decode(tree map[string]any, config any) []Diagnostic {
	if config == nil {
		config = &struct{}{}
	}
	d := decoder{}
	d.body(b, tree, reflect.ValueOf(config).Elem(), nil)
	return d.diagnostics
}

// check says whether an attribute takes a value.
func (f *field) check(value any) error {
	d := decoder{}
	d.value(f, f.typ, value, reflect.Value{}, nil)
	if len(d.diagnostics) > 0 {
		return d.diagnostics[0]
	}
	return nil
}

type decoder struct {
	diagnostics []Diagnostic
}

func (d *decoder) complain(path []string, format string, args ...any) {
	d.diagnostics = append(d.diagnostics, Diagnostic{
		Path: slices.Clone(path), Summary: fmt.Sprintf(format, args...),
	})
}

func (d *decoder) body(b *body, tree map[string]any, into reflect.Value, path []string) {
	known := make(map[string]bool, len(b.fields))
	for i := range b.fields {
		f := &b.fields[i]
		known[f.name] = true
		value, name := tree[f.name], f.name
		if f.renamedFrom != "" {
			known[f.renamedFrom] = true
			if old := tree[f.renamedFrom]; old != nil {
				name = f.renamedFrom
				value = d.renamed(f, value, old, path)
			}
		}
		d.field(f, value, into.FieldByIndex(f.index), append(path, name))
	}
	names := make([]string, 0, len(tree))
	for name := range tree {
		if !known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		d.complain(append(path, name), "there is no attribute or block %q here", name)
	}
}

// renamed takes the value under the older name, unless there is one under both.
func (d *decoder) renamed(f *field, value, old any, path []string) any {
	if value != nil {
		d.complain(append(path, f.renamedFrom), "%q is the older name of %q: give one of them", f.renamedFrom, f.name)
		return value
	}
	d.diagnostics = append(d.diagnostics, Diagnostic{
		Path:    append(slices.Clone(path), f.renamedFrom),
		Summary: fmt.Sprintf("%q is now %q", f.renamedFrom, f.name),
		Warning: true,
	})
	return old
}

func (d *decoder) field(f *field, value any, into reflect.Value, path []string) {
	into.SetZero()
	if value == nil {
		if f.required {
			what := "attribute"
			if f.block != nil {
				what = "block"
			}
			d.complain(path, "the %s %q is missing", what, f.name)
			return
		}
		f.fill(into)
		return
	}
	if f.deprecated != "" {
		d.diagnostics = append(d.diagnostics, Diagnostic{
			Path: slices.Clone(path), Summary: fmt.Sprintf("%q is deprecated", f.name), Detail: f.deprecated, Warning: true,
		})
	}
	if f.block == nil {
		d.value(f, f.typ, value, into, path)
		return
	}
	d.blocks(f, value, into, path)
}

// fill gives an absent field its default, and an absent block those of its attributes.
func (f *field) fill(into reflect.Value) {
	if f.fallback != nil {
		d := decoder{}
		d.value(f, f.typ, f.fallback, into, nil)
	}
	if f.nesting == single && into.Kind() == reflect.Struct {
		for i := range f.block.fields {
			inner := &f.block.fields[i]
			inner.fill(into.FieldByIndex(inner.index))
		}
	}
}

func (d *decoder) blocks(f *field, value any, into reflect.Value, path []string) {
	switch f.nesting {
	case single:
		d.block(f, value, into, path)
	case list:
		values, ok := value.([]any)
		if !ok {
			d.complain(path, "%q must be a list of blocks, not %s", f.name, nameOf(value))
			return
		}
		if f.required && len(values) == 0 {
			d.complain(path, "the block %q is missing", f.name)
		}
		into.Set(reflect.MakeSlice(into.Type(), len(values), len(values)))
		for i, value := range values {
			d.block(f, value, into.Index(i), append(path, strconv.Itoa(i)))
		}
	case labelled:
		values, ok := value.(map[string]any)
		if !ok {
			d.complain(path, "%q must be blocks with a label each, not %s", f.name, nameOf(value))
			return
		}
		if f.required && len(values) == 0 {
			d.complain(path, "the block %q is missing", f.name)
		}
		into.Set(reflect.MakeMapWithSize(into.Type(), len(values)))
		for _, label := range sortedKeys(values) {
			element := reflect.New(into.Type().Elem()).Elem()
			d.block(f, values[label], element, append(path, label))
			into.SetMapIndex(reflect.ValueOf(label).Convert(into.Type().Key()), element)
		}
	}
}

func (d *decoder) block(f *field, value any, into reflect.Value, path []string) {
	tree, ok := value.(map[string]any)
	if !ok {
		d.complain(path, "%q must be a block, not %s", f.name, nameOf(value))
		return
	}
	d.body(f.block, tree, settable(into), path)
}

// settable follows a pointer, and makes what it points to.
func settable(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return v.Elem()
	}
	return v
}

// value decodes one value; into may be the zero Value, to check only.
func (d *decoder) value(f *field, t *valueType, value any, into reflect.Value, path []string) {
	if into.IsValid() {
		into = settable(into)
	}
	switch t.kind {
	case stringKind, pathKind:
		text, ok := value.(string)
		if !ok {
			d.mismatch(f, t, value, path)
			return
		}
		if len(f.oneOf) > 0 && !slices.Contains(f.oneOf, text) {
			d.complain(path, "%q must be one of %s", f.name, quoteAll(f.oneOf))
			return
		}
		if into.IsValid() {
			into.SetString(text)
		}
	case boolKind:
		truth, ok := value.(bool)
		if !ok {
			d.mismatch(f, t, value, path)
		} else if into.IsValid() {
			into.SetBool(truth)
		}
	case integerKind, numberKind:
		d.number(f, t, value, into, path)
	case durationKind:
		text, ok := value.(string)
		if !ok {
			d.mismatch(f, t, value, path)
			return
		}
		length, err := ParseDuration(text)
		if err != nil {
			d.complain(path, "%q: %v", f.name, err)
		} else if into.IsValid() {
			into.SetInt(int64(length))
		}
	case listKind:
		d.list(f, t, value, into, path)
	case mapKind:
		d.mapping(f, t, value, into, path)
	case anyKind:
		if into.IsValid() && value != nil {
			into.Set(reflect.ValueOf(plain(value)))
		}
	}
}

func (d *decoder) number(f *field, t *valueType, value any, into reflect.Value, path []string) {
	number, ok := value.(json.Number)
	if !ok {
		d.mismatch(f, t, value, path)
		return
	}
	if t.kind == numberKind {
		n, err := strconv.ParseFloat(string(number), 64)
		if err != nil {
			d.complain(path, "%q is too large a number", f.name)
		} else if into.IsValid() {
			into.SetFloat(n)
		}
		return
	}
	n, err := integer(string(number))
	switch {
	case err != nil:
		d.complain(path, "%q: %v", f.name, err)
	case !into.IsValid():
	case into.CanInt() && !into.OverflowInt(n):
		into.SetInt(n)
	case into.CanUint() && n >= 0 && !into.OverflowUint(uint64(n)):
		into.SetUint(uint64(n))
	default:
		d.complain(path, "%q cannot be %d", f.name, n)
	}
}

// integer reads a JSON number that has no fraction, also as 1e3 or 5.0.
func integer(number string) (int64, error) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return n, nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err == nil && n != math.Trunc(n) {
		return 0, errors.New("must be a whole number")
	}
	if err != nil || math.Abs(n) > 1<<53 {
		return 0, errors.New("too large a number")
	}
	return int64(n), nil
}

func (d *decoder) list(f *field, t *valueType, value any, into reflect.Value, path []string) {
	values, ok := value.([]any)
	if !ok {
		d.mismatch(f, t, value, path)
		return
	}
	var element reflect.Value
	if into.IsValid() {
		into.Set(reflect.MakeSlice(into.Type(), len(values), len(values)))
	}
	for i, value := range values {
		if into.IsValid() {
			element = into.Index(i)
		}
		d.value(f, t.element, value, element, append(path, strconv.Itoa(i)))
	}
}

func (d *decoder) mapping(f *field, t *valueType, value any, into reflect.Value, path []string) {
	values, ok := value.(map[string]any)
	if !ok {
		d.mismatch(f, t, value, path)
		return
	}
	var element reflect.Value
	if into.IsValid() {
		into.Set(reflect.MakeMapWithSize(into.Type(), len(values)))
	}
	for _, key := range sortedKeys(values) {
		if into.IsValid() {
			element = reflect.New(into.Type().Elem()).Elem()
		}
		d.value(f, t.element, values[key], element, append(path, key))
		if into.IsValid() {
			into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), element)
		}
	}
}

func (d *decoder) mismatch(f *field, t *valueType, value any, path []string) {
	d.complain(path, "%q must be %s, not %s", f.name, t, nameOf(value))
}

func (t *valueType) String() string {
	switch t.kind {
	case stringKind:
		return "text"
	case integerKind:
		return "a whole number"
	case numberKind:
		return "a number"
	case pathKind:
		return "a path"
	case boolKind:
		return "true or false"
	case durationKind:
		return `a duration such as "10s"`
	case listKind:
		return "a list"
	case mapKind:
		return "a map"
	}
	return "a value"
}

func nameOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	}
	return "an object"
}

// ParseDuration reads a duration as operators write them: Go's form, without a sign,
// and whole days before it, as in "10s", "36h", "7d", "1d12h".
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no duration; write it as 10s, 15m, 24h or 7d", text)
	days, rest, found := strings.Cut(text, "d")
	var length time.Duration
	if found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return 0, wrong
		}
		length = time.Duration(n) * 24 * time.Hour
	} else {
		rest = text
	}
	if found && rest == "" {
		return length, nil
	}
	part, err := time.ParseDuration(rest)
	if err != nil || part < 0 || strings.ContainsAny(rest, "+-") || length+part < length {
		return 0, wrong
	}
	return length + part, nil
}

// parseJSON reads one JSON value; numbers stay json.Number. A key that comes twice in
// an object is an error.
func parseJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	value, err := readValue(dec, 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the value")
	}
	return value, nil
}

// maxDepth of a configuration.
const maxDepth = 100

func readValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, errors.New("too deep")
	}
	if delim == '[' {
		values := []any{}
		for dec.More() {
			value, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
		_, err := dec.Token()
		return values, err
	}
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := token.(string) // the decoder refuses other keys
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("%q comes twice", key)
		}
		if object[key], err = readValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return object, err
}

// plain replaces json.Number by int64 where that holds it, else float64.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64()
		return n
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = plain(v[key])
		}
		return out
	}
	return value
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func quoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = strconv.Quote(t)
	}
	return strings.Join(quoted, ", ")
}
