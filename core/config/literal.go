package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Literal is a JSON value as it is written in a configuration, on one line. What is
// no JSON, or too long to be shown, gives "".
func Literal(text json.RawMessage) string {
	v, ok := decodeExample(text)
	if !ok {
		return ""
	}
	return literal(v)
}

func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case string:
		return quote(v)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = literal(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		if len(v) == 0 {
			return "{}"
		}
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			key := name
			if !nameForm.MatchString(name) || slices.Contains([]string{"for", "if", "true", "false", "null"}, name) {
				key = quote(name)
			}
			fields = append(fields, key+" = "+literal(v[name]))
		}
		return "{ " + strings.Join(fields, ", ") + " }"
	}
	panic(fmt.Sprintf("%T is no JSON", v))
}

// quote writes a text so that nothing in it is filled in, and nothing is hidden.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case (r == '$' || r == '%') && strings.HasPrefix(text[i+1:], "{"):
			b.WriteString(string(r) + string(r))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// exampleOf is a value that an attribute takes, and whether the plugin gave it, or a
// secret stands for it.
func exampleOf(plugin string, a model.Attribute) (string, bool) {
	if a.Secret {
		return secretExample(a.Type, strings.ReplaceAll(plugin+"-"+a.Name, "_", "-")), true
	}
	if v, ok := decodeExample(a.Example); ok && fits(v, a.Type, a.OneOf) {
		return literal(v), true
	}
	return literal(placeholder(a.Type, a.OneOf)), false
}

func secretExample(t model.Type, name string) string {
	switch {
	case t.Kind == "list" && t.Element != nil:
		return "[" + secretExample(*t.Element, name) + "]"
	case t.Kind == "map" && t.Element != nil:
		return "{ name = " + secretExample(*t.Element, name) + " }"
	}
	return "secret(" + strconv.Quote(name) + ")"
}

// maxExample bounds an example that is shown, in bytes.
const maxExample = 1000

func decodeExample(text json.RawMessage) (any, bool) {
	if len(text) == 0 || len(text) > maxExample {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	return v, d.Decode(&v) == nil
}

// fits tells whether a plugin's own example is what its attribute takes.
func fits(v any, t model.Type, words []string) bool {
	switch t.Kind {
	case "string", "path", "duration":
		text, ok := v.(string)
		if ok && t.Kind == "duration" {
			_, err := sdk.ParseDuration(text)
			ok = err == nil
		}
		return ok && (len(words) == 0 || slices.Contains(words, text))
	case "integer":
		n, ok := v.(json.Number)
		_, err := strconv.ParseInt(n.String(), 10, 64)
		return ok && err == nil
	case "number":
		n, ok := v.(json.Number)
		_, err := n.Float64()
		return ok && err == nil
	case "bool":
		_, ok := v.(bool)
		return ok
	case "list":
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(list, func(item any) bool { return t.Element != nil && !fits(item, *t.Element, words) })
	case "map":
		fields, ok := v.(map[string]any)
		for _, field := range fields {
			ok = ok && (t.Element == nil || fits(field, *t.Element, words))
		}
		return ok
	}
	return v != nil
}

// placeholder is something that a type takes.
func placeholder(t model.Type, words []string) any {
	switch t.Kind {
	case "integer", "number":
		return json.Number("1")
	case "bool":
		return true
	case "duration":
		return "10s"
	case "list":
		if t.Element == nil {
			return []any{}
		}
		return []any{placeholder(*t.Element, words)}
	case "map":
		if t.Element == nil {
			return map[string]any{}
		}
		return map[string]any{"name": placeholder(*t.Element, words)}
	case "path":
		return "/path/to/it"
	}
	if len(words) > 0 {
		return words[0]
	}
	return "…"
}
