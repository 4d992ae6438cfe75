package manual

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
)

// schema tells what a block of a plugin takes.
func (w *page) schema(s model.Schema, within string) {
	if len(s.Attributes) > 0 {
		w.table("attribute", "type", "default", "meaning")
		for _, a := range s.Attributes {
			w.row(code(a.Name), typeName(a.Type), standard(a), attributeDoc(a))
		}
	}
	for _, b := range s.Blocks {
		path := strings.TrimSpace(within + " " + b.Name)
		w.line("\n**Block %s**: %s", code(path), howMany(b))
		if doc := cmp.Or(prose(b.Doc), prose(b.Schema.Doc)); doc != "" {
			w.line("\n%s", doc)
		}
		w.schema(b.Schema, path)
	}
}

func howMany(b model.Block) string {
	text := "at most one."
	switch {
	case b.Nesting == "list" && b.Required:
		return "one or more, in order."
	case b.Nesting == "list":
		return "any number, in order."
	case b.Nesting == "map" && b.Required:
		return fmt.Sprintf("one or more, each with a name: %s.", code(b.Name+` "NAME" { … }`))
	case b.Nesting == "map":
		return fmt.Sprintf("any number, each with a name: %s.", code(b.Name+` "NAME" { … }`))
	case b.Required:
		text = "exactly one."
	}
	return text
}

// standard is what holds where an attribute is absent.
func standard(a model.Attribute) string {
	if a.Required {
		return "**required**"
	}
	return code(config.Literal(a.Default))
}

func attributeDoc(a model.Attribute) string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if a.Deprecated != "" {
		add("**Deprecated**: %s", prose(stop(a.Deprecated)))
	}
	if a.Doc != "" {
		add("%s", prose(stop(a.Doc)))
	}
	if len(a.OneOf) > 0 {
		add("One of %s.", codes(a.OneOf))
	}
	switch example := config.Literal(a.Example); {
	case a.Secret:
		add("A secret: %s.", code(`secret("NAME")`))
	case example != "":
		add("For example %s.", code(example))
	}
	if a.RenamedFrom != "" {
		add("It was called %s, which is still taken.", code(a.RenamedFrom))
	}
	return strings.Join(all, " ")
}

// stop ends a sentence. It is for what goes into prose, which looks at the whole.
func stop(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

func typeName(t model.Type) string {
	switch {
	case t.Element == nil:
		return cmp.Or(t.Kind, "any")
	case t.Kind == "map":
		return "map of " + typeName(*t.Element)
	}
	return t.Kind + " of " + typeName(*t.Element)
}
