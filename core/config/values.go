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
	inSeveral  place = "rules over signals"
	inTitle    place = "titles of rules over several"
	inScore    place = "evidence of the score"
	inResponse place = "responses"
	inStep     place = "steps"
	inParams   place = "parameters, because and texts of steps"
	inRoute    place = "routes"
	inProtect  place = "protects"
)

// rootsAt are the names that expressions at each place can read.
var rootsAt = map[place][]string{
	inPipeline: {"event"},
	inIgnore:   {"event"},
	inRule:     {"event"},
	inSeveral:  {"signal", "case"},
	inTitle:    {"signal"},
	inScore:    {"case"},
	inResponse: {"case"},
	inStep:     {"case"},
	inParams:   {"case", "target"},
	inRoute:    {"case"},
	inProtect:  {"case", "target"},
}

// Place is where expressions stand, by which they have something to read.
type Place struct {
	Name       string
	Attributes []string // which are expressions there: "when", or "map" for all in a block
	Roots      []string // what they can read besides var and local
}

// Places lists all places.
func Places() []Place {
	of := func(at place, attributes ...string) Place {
		return Place{Name: string(at), Attributes: attributes, Roots: slices.Clone(rootsAt[at])}
	}
	all := []Place{
		of(inPipeline, "when", "map"), of(inIgnore, "when"), of(inRule, "when", "title", "key", "of"),
		of(inSeveral, "when", "key", "of"), of(inTitle, "title"),
		of(inScore, "for_each", "when", "points", "because", "source", "at", "reliability"), of(inResponse, "when"),
		of(inStep, "when", "targets", "to", "from"), of(inParams, "parameters", "because", "undo_after", "subject", "asked", "body"),
		of(inRoute, "to", "team"), of(inProtect, "when"),
	}
	for i := range all {
		switch place(all[i].Name) {
		case inScore:
			all[i].Roots = append(all[i].Roots, "each", "factor", "input")
		case inStep, inParams:
			all[i].Roots = append(all[i].Roots, "step")
		case inRoute:
			all[i].Roots = append(all[i].Roots, "schedule")
		}
	}
	return all
}

// Value is one line of the table of what expressions can read.
type Value struct {
	Path   string // "case.assets.owner"; below a list it is each element's
	Type   string // "text", "number", "list of objects" …; empty: whatever is there
	Doc    string
	Places []string // where it can be read; nil: everywhere
}

// Values lists all that expressions can read, by root and path. It is what
// expressions are checked against, so that the reference cannot differ.
func Values() []Value {
	roots := roots()
	var all []Value
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		all = append(all, flatten(name, roots[name], placesOf(name))...)
	}
	reported, known := decide.ReportShape().Fields, decide.SignalShape().Fields
	for i, v := range all {
		if field, ok := strings.CutPrefix(v.Path, "signal."); ok {
			field, _, _ = strings.Cut(field, ".")
			switch {
			case known[field] == nil:
				all[i].Places = []string{string(inTitle)}
			case reported[field] == nil:
				all[i].Places = []string{string(inSeveral)}
			}
		}
		if v.Path == "case.score" || strings.HasPrefix(v.Path, "case.score.") { // see shapesAt
			all[i].Places = slices.DeleteFunc(slices.Clone(v.Places), func(at string) bool { return at == string(inScore) })
		}
	}
	anywhere := []string{}
	for _, at := range Places() {
		anywhere = append(anywhere, at.Name)
	}
	slices.Sort(anywhere)
	score, steps := []string{string(inScore)}, []string{string(inParams), string(inStep)}
	return append(
		all,
		Value{"each", "object", "What evidence with `for_each` counts for, one by one. `for_each` itself does not have it.", score},
		Value{"each.key", "text", "The name of the element, or its number from 0.", score},
		Value{"each.value", "", "The element of `for_each`, with its fields.", score},
		Value{"factor", "object", "The factor that the evidence is part of, if it is a sum.", score},
		Value{"factor.points", "number", "What its evidence so far adds up to.", score},
		Value{"input", "object", "What the preset takes, by `inputs` of the score or else its own default.", score},
		Value{"input.NAME", "", "Its value.", score},
		Value{"local", "object", "What `locals` blocks give a name.", nil},
		Value{"local.NAME", "", "What is written there.", nil},
		Value{"schedule", "object", "Who is on call, by `schedule` blocks.", []string{string(inRoute)}},
		Value{"schedule.NAME", "list of texts", "Addresses, or names of users, of who is on call now; empty if nobody is.", []string{string(inRoute)}},
		Value{"step", "object", "The other steps of the response. A step that reads one waits for it.", steps},
		Value{"step.NAME.by", "text", "Who chose; null if nobody did.", steps},
		Value{"step.NAME.choice", "text", "The option that was chosen, of a step with `wait`.", steps},
		Value{"step.NAME.reason", "text", "The reason that was given.", steps},
		Value{"step.NAME.result", "text", "What became of a step: done, already, refused, failed, unknown or undone; of one with `wait` answered, timed_out or failed, if the question reached nobody; null if nothing was planned.", steps},
		Value{"table", "", "The rows of keyed files, by `table` blocks.", anywhere},
		Value{"table.NAME[KEY]", "object", "The row that has the key, with its columns as fields; null if there is none. `has(table.NAME[KEY])` says whether there is one.", anywhere},
		Value{"var", "object", "What is given from outside, by `variable` blocks.", nil},
		Value{"var.NAME", "", "Its value, or else its default.", nil},
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
		if shape.Elem != nil && shape.Elem.Kind == expr.StringKind {
			return "list of texts"
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
	switch at {
	case inSeveral:
		shapes["signal"] = decide.SignalShape()
	case inTitle:
		shapes["signal"] = decide.ReportShape()
	}
	return shapes
}

func factorShape() *expr.Shape {
	return object("", map[string]*expr.Shape{"points": shape(numberShape, "")})
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
	return map[string]*expr.Shape{"event": eventShape(), "case": decide.CaseShape(), "target": decide.TargetShape(), "signal": signalShape()}
}

// signalShape has what can be read of a signal anywhere: see shapesAt.
func signalShape() *expr.Shape {
	fields := maps.Clone(decide.ReportShape().Fields)
	maps.Copy(fields, decide.SignalShape().Fields)
	return object("What a pipeline or rule has reported, and what is known about it; in the title of a rule over several, what the rule reports.", fields)
}

func eventShape() *expr.Shape {
	return object("What a detector reported.", map[string]*expr.Shape{
		"raw":         free("The source's own JSON, untouched: every path below it is its."),
		"id":          shape(textShape, "The source's own id of it."),
		"revision":    shape(textShape, "The source's version of it: an alert that has grown has another."),
		"source":      shape(textShape, "The detector's address, as `detector.eve`."),
		"time":        shape(textShape, "When it happened, RFC 3339."),
		"title":       shape(textShape, "What it is, in a line."),
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
		"kind":  shape(textShape, "`host`, `ip`, `user` and so on."),
		"value": shape(textShape, "It in its canonical form."),
		"role":  shape(textShape, "`subject`, `indicator` or nothing."),
	})
}
