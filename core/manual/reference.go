package manual

import (
	"fmt"
	"strings"

	"github.com/kelpie-sec/kelpie/core/config"
)

// Reference is the page of all blocks of the configuration, in Markdown.
func Reference() string {
	var w page
	w.line("# Reference\n\nEvery block of the configuration, and what it takes. What expressions can read and call is in [expressions](expressions.md), and what each plugin takes in [connectors](connectors/README.md). What is marked *not built yet* is checked by `kelpie validate` and refused by `kelpie run`.")
	w.line("\n## Blocks\n")
	for _, b := range config.BlockTypes() {
		w.line("- [`%s`](#%s)", b.Name, anchor(b))
	}
	for _, b := range config.BlockTypes() {
		w.block("", b, 3)
	}
	return w.String()
}

func (w *page) block(parent string, b config.BlockType, level int) {
	name := strings.TrimSpace(parent + " " + b.Name)
	w.line("\n%s `%s`%s", strings.Repeat("#", min(level, 6)), heading(b), marks(parent, b))
	w.line("\n%s", b.Doc)
	if b.Free {
		w.line("\nIt takes any attribute.")
	}
	if len(b.Attributes) > 0 {
		w.table("attribute", "type", "default", "meaning")
		for _, a := range b.Attributes {
			doc := a.Doc
			if len(a.OneOf) > 0 {
				doc += " One of " + codes(a.OneOf) + "."
			}
			if a.Later {
				doc += " *Not built yet.*"
			}
			w.row(code(a.Name), typeName(a.Type), standard(a.Attribute), doc)
		}
	}
	for _, inner := range b.Blocks {
		w.block(name, inner, level+1)
	}
}

// heading is how a block is written.
func heading(b config.BlockType) string {
	text := b.Name
	for _, l := range b.Labels {
		text += fmt.Sprintf(" %q", strings.ToUpper(l))
	}
	return text
}

// anchor is where a block at the top stands on the page, as GitHub makes it.
func anchor(b config.BlockType) string {
	text := heading(b)
	if m := marks("", b); m != "" {
		text += m
	}
	return strings.NewReplacer(" ", "-", `"`, "", "(", "", ")", "", "*", "").Replace(strings.ToLower(text))
}

func marks(parent string, b config.BlockType) string {
	var all []string
	if parent != "" {
		all = append(all, "in `"+parent+"`")
	}
	if b.Required {
		all = append(all, "required")
	}
	if b.Later {
		all = append(all, "*not built yet*")
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}
