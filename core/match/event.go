package match

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// eventFields is "event" in expressions: raw is the payload; the other fields are
// the connector's until a pipeline has mapped them.
type eventFields struct {
	name   string // of the source; empty: the batch says it
	batch  *model.Batch
	event  *model.Event
	raw    expr.Value
	signal *model.Signal // nil before the map
}

var eventNames = []string{
	"id", "link", "observables", "raw", "received", "revision", "severity", "source",
	"stopped", "techniques", "time", "title",
}

// Event is "event" in expressions as a pipeline's conditions see it, before the map.
// The error says why matching would set it aside.
func Event(b *model.Batch, e *model.Event) (expr.Value, error) {
	if e.Problem != "" {
		return expr.Value{}, errors.New("not read: " + e.Problem)
	}
	if err := expr.CheckJSON(e.Raw); err != nil {
		return expr.Value{}, fmt.Errorf("not an event: %w", err)
	}
	f := &eventFields{}
	f.reset(b, e, expr.JSON(e.Raw))
	return expr.Record(f), nil
}

func (f *eventFields) reset(b *model.Batch, e *model.Event, raw expr.Value) {
	*f = eventFields{name: f.name, batch: b, event: e, raw: raw}
}

func (f *eventFields) unmapped() { f.signal = nil }

// Names are all fields.
func (f *eventFields) Names() []string { return eventNames }

// Field is null for a name that events do not have.
func (f *eventFields) Field(name string) expr.Value {
	switch name {
	case "raw":
		return f.raw
	case "id":
		return expr.String(f.event.ID)
	case "revision":
		return text(f.event.Revision)
	case "source":
		return expr.String(cmp.Or(f.name, f.batch.Source))
	case "received":
		return expr.Time(f.batch.Received)
	}
	if f.signal != nil {
		return signalField(f.signal, name)
	}
	return connectorField(f.event, name)
}

func signalField(s *model.Signal, name string) expr.Value {
	switch name {
	case "time":
		return expr.Time(s.Time)
	case "title":
		return text(s.Title)
	case "severity":
		return expr.Int(int64(s.Severity))
	case "stopped":
		return truth(s.Stopped)
	case "link":
		return text(s.Link)
	case "techniques":
		return expr.Strings(s.Techniques)
	case "observables":
		return observables(s.Observables)
	}
	return expr.Value{}
}

func connectorField(e *model.Event, name string) expr.Value {
	switch name {
	case "time":
		return expr.Time(e.Time)
	case "title":
		return text(e.Title)
	case "severity":
		if e.Severity == nil {
			return expr.Value{}
		}
		return expr.Int(int64(*e.Severity))
	case "stopped":
		return truth(e.Stopped)
	case "link":
		return text(e.Link)
	case "techniques":
		return expr.Strings(e.Techniques)
	case "observables":
		return observables(e.Observables)
	}
	return expr.Value{}
}

// text of a field that is null when it is empty.
func text(s string) expr.Value {
	if s == "" {
		return expr.Value{}
	}
	return expr.String(s)
}

func truth(b *bool) expr.Value {
	if b == nil {
		return expr.Value{}
	}
	return expr.Bool(*b)
}

func observables(all []sdk.Observable) expr.Value {
	items := make([]expr.Value, len(all))
	for i, o := range all {
		items[i] = expr.Object(map[string]expr.Value{
			"kind": expr.String(o.Kind), "value": expr.String(o.Value), "role": text(string(o.Role)),
		})
	}
	return expr.List(items)
}

// sortObservables orders them by role, kind and value, and keeps each once: a value
// that has a role is not listed again without one.
func sortObservables(all []sdk.Observable) []sdk.Observable {
	slices.SortFunc(all, func(a, b sdk.Observable) int {
		// "subject" and "indicator" come before "", which must not hide them.
		switch {
		case a.Role != b.Role:
			return roleOrder(a.Role) - roleOrder(b.Role)
		case a.Kind != b.Kind:
			return strings.Compare(a.Kind, b.Kind)
		}
		return strings.Compare(a.Value, b.Value)
	})
	out := all[:0]
	for _, o := range all {
		if n := len(out); n > 0 && out[n-1] == o {
			continue
		}
		if o.Role == sdk.NoRole && slices.ContainsFunc(out, func(p sdk.Observable) bool {
			return p.Kind == o.Kind && p.Value == o.Value
		}) {
			continue
		}
		out = append(out, o)
	}
	return out
}

func roleOrder(r sdk.Role) int {
	switch r {
	case sdk.Subject:
		return 0
	case sdk.Indicator:
		return 1
	}
	return 2
}
