// Package proposal makes the text of what people propose by the options that they choose:
// a narrow ignore from the events of a case, and how a file would change. It reads and
// writes no file. All that comes of events is an attacker's, and stands in quotes.
package proposal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// Bounds of a condition.
const (
	maxFields = 6
	maxKinds  = 8    // of events: conjunctions
	maxValue  = 1024 // bytes of one value
	maxLine   = 80   // of a condition that stands in one line
	maxDepth  = 6    // of a field that is looked for
	enough    = 2    // equalities that are narrow
)

// Event is one of those that are to be ignored.
type Event struct {
	Raw []byte
	// Named are texts by which it is known, the most telling first: title, values of
	// subjects, of indicators. Fields that have one of them are taken where the
	// configuration names none.
	Named []string
}

// Ignore is what an ignore is to be about.
type Ignore struct {
	Name          string
	On            []string // addresses
	Owner, Reason string
	Expires       time.Time // its last day
	Events        []Event
	// Telling are the paths that say what an event is and about whom, by their names:
	// "event", "raw", …; Further are those that are taken if they are not enough.
	Telling, Further [][]string
}

// Text is the block, or why there can be none.
func (g *Ignore) Text() (string, error) {
	when, err := g.condition()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ignore %s {\n", Quote(g.Name))
	fmt.Fprintf(&b, "  on      = [%s]\n", strings.Join(g.On, ", "))
	fmt.Fprintf(&b, "  when    = %s\n", when)
	fmt.Fprintf(&b, "  owner   = %s\n", Quote(g.Owner))
	fmt.Fprintf(&b, "  reason  = %s\n", Quote(g.Reason))
	fmt.Fprintf(&b, "  expires = %s\n}\n", Quote(g.Expires.UTC().Format(time.DateOnly)))
	return b.String(), nil
}

// condition is equalities alone: one conjunction for each kind of event.
func (g *Ignore) condition() (string, error) {
	fields := g.fields()
	if len(fields) == 0 {
		return "", fmt.Errorf("no field of its events tells what they are")
	}
	var kinds, parts []string
	for _, e := range g.Events {
		raw := expr.JSON(e.Raw)
		parts = make([]string, len(fields))
		for i, f := range fields {
			parts[i] = pathText(f) + " == " + literal(at(raw, f))
		}
		if kind := strings.Join(parts, " && "); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) > maxKinds:
		return "", fmt.Errorf("its events are of more than %d kinds, by %s: an ignore of all is not narrow", maxKinds, pathTexts(fields))
	case len(kinds) == 1 && len(kinds[0]) <= maxLine:
		return kinds[0], nil
	case len(kinds) == 1:
		return "(\n    " + strings.Join(parts, " &&\n    ") + "\n  )", nil
	}
	return "(\n    " + strings.Join(kinds, " ||\n    ") + "\n  )", nil
}

// fields are those that the condition is about: each has a value in every event.
func (g *Ignore) fields() [][]string {
	var chosen [][]string
	take := func(paths [][]string, most int) {
		for _, p := range paths {
			if len(chosen) < most && g.usable(p) && !slices.ContainsFunc(chosen, func(c []string) bool { return slices.Equal(c, p) }) {
				chosen = append(chosen, p)
			}
		}
	}
	take(g.Telling, maxFields)
	take(g.Further, max(enough, len(chosen)))
	if len(chosen) < enough && len(g.Events) > 0 {
		take(named(&g.Events[0]), enough)
	}
	return chosen
}

func (g *Ignore) usable(path []string) bool {
	return len(path) > 2 && path[0] == "event" && path[1] == "raw" && len(g.Events) > 0 &&
		!slices.ContainsFunc(g.Events, func(e Event) bool { return literal(at(expr.JSON(e.Raw), path)) == "" })
}

// at is the value of a payload's field; null: it has none.
func at(raw expr.Value, path []string) expr.Value {
	for _, name := range path[2:] {
		if raw.Kind() != expr.ObjectKind {
			return expr.Value{}
		}
		raw = raw.Attr(name)
	}
	return raw
}

// named finds the fields of a payload whose values are what the event is known by.
func named(e *Event) [][]string {
	found := make([][][]string, len(e.Named))
	var walk func(v expr.Value, path []string)
	walk = func(v expr.Value, path []string) {
		if v.Kind() == expr.ObjectKind && len(path) < maxDepth {
			for name, field := range v.Fields() {
				walk(field, append(slices.Clip(path), name))
			}
			return
		}
		text, ok := v.Str()
		if n := slices.Index(e.Named, text); ok && n >= 0 {
			found[n] = append(found[n], slices.Clone(path))
		}
	}
	walk(expr.JSON(e.Raw), []string{"event", "raw"})
	var all [][]string
	for _, paths := range found {
		if len(paths) > 0 { // the first by name: the others say the same
			all = append(all, slices.MinFunc(paths, slices.Compare))
		}
	}
	return all
}

func pathTexts(paths [][]string) string {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = pathText(p)
	}
	return strings.Join(texts, ", ")
}
