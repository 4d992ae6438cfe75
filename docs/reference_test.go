// Package docs keeps the generated reference equal to what the programs say of
// themselves.
package docs

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

//go:generate go test -run TestReference -update .

var update = flag.Bool("update", false, "write reference.md")

func TestReference(t *testing.T) {
	if testing.Short() && !*update {
		t.Skip("builds the plugins")
	}
	var w page
	w.introduction()
	w.blocks()
	w.values()
	w.functions()
	w.plugins(inspectAll(t))
	const file = "reference.md"
	if *update {
		if err := os.WriteFile(file, w.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, w.Bytes()) {
		t.Errorf("%s is not what the programs say: run \"go generate ./docs\"%s", file, difference(string(have), w.String()))
	}
}

// difference is the first line in which two texts differ.
func difference(have, want string) string {
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("\nline %d: %s\n     not: %s", i+1, b[i], a[i])
		}
	}
	return fmt.Sprintf("\n%d lines, not %d", len(b), len(a))
}

// inspectAll builds every plugin of the tree, and asks it what it is.
func inspectAll(t *testing.T) []model.Plugin {
	t.Helper()
	mains, err := filepath.Glob("../plugins/*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("no plugins: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []model.Plugin
	for _, m := range mains {
		folder := filepath.Dir(m)
		path := filepath.Join(dir, filepath.Base(folder))
		if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", folder, err, out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		plugin, _, err := host.Inspect(ctx, path)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, plugin)
	}
	return all
}

// page is the text of the reference.
type page struct{ bytes.Buffer }

func (w *page) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *page) introduction() {
	w.line(`<!-- Written by "go generate ./docs" from what the programs say of themselves. Do not edit. -->`)
	w.line("# Reference")
	w.line("")
	w.line("[Blocks](#blocks) of the configuration, [values](#values) that its expressions can read, [functions](#functions) that they can call, and what each [plugin](#plugins) takes. What is marked *not built yet* is checked by `kelpie validate` and refused by `kelpie run`.")
}

func (w *page) blocks() {
	w.line("\n## Blocks")
	for _, b := range config.BlockTypes() {
		w.block("", b, 3)
	}
}

func (w *page) block(parent string, b config.BlockType, level int) {
	title := b.Name
	for _, l := range b.Labels {
		title += fmt.Sprintf(" %q", strings.ToUpper(l))
	}
	name := strings.TrimSpace(parent + " " + b.Name)
	w.line("\n%s `%s`%s", strings.Repeat("#", min(level, 6)), title, marks(parent, b))
	w.line("\n%s", b.Doc)
	if b.Free {
		w.line("\nIt takes any attribute.")
	}
	if len(b.Attributes) > 0 {
		w.line("\n| attribute | type | default | |\n| --- | --- | --- | --- |")
		for _, a := range b.Attributes {
			w.attribute(a.Attribute, a.Later)
		}
	}
	for _, inner := range b.Blocks {
		w.block(name, inner, level+1)
	}
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

func (w *page) attribute(a model.Attribute, later bool) {
	standard := "–"
	switch {
	case a.Required:
		standard = "**required**"
	case len(a.Default) > 0:
		standard = "`" + string(a.Default) + "`"
	}
	doc := a.Doc
	if len(a.OneOf) > 0 {
		doc += fmt.Sprintf(" One of `%s`.", strings.Join(a.OneOf, "`, `"))
	}
	if a.Secret {
		doc += " A secret: `secret(\"…\")`."
	}
	if len(a.Example) > 0 {
		doc += " For example `" + string(a.Example) + "`."
	}
	if a.Deprecated != "" {
		doc += " Deprecated: " + a.Deprecated
	}
	if later {
		doc += " *Not built yet.*"
	}
	w.line("| `%s` | %s | %s | %s |", a.Name, typeName(a.Type), cell(standard), cell(strings.TrimSpace(doc)))
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

func (w *page) values() {
	w.line("\n## Values")
	w.line("\nA path that an event does not have is null, and so is a value of the wrong type. `var.NAME` and `local.NAME` can be read everywhere. Below a list a path is that of each element: `case.assets.owner` is the list of the owners. Where nothing is said, a path can be read where the one above it can.")
	w.line("\n| path | type | | where |\n| --- | --- | --- | --- |")
	parents := map[string]string{}
	for _, v := range config.Values() {
		where := strings.Join(v.Places, "; ")
		parents[v.Path] = where
		if i := strings.LastIndex(v.Path, "."); i > 0 && parents[v.Path[:i]] == where {
			where = ""
		}
		w.line("| `%s` | %s | %s | %s |", v.Path, cmp.Or(v.Type, "any"), cell(v.Doc), where)
	}
}

func (w *page) functions() {
	w.line("\n## Functions")
	w.line("\nA function that is given null, or a value of a kind that it does not take, gives null, unless its text says otherwise.")
	group := ""
	for _, f := range expr.Functions() {
		if f.Group != group {
			group = f.Group
			w.line("\n### %s\n\n| function | |\n| --- | --- |", strings.ToUpper(group[:1])+group[1:])
		}
		doc := f.Doc
		for _, e := range f.Examples {
			doc += fmt.Sprintf("<br>`%s` is `%s`", e.Expression, e.Result)
		}
		w.line("| `%s` | %s |", cell(f.Signature()), cell(doc))
	}
}

func (w *page) plugins(all []model.Plugin) {
	w.line("\n## Plugins")
	w.line("\nWhat each takes besides the core's own attributes of [`detector`](#detector-plugin-name), [`enrichment`](#enrichment-plugin-name) and [`action`](#action-plugin-name). A complete example is in each plugin's README.")
	for _, p := range all {
		w.line("\n### Plugin `%s`", p.Name)
		if p.Connection != nil {
			w.line("\n#### `connection \"%s\"`", p.Name)
			w.schema(*p.Connection, "")
		}
		for _, c := range p.Connectors {
			label := p.Name
			if c.Name != "" {
				label += "." + c.Name
			}
			w.line("\n#### `%s \"%s\"`\n\n%s", c.Kind, label, c.Summary)
			if len(c.Takes) > 0 {
				w.line("\nIt can be asked about: %s.", strings.Join(c.Takes, ", "))
			}
			w.schema(c.Schema, "")
			for _, v := range c.Verbs {
				w.verb(v)
			}
		}
	}
}

func (w *page) schema(s model.Schema, parent string) {
	if s.Doc != "" {
		w.line("\n%s", s.Doc)
	}
	if len(s.Attributes) > 0 {
		w.line("\n| attribute | type | default | |\n| --- | --- | --- | --- |")
		for _, a := range s.Attributes {
			w.attribute(a, false)
		}
	}
	for _, b := range s.Blocks {
		w.line("\nBlock `%s`:", strings.TrimSpace(parent+" "+b.Name))
		w.schema(b.Schema, parent+" "+b.Name)
	}
}

func (w *page) verb(v model.Verb) {
	can := func(yes bool, text, otherwise string) string {
		if yes {
			return text
		}
		return otherwise
	}
	w.line("\nVerb `%s`: %s Its targets: %s. %s, %s, %s.", v.Name, strings.TrimSuffix(v.Summary, ".")+".",
		cmp.Or(strings.Join(v.Targets, ", "), "none"),
		can(v.Undo, "It can be undone", "It cannot be undone"),
		can(v.Check, "the vendor can be asked what became of it", "the vendor cannot be asked what became of it"),
		can(v.Idempotent, "and it may be sent twice with one effect", "and sent twice it takes effect twice"))
	w.schema(v.Parameters, "")
}

// cell makes text fit into a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}
