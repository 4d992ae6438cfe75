package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// maxParts bounds what a value may hold in all: elements and fields.
const maxParts = 1 << 16

// constant is the value of an expression that reads nothing but variables, locals,
// environment and files.
func (p *parser) constant(e hclsyntax.Expression) (expr.Value, bool) {
	program, ok := p.compile(e, expr.Env{}, nowhere)
	if !ok {
		return expr.Value{}, false
	}
	v, ok := program.Constant()
	if !ok {
		p.errorf(e.Range(), "Must be known beforehand", "This is read when the configuration is: write a literal, a var or a local.")
		return expr.Value{}, false
	}
	if left := countParts(v, maxParts); left < 0 {
		p.errorf(e.Range(), "Too large", "This value has more than %d parts.", maxParts)
		return expr.Value{}, false
	}
	return v, true
}

// countParts takes the parts of v from left, and gives up below 0.
func countParts(v expr.Value, left int) int {
	for item := range v.Items() {
		if left = countParts(item, left-1); left < 0 {
			return left
		}
	}
	for _, field := range v.Fields() {
		if left = countParts(field, left-1); left < 0 {
			return left
		}
	}
	return left
}

// value is the constant of an attribute, of the attribute's type. It may be null.
func (p *parser) value(e hclsyntax.Expression, a attribute) (expr.Value, bool) {
	if word := hcl.ExprAsKeyword(e); word != "" && takesText(a.Type) && p.plainWord(word) {
		p.errorf(e.Range(), "Not a value", "A text is written in quotes: %s = \"%s\".", a.Name, word)
		return expr.Value{}, false
	}
	v, ok := p.constant(e)
	if !ok || v.IsNull() {
		return v, ok
	}
	if !p.check(v, a.Type, `"`+a.Name+`"`, e) {
		return v, false
	}
	if text, isText := v.Str(); isText && len(a.OneOf) > 0 && !slices.Contains(a.OneOf, text) {
		p.errorf(e.Range(), "Not one of its values", "%q takes %s. %s", a.Name, oneOf(a.OneOf), meant(text, a.OneOf))
		return v, false
	}
	return v, true
}

func takesText(t model.Type) bool {
	return t.Kind == "string" || t.Kind == "path" || t.Kind == "duration"
}

// plainWord tells whether a name means nothing by itself.
func (p *parser) plainWord(name string) bool {
	switch name {
	case "true", "false", "null", "var", "local", "each", "step":
		return false
	}
	return len(placesOf(name)) == 0 && !p.kindExists(name)
}

