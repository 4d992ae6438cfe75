package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/expr"
)

// Expressions is the page of all that expressions can read and call, in Markdown.
func Expressions() string {
	var w page
	w.line("# Expressions\n\nWhat expressions of the configuration can read, [where](#where-what-can-be-read), and the [functions](#functions) that they can call.")
	w.line("\nA path that is not there is null, and so is a value of the wrong type. `==` and `!=` work on null; every other comparison with it gives null, and a condition that is null is false. In `ignore` and `protect`, `==` and `!=` give null too, and null there means: not ignored; protected.")
	w.places()
	w.roots()
	w.functions()
	return w.String()
}

func (w *page) places() {
	w.line("\n## Where what can be read")
	var roots []string
	for _, p := range config.Places() {
		for _, r := range p.Roots {
			if !slices.Contains(roots, r) {
				roots = append(roots, r)
			}
		}
	}
	slices.Sort(roots)
	columns := []string{"in", "attributes"}
	for _, r := range roots {
		columns = append(columns, fmt.Sprintf("[`%s`](#%s)", r, r))
	}
	w.table(columns...)
	for _, p := range config.Places() {
		cells := []string{p.Name, codes(p.Attributes)}
		for _, r := range roots {
			mark := none
			if slices.Contains(p.Roots, r) {
				mark = "yes"
			}
			cells = append(cells, mark)
		}
		w.row(cells...)
	}
	w.line("\n[`var`](#var) and [`local`](#local) can be read everywhere. All other attributes are read with the configuration: they take literals, `var`, `local` and functions.")
}

// roots tells of each root what is below it.
func (w *page) roots() {
	w.line("\nBelow a list a path is that of each element: `case.assets.owner` is the list of the owners.")
	var root config.Value
	for _, v := range config.Values() {
		if name, _, _ := strings.Cut(v.Path, "."); name == v.Path {
			root = v
			w.line("\n## `%s`\n\n%s", root.Path, root.Doc)
			w.table("path", "type", "meaning")
			continue
		}
		doc := v.Doc
		for _, place := range root.Places {
			if !slices.Contains(v.Places, place) {
				doc += " Not in " + place + "."
			}
		}
		w.row(code(v.Path), cmp.Or(v.Type, "any"), doc)
	}
}

func (w *page) functions() {
	w.line("\n## Functions")
	w.line("\nA function that is given null, or a value of a kind that it does not take, gives null, unless its text says otherwise.")
	group := ""
	for _, f := range expr.Functions() {
		if f.Group != group {
			group = f.Group
			w.line("\n### %s", strings.ToUpper(group[:1])+group[1:])
			w.table("function", "meaning")
		}
		doc := f.Doc
		for _, e := range f.Examples {
			doc += fmt.Sprintf("<br>%s is %s", code(e.Expression), code(e.Result))
		}
		w.row(code(f.Signature()), doc)
	}
	w.line("\n### Of the world outside\n\nThese are called once, when the configuration is read, and so with arguments that are known then.")
	w.table("function", "meaning")
	w.row(code("env(name string) string"), "A variable of the environment; null if it is not set. What it gives is kept with the configuration, so a name that sounds like a secret's is refused.")
	w.row(code("file(path string) string"), "The text of a file. A relative path begins at the folder of the configuration.")
	w.row(code("secret(name string)"), "A secret: `$KELPIE_SECRET_NAME`, else the file `NAME` in `secrets_dir`. It is the whole value of an attribute that its plugin has marked as secret, and stands nowhere else.")
}
