package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
	"github.com/kelpie-sec/kelpie/sdk"
)

// given reads the events of a given block. Those that are in files are read when the
// tests are run.
func (p *parser) given(t, g *section) []rehearsal.Event {
	e := g.expr("events")
	if e == nil || len(g.block.Labels) != 1 {
		return nil
	}
	for _, call := range callsOf(e, "secret") {
		p.secretErrorf(call.NameRange, "A secret in the wrong place", "A test needs no secret.")
		return nil
	}
	files := callsOf(e, "file")
	if p.rehearsal == nil && (len(files) > 0 || len(callsOf(e, "env")) > 0) {
		return nil
	}
	v, ok := p.constant(e)
	if !ok {
		t.broken = true
		return nil
	}
	r := givens{parser: p, test: t, label: g.labels[0]}
	if s := p.named[r.label]; s != nil {
		r.detector = p.identity(s)
	}
	before := len(p.diags)
	switch v.Kind() {
	case expr.StringKind:
		from := ""
		if call, ok := e.(*hclsyntax.FunctionCallExpr); ok && call.Name == "file" && len(call.Args) == 1 {
			from, _ = literalText(call.Args[0])
		}
		text, _ := v.Str()
		r.lines(e, text, from)
	case expr.ListKind:
		r.list(e, v)
	default:
		p.testErrorf(t, e, "Wrong type", "\"events\" takes a list of objects or lines of JSON, and this is %s. Write events = [{ … }], or events = file(\"tests/NAME.ndjson\").", article(v.Kind().String()))
	}
	if len(r.events) == 0 && len(p.diags) == before {
		p.testErrorf(t, e, "No events", "There is none in it. Remove the block: without it the test has none of this detector.")
	}
	return r.events
}

// givens reads events of one given block.
type givens struct {
	*parser
	test            *section
	label, detector string
	events          []rehearsal.Event
}

// lines reads one event of each line.
func (r *givens) lines(e hclsyntax.Expression, text, from string) {
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		place := fmt.Sprintf("line %d", n+1)
		if from != "" {
			place += " of " + from
		}
		if err := expr.CheckJSON([]byte(line)); err != nil {
			r.testErrorf(r.test, e, "Not an event", "%s is no JSON: %s.", sentence(place), err)
			return
		}
		if !r.event(e, expr.JSON([]byte(line)), []byte(line), place) {
			return
		}
	}
}

// list reads events as they are written in the configuration.
func (r *givens) list(e hclsyntax.Expression, v expr.Value) {
	n, written := 0, items(e)
	for item := range v.Items() {
		at := e
		if len(written) == v.Len() {
			at = written[n]
		}
		n++
		raw, _ := item.MarshalJSON()
		if !r.event(at, item, raw, fmt.Sprintf("event %d", n)) {
			return
		}
	}
}

// event takes one event: the source's own JSON, or an object that has it as "raw"
// together with what the connector reads from it.
func (r *givens) event(at hclsyntax.Expression, v expr.Value, raw []byte, place string) bool {
	if len(r.events) == maxGiven {
		r.testErrorf(r.test, at, "Too many events", "A test has at most %d events.", maxGiven)
		return false
	}
	if v.Kind() != expr.ObjectKind {
		r.testErrorf(r.test, at, "Not an event", "%s is %s. An event is an object.", sentence(place), article(v.Kind().String()))
		return false
	}
	if len(raw) > sdk.MaxEvent {
		r.testErrorf(r.test, at, "Too large", "%s has %d bytes, and an event has at most %d.", sentence(place), len(raw), sdk.MaxEvent)
		return false
	}
	out := rehearsal.Event{Detector: r.detector, Place: r.label + ", " + place, Event: model.Event{Raw: slices.Clone(raw)}}
	if reported(v) {
		if !r.reported(&out.Event, at, v) {
			return false
		}
	}
	r.events = append(r.events, out)
	return true
}

// fields of an event that a connector fills in, beside the source's own JSON.
var eventFields = []string{
	"raw", "id", "revision", "time", "title", "severity", "stopped", "techniques", "link",
	"subjects", "indicators", "observables",
}

// reported tells whether an object is an event as a connector reports it: it has "raw",
// which is an object, and nothing that an event does not have.
func reported(v expr.Value) bool {
	if v.Attr("raw").Kind() != expr.ObjectKind {
		return false
	}
	for name := range v.Fields() {
		if !slices.Contains(eventFields, name) {
			return false
		}
	}
	return true
}

// reported reads what a connector reads from an event.
func (r *givens) reported(out *model.Event, e hclsyntax.Expression, v expr.Value) bool {
	ok := true
	wrong := func(name, format string, args ...any) {
		at, found := fieldOf(e, name)
		if !found {
			at = e
		}
		r.testErrorf(r.test, at, "Not an event", format, args...)
		ok = false
	}
	text := func(name string, into *string) {
		if s, is := v.Attr(name).Str(); is {
			*into = s
		} else if !v.Attr(name).IsNull() {
			wrong(name, "%q of an event is a text.", name)
		}
	}
	out.Raw, _ = v.Attr("raw").MarshalJSON()
	text("id", &out.ID)
	text("revision", &out.Revision)
	text("title", &out.Title)
	text("link", &out.Link)
	var at string
	if text("time", &at); at != "" {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			wrong("time", "\"time\" of an event is written by RFC 3339, such as \"2026-03-01T09:30:00Z\".")
		}
		out.Time = when.UTC()
	}
	if s := v.Attr("severity"); !s.IsNull() {
		n, is := s.Int()
		if !is || n < 0 || n > 100 {
			wrong("severity", "\"severity\" of an event is 0 to 100.")
		}
		severity := int(n)
		out.Severity = &severity
	}
	if s := v.Attr("stopped"); !s.IsNull() {
		if s.Kind() != expr.BoolKind {
			wrong("stopped", "\"stopped\" of an event is true or false.")
		}
		stopped := s.Truth() == expr.True
		out.Stopped = &stopped
	}
	for leaf := range v.Attr("techniques").Leaves() {
		if s, is := leaf.Str(); is {
			out.Techniques = append(out.Techniques, s)
		} else {
			wrong("techniques", "\"techniques\" of an event is a list of texts.")
		}
	}
	for i, role := range []sdk.Role{sdk.Subject, sdk.Indicator, sdk.NoRole} {
		name := []string{"subjects", "indicators", "observables"}[i]
		all, why := observed(v.Attr(name), role)
		if why != "" {
			wrong(name, "%s", sentence(why))
		}
		out.Observables = append(out.Observables, all...)
	}
	return ok
}

// observed reads observables as a map has them, { kind = value }, a value or a list of
// values each; or says what is wrong.
func observed(v expr.Value, role sdk.Role) (all []sdk.Observable, wrong string) {
	if v.IsNull() {
		return nil, ""
	}
	if v.Kind() != expr.ObjectKind {
		return nil, "values are written by their kinds: { ip = \"10.1.2.3\" }."
	}
	for kind, values := range v.Fields() {
		if !slices.Contains(sdk.Kinds(), kind) {
			return nil, fmt.Sprintf("there is no kind of observable %q. %s", kind, suggest(kind, sdk.Kinds()))
		}
		for leaf := range values.Leaves() {
			o, err := sdk.Canonical(kind, leaf.Text())
			if err != nil {
				return nil, err.Error() + "."
			}
			o.Role = role
			all = append(all, o)
		}
	}
	return all, ""
}
