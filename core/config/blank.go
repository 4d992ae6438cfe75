package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/mitchellh/go-wordwrap"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Needs are the names of what a block of the connector, or its connection's, cannot do
// without, sorted: "path", "connection.token".
func Needs(plugin model.Plugin, c model.Connector) []string {
	needs := required(c.Schema, "")
	if plugin.Connection != nil {
		needs = append(needs, required(*plugin.Connection, "connection.")...)
	}
	slices.Sort(needs)
	return needs
}

func required(s model.Schema, prefix string) []string {
	var names []string
	for _, a := range s.Attributes {
		if a.Required {
			names = append(names, prefix+a.Name)
		}
	}
	for _, b := range s.Blocks {
		if b.Required {
			names = append(names, prefix+b.Name)
		}
	}
	return names
}

// Blank is the text of a connector's block, with its connection's, to be filled in:
// what must be given stands there with an example, what may be is named.
func Blank(plugin model.Plugin, c model.Connector, name string) string {
	b := blank{plugin: plugin.Name}
	link := plugin.Connection != nil && len(required(*plugin.Connection, "")) > 0
	if link {
		fmt.Fprintf(&b, "connection %q %q {\n", plugin.Name, name)
		b.body(*plugin.Connection)
		b.WriteString("}\n\n")
	}
	label := model.Label(plugin.Name, c.Name)
	fmt.Fprintf(&b, "%s %q %q {\n", c.Kind, label, name)
	if link {
		fmt.Fprintf(&b, "connection = connection.%s\n", name)
	}
	b.body(c.Schema)
	b.WriteString("}\n")
	return string(Format(b.Bytes()))
}

// blank is the text as far as it is written.
type blank struct {
	bytes.Buffer
	plugin string
}

func (b *blank) body(s model.Schema) {
	var optional []string
	for _, a := range s.Attributes {
		if !a.Required {
			optional = append(optional, a.Name)
			continue
		}
		b.comment(a.Doc)
		example, _ := exampleOf(b.plugin, a)
		fmt.Fprintf(b, "%s = %s\n", a.Name, example)
	}
	for _, inner := range s.Blocks {
		if !inner.Required {
			optional = append(optional, inner.Name+" { … }")
			continue
		}
		b.comment(inner.Doc)
		label := ""
		if inner.Nesting == "map" {
			label = ` "name"`
		}
		fmt.Fprintf(b, "%s%s {\n", inner.Name, label)
		b.body(inner.Schema)
		b.WriteString("}\n")
	}
	if len(optional) > 0 {
		b.comment("It may have: " + strings.Join(optional, ", ") + ".")
	}
}

// comment is a plugin's text: what would end the comment is taken out.
func (b *blank) comment(text string) {
	for line := range strings.SplitSeq(wordwrap.WrapString(clean(text), width-6), "\n") {
		if line != "" {
			fmt.Fprintf(b, "# %s\n", line)
		}
	}
}