func oneOf(words []string) string {
	q := quoted(words)
	if len(q) == 1 {
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

func meant(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	return ""
}

// check complains where a value is not of a type, at its place within e.
func (p *parser) check(v expr.Value, t model.Type, name string, e hclsyntax.Expression) bool {
	wrong := func(write string) bool {
		got := v.Kind().String()
		if v.Kind() == expr.StringKind {
			got = "text"
		}
		p.errorf(e.Range(), "Wrong type", "%s takes %s, and this is a %s. Write %s.", sentence(name), typeName(t), got, write)
		return false
	}
	switch t.Kind {
	case "string", "path":
		if v.Kind() != expr.StringKind {
			return wrong(writeAsText(v))
		}
	case "integer":
		if _, ok := v.Int(); !ok {
			return wrong("it as 10, without quotes or a fraction")
		}
	case "number":
		if v.Kind() != expr.NumberKind {
			return wrong("it as 0.5, without quotes")
		}
	case "bool":
		if v.Kind() != expr.BoolKind {
			return wrong("true or false, without quotes")
		}
	case "duration":
		text, ok := v.Str()
		if !ok {
			return wrong(`it as "10s", "15m", "24h" or "7d"`)
		}
		if _, err := sdk.ParseDuration(text); err != nil {
			p.errorf(e.Range(), "Not a duration", "%s takes a duration. Write it as \"10s\", \"15m\", \"24h\" or \"7d\".", sentence(name))
			return false
		}
	case "list":
		if v.Kind() != expr.ListKind {
			return wrong("it in brackets: [ … ]")
		}
		return p.checkItems(v, t, name, e)
	case "map":
		if v.Kind() != expr.ObjectKind {
			return wrong("it in braces: { name = … }")
		}
		return p.checkFields(v, t, name, e)
	}
	return true
}

func writeAsText(v expr.Value) string {
	switch v.Kind() {
	case expr.NumberKind, expr.BoolKind:
		return "it in quotes"
	case expr.ListKind:
		return "one text, without brackets"
	}
	return "a text in quotes"
}

func (p *parser) checkItems(v expr.Value, t model.Type, name string, e hclsyntax.Expression) bool {
	if t.Element == nil {
		return true
	}
	ok, i, written := true, 0, items(e)
	for item := range v.Items() {
		at := e
		if v.Len() == len(written) {
			at = written[i]
		}
		ok = p.check(item, *t.Element, "an element of "+name, at) && ok
		if !ok && len(written) == 0 {
			return false // one complaint about an expression is enough
		}
		i++
	}
	return ok
}

func (p *parser) checkFields(v expr.Value, t model.Type, name string, e hclsyntax.Expression) bool {
	if t.Element == nil {
		return true
	}
	ok := true
	for key, field := range v.Fields() {
		at, found := fieldOf(e, key)
		if !found {
			at = e
		}
		ok = p.check(field, *t.Element, `"`+key+`" of `+name, at) && ok
	}
	return ok
}

// fieldOf is the expression of a field in an object as it is written.
func fieldOf(e hclsyntax.Expression, key string) (hclsyntax.Expression, bool) {
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil, false
	}
	for _, item := range object.Items {
		if name, ok := literalKey(item.KeyExpr); ok && name == key {
			return item.ValueExpr, true
		}
	}
	return nil, false
}

// literalKey is a key of an object as it is written: a name or a text in quotes.
func literalKey(e hclsyntax.Expression) (string, bool) {
	if name := hcl.ExprAsKeyword(e); name != "" {
		return name, true
	}
	if key, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		e = key.Wrapped
	}
	return literalText(e)
}

// literalText is a text in quotes, with nothing to be filled in.
func literalText(e hclsyntax.Expression) (string, bool) {
	switch e := e.(type) {
	case *hclsyntax.TemplateExpr:
		if e.IsStringLiteral() {
			return literalText(e.Parts[0])
		}
		if len(e.Parts) == 0 {
			return "", true
		}
	case *hclsyntax.LiteralValueExpr:
		if v := e.Val; !v.IsNull() && v.Type().FriendlyName() == "string" {
			return v.AsString(), true
		}
	}
	return "", false
}

func typeName(t model.Type) string {
	switch t.Kind {
	case "string":
		return "a text"
	case "path":
		return "a path"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration"
	case "list":
		if t.Element == nil {
			return "a list"
		}
		return "a list, each element " + typeName(*t.Element)
	case "map":
		if t.Element == nil {
			return "a map"
		}
		return "a map, each value " + typeName(*t.Element)
	}
	return "a value"
}

// parseSize reads a number of bytes: "512MiB", "2GB", "1048576".
func parseSize(text string) (int64, bool) {
	units := []struct {
		name  string
		bytes int64
	}{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"B", 1},
		{"", 1},
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<60)/u.bytes {
			return 0, false
		}
		return n * u.bytes, true
	}
	return 0, false
}

// size reads an attribute that is a number of bytes; 0 where it is absent.
func (p *parser) size(s *section, name string) int64 {
	text := s.text(name, "")
	if text == "" {
		return 0
	}
	n, ok := parseSize(text)
	if !ok || n == 0 {
		p.errorf(s.place(name), "Not a size", "%q takes a number of bytes. Write it as \"512MiB\" or \"2GiB\".", name)
	}
	return n
}
