package conformance

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// subject is a connector with a configuration: an instance's, or one made up by the schema,
// which is good for being refused.
type subject struct {
	connector          *pluginv1.Connector
	label              string
	config, connection map[string]any
	madeUp             bool
}

// subjects are all connectors of the plugin.
func (s *suite) subjects() []subject {
	var all []subject
	for _, c := range s.about.GetConnectors() {
		n := slices.IndexFunc(s.settings.Instances, func(i Instance) bool { return connectorOf(s.about, &i) == c })
		if n >= 0 {
			i := &s.settings.Instances[n]
			all = append(all, subject{connector: c, label: i.Name, config: i.Config, connection: i.Connection})
			continue
		}
		made := subject{connector: c, label: labelOf(c), config: sample(c.GetSchema()), madeUp: true}
		if s.about.GetConnection() != nil {
			made.connection = sample(s.about.GetConnection())
		}
		all = append(all, made)
	}
	return all
}

func (s *subject) kind() sdk.Kind { return sdk.Kind(s.connector.GetKind()) }

// body is one of the two blocks that an instance's configuration is made of.
type body struct {
	connection bool
	schema     *pluginv1.Schema
	values     map[string]any
}

func (s *suite) bodies(of subject) []body {
	all := []body{{schema: of.connector.GetSchema(), values: of.config}}
	if len(of.connection) > 0 {
		all = append(all, body{connection: true, schema: s.about.GetConnection(), values: of.connection})
	}
	return all
}

// with encodes a subject's configuration with another body in place of its own.
func (s *subject) with(b body, values map[string]any) (config, connection []byte) {
	if b.connection {
		return encode(s.config), encode(values)
	}
	return encode(values), encode(s.connection)
}

// change copies values and sets one of them; nil takes it out.
func change(values map[string]any, name string, value any) map[string]any {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]any{}
	}
	if value == nil {
		delete(out, name)
	} else {
		out[name] = value
	}
	return out
}

// sample makes up values for all that a schema requires.
func sample(s *pluginv1.Schema) map[string]any {
	out := map[string]any{}
	for _, a := range s.GetAttributes() {
		if a.GetRequired() {
			out[a.GetName()] = sampleValue(a)
		}
	}
	for _, b := range s.GetBlocks() {
		if !b.GetRequired() {
			continue
		}
		switch inner := sample(b.GetSchema()); b.GetNesting() {
		case pluginv1.BlockNesting_BLOCK_NESTING_LIST:
			out[b.GetName()] = []any{inner}
		case pluginv1.BlockNesting_BLOCK_NESTING_MAP:
			out[b.GetName()] = map[string]any{"sample": inner}
		default:
			out[b.GetName()] = inner
		}
	}
	return out
}

func sampleValue(a *pluginv1.Attribute) any {
	if a.GetExample() != "" {
		return json.RawMessage(a.GetExample())
	}
	if len(a.GetOneOf()) > 0 {
		return a.GetOneOf()[0]
	}
	switch a.GetType().GetKind() {
	case pluginv1.Kind_KIND_INTEGER, pluginv1.Kind_KIND_NUMBER:
		return 1
	case pluginv1.Kind_KIND_BOOL:
		return true
	case pluginv1.Kind_KIND_DURATION:
		return "10s"
	case pluginv1.Kind_KIND_LIST:
		return []any{}
	case pluginv1.Kind_KIND_MAP:
		return map[string]any{}
	case pluginv1.Kind_KIND_PATH:
		return "/var/lib/kelpie-sample"
	}
	return "sample.example.org"
}

// wrongValue is one that the attribute's type does not take; nil: it takes all.
func wrongValue(a *pluginv1.Attribute) any {
	switch a.GetType().GetKind() {
	case pluginv1.Kind_KIND_ANY:
		return nil
	case pluginv1.Kind_KIND_LIST, pluginv1.Kind_KIND_MAP:
		return true
	case pluginv1.Kind_KIND_DURATION:
		return "a while"
	case pluginv1.Kind_KIND_INTEGER, pluginv1.Kind_KIND_NUMBER, pluginv1.Kind_KIND_BOOL:
		return "not this"
	}
	return map[string]any{"not": "this"}
}
