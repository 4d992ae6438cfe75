package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
)

// place is where an expression stands, by which it has what to read.
type place string

const (
	nowhere    place = "" // only what is known when the configuration is read
	inPipeline place = "pipelines and templates"
	inIgnore   place = "ignores"
	inRule     place = "rules"
	inScore    place = "evidence of the score"
	inResponse place = "responses"
	inStep     place = "steps"
	inParams   place = "parameters and because of steps"
	inRoute    place = "routes"
	inProtect  place = "protects"
)

// rootsAt are the names that expressions at each place can read.
var rootsAt = map[place][]string{
	inPipeline: {"event"},
	inIgnore:   {"event"},
	inRule:     {"event"},
	inScore:    {"case"},
	inResponse: {"case"},
	inStep:     {"case"},
	inParams:   {"case", "target"},
	inRoute:    {"case"},
	inProtect:  {"case", "target"},
}

// Value is one line of the table of what expressions can read.
type Value struct {
	Path   string // "case.assets.owner"; below a list it is each element's
	Type   string // "text", "number", "list of objects" …; empty: whatever is there
	Doc    string
	Places []string // where it can be read
}

// Values lists all that expressions can read besides var and local, by path. It is
// what expressions are checked against, so that the reference cannot differ.
func Values() []Value {
	roots := roots()
	var all []Value
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		all = append(all, flatten(name, roots[name], placesOf(name))...)
	}
	for i, v := range all {
		if v.Path == "case.score" || strings.HasPrefix(v.Path, "case.score.") { // see shapesAt
			all[i].Places = slices.DeleteFunc(slices.Clone(v.Places), func(at string) bool { return at == string(inScore) })
		}
	}
	return append(
		all,
		Value{Path: "each.key", Type: "text", Doc: "The name of the element, or its number from 0.", Places: []string{string(inScore)}},
		Value{Path: "each.value", Doc: "The element of for_each.", Places: []string{string(inScore)}},
		Value{Path: "step.NAME.result", Type: "text", Doc: "What became of an earlier step of the response: done, already, refused, failed, unknown or undone; null if nothing was planned.", Places: []string{string(inStep)}},
	)
}

func flatten(path string, shape *expr.Shape, places []string) []Value {
	if shape == nil {
		return []Value{{Path: path, Places: places}}
	}
	all := []Value{{Path: path, Type: shapeName(shape), Doc: shape.Doc, Places: places}}
	fields := shape.Fields
	if shape.Elem != nil {
		fields = shape.Elem.Fields
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		all = append(all, flatten(path+"."+name, fields[name], places)...)
	}
	return all
}

func shapeName(shape *expr.Shape) string {
	switch shape.Kind {
	case expr.StringKind:
		return "text"
	case expr.ListKind:
		if shape.Elem != nil && shape.Elem.Kind == expr.ObjectKind {
			return "list of objects"
		}
		return "list"
	case expr.NullKind:
		return ""
	}
	return shape.Kind.String()
}

// placesOf says where a root can be read; nothing for a name that is none.
func placesOf(root string) []string {
	var places []string
	for at, names := range rootsAt {
		if slices.Contains(names, root) {
			places = append(places, string(at))
		}
	}
	slices.Sort(places)
	return places
}

func shapesAt(at place) map[string]*expr.Shape {
	shapes, all := map[string]*expr.Shape{}, roots()
	for _, name := range rootsAt[at] {
		shapes[name] = all[name]
	}
	if at == inScore { // which is what it is made of
		delete(shapes["case"].Fields, "score")
	}
	return shapes
}

func shape(kind expr.Kind, doc string) *expr.Shape { return &expr.Shape{Kind: kind, Doc: doc} }

func object(doc string, fields map[string]*expr.Shape) *expr.Shape {
	return &expr.Shape{Kind: expr.ObjectKind, Doc: doc, Fields: fields}
}

func list(doc string, elem *expr.Shape) *expr.Shape {
	return &expr.Shape{Kind: expr.ListKind, Doc: doc, Elem: elem}
}

func listOfTexts(doc string) *expr.Shape { return list(doc, shape(expr.StringKind, "")) }

func free(doc string) *expr.Shape { return &expr.Shape{Doc: doc} }

const (
	textShape   = expr.StringKind
	numberShape = expr.NumberKind
	boolShape   = expr.BoolKind
)

func roots() map[string]*expr.Shape {
	return map[string]*expr.Shape{"event": eventShape(), "case": decide.CaseShape(), "target": decide.TargetShape()}
}

func eventShape() *expr.Shape {
	return object("What a detector reported.", map[string]*expr.Shape{
		"raw":         free("The source's own JSON."),
		"id":          shape(textShape, "The source's id."),
		"revision":    shape(textShape, "The source's version of it."),
		"source":      shape(textShape, "The detector's address."),
		"time":        shape(textShape, "When it happened, RFC 3339."),
		"title":       shape(textShape, "What it is."),
		"severity":    shape(numberShape, "0 to 100."),
		"techniques":  listOfTexts("ATT&CK techniques."),
		"stopped":     shape(boolShape, "Did the control already block it?"),
		"link":        shape(textShape, "A page about it."),
		"observables": list("What it names.", observableShape()),
		"received":    shape(textShape, "When Kelpie received it, RFC 3339."),
	})
}

func observableShape() *expr.Shape {
	return object("", map[string]*expr.Shape{
		"kind":  shape(textShape, "host, ip, user …"),
		"value": shape(textShape, "Canonical."),
		"role":  shape(textShape, "subject, indicator or nothing."),
	})
}
