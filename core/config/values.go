package config

import (
	"maps"
	"slices"

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
	for _, more := range []Value{
		{Path: "each.key", Type: "text", Doc: "The name of the element, or its number from 0.", Places: []string{string(inScore)}},
		{Path: "each.value", Doc: "The element of for_each.", Places: []string{string(inScore)}},
		{Path: "step.NAME.result", Type: "text", Doc: "What became of an earlier step of the response: done, already, refused, failed, unknown or undone; null if nothing was planned.", Places: []string{string(inStep)}},
	} {
		all = append(all, more)
	}
	return all
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
	return map[string]*expr.Shape{"event": eventShape(), "case": caseShape(), "target": targetShape()}
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

func caseShape() *expr.Shape {
	return object("The signals that belong together.", map[string]*expr.Shape{
		"id":         shape(textShape, "Its id."),
		"title":      shape(textShape, "Its title."),
		"severity":   shape(numberShape, "The highest of its signals, 0 to 100."),
		"stopped":    shape(boolShape, "True if every signal was stopped by its control."),
		"score":      scoreShape(),
		"hosts":      listOfTexts("Its subjects that are hosts."),
		"users":      listOfTexts("Its subjects that are users and accounts."),
		"subjects":   list("Who is affected.", observableShape()),
		"indicators": list("What is evidence.", observableShape()),
		"verdicts":   list("What enrichments think.", verdictShape()),
		"assets":     list("The machines, as enrichments know them.", answerShape(assetFields())),
		"identities": list("The people and accounts.", answerShape(identityFields())),
		"networks":   list("Where addresses belong.", answerShape(networkFields())),
		"signals":    list("Its signals, by time.", signalShape()),
		"techniques": listOfTexts("ATT&CK techniques."),
		"rules":      listOfTexts("Addresses of the rules and pipelines that reported."),
		"first_at":   shape(textShape, "When the first signal happened, RFC 3339."),
		"last_at":    shape(textShape, "When the last did."),
	})
}

func scoreShape() *expr.Shape {
	return object("How bad it is.", map[string]*expr.Shape{
		"total": shape(numberShape, "0 to 100."),
		"upper": shape(numberShape, "What it could become if all that is not known were as bad as it can be."),
	})
}

func signalShape() *expr.Shape {
	return object("", map[string]*expr.Shape{
		"id": shape(textShape, "Its id."), "rule": shape(textShape, "What reported it."),
		"source": shape(textShape, "The detector's address."), "title": shape(textShape, "Its title."),
		"severity": shape(numberShape, "0 to 100."), "time": shape(textShape, "When, RFC 3339."),
		"stopped": shape(boolShape, "Did the control block it?"),
	})
}

func verdictShape() *expr.Shape {
	return answerShape(map[string]*expr.Shape{
		"kind":        shape(textShape, "The kind of the observable."),
		"value":       shape(textShape, "The observable's value."),
		"disposition": shape(textShape, "unknown, benign, suspicious or malicious."),
		"score":       shape(numberShape, "0 to 100."),
		"confidence":  shape(numberShape, "0 to 100."),
		"labels":      listOfTexts("What else it is called."),
		"link":        shape(textShape, "Where to read on."),
		"state":       shape(textShape, "known, clean, unknown, failed or pending."),
	})
}

// answerShape is what an enrichment said of an observable.
func answerShape(fields map[string]*expr.Shape) *expr.Shape {
	maps.Copy(fields, map[string]*expr.Shape{
		"source":     shape(textShape, "The enrichment's address."),
		"observable": shape(textShape, "What it was asked about."),
		"subject":    shape(boolShape, "Whether that is a subject of the case."),
		"details":    free("What the source says besides."),
	})
	return object("", fields)
}

func assetFields() map[string]*expr.Shape {
	return map[string]*expr.Shape{
		"name": shape(textShape, "Its name."), "fqdn": shape(textShape, "Its full name."),
		"ips": listOfTexts("Its addresses."), "macs": listOfTexts("Its network cards."),
		"os": shape(textShape, "Its system."), "os_version": shape(textShape, "And which version."),
		"roles": listOfTexts("What it is for."), "owner": shape(textShape, "Whose it is."),
		"team": shape(textShape, "And which team's."), "criticality": shape(numberShape, "0 to 100."),
		"tags": listOfTexts("What else is said of it."), "patches": free("How many are missing, by severity."),
		"protection": object("Its own protection.", map[string]*expr.Shape{
			"installed": shape(boolShape, "It is there."), "running": shape(boolShape, "It runs."),
			"current": shape(boolShape, "It is up to date."),
		}),
		"managed": shape(boolShape, "Somebody looks after it."), "seen_at": shape(textShape, "When it was last seen."),
	}
}

func identityFields() map[string]*expr.Shape {
	return map[string]*expr.Shape{
		"name": shape(textShape, "The name."), "upn": shape(textShape, "user@domain."),
		"mail": shape(textShape, "The mail address."), "sid": shape(textShape, "The security identifier."),
		"title": shape(textShape, "What they are."), "department": shape(textShape, "Where."),
		"manager": shape(textShape, "Under whom."), "groups": listOfTexts("Of which they are members."),
		"privileged": shape(boolShape, "Whether they may do much."), "state": shape(textShape, "enabled, disabled, locked, expired."),
		"last_logon": shape(textShape, "When they last signed in."), "password_set": shape(textShape, "How old the password is."),
	}
}

func networkFields() map[string]*expr.Shape {
	return map[string]*expr.Shape{
		"country": shape(textShape, "Two letters."), "city": shape(textShape, "Its city."),
		"asn": shape(numberShape, "The number of its autonomous system."), "organisation": shape(textShape, "Whose it is."),
		"kind": shape(textShape, "hosting, residential, vpn, tor …"),
	}
}

func targetShape() *expr.Shape {
	return object("What a step is about to touch.", map[string]*expr.Shape{
		"kind":     shape(textShape, "host, account, ip …, or address."),
		"value":    shape(textShape, "Its name."),
		"asset":    object("The machine, if an enrichment knows it.", assetFields()),
		"identity": object("The person or account, if one knows it.", identityFields()),
		"network":  object("The network, if one knows it.", networkFields()),
	})
}
