package sdk

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// textLimit bounds a text for people in a message, in bytes.
const textLimit = 4 << 10

func (b *body) toProto() *pluginv1.Schema {
	schema := &pluginv1.Schema{}
	for i := range b.fields {
		f := &b.fields[i]
		if f.block != nil {
			schema.Blocks = append(schema.Blocks, &pluginv1.Block{
				Name:     f.name,
				Schema:   f.block.toProto(),
				Nesting:  f.nesting.toProto(),
				Required: f.required,
				Doc:      f.doc,
			})
			continue
		}
		schema.Attributes = append(schema.Attributes, &pluginv1.Attribute{
			Name:        f.name,
			Type:        f.typ.toProto(),
			Required:    f.required,
			Secret:      f.secret,
			Default:     jsonOf(f.fallback),
			Doc:         f.doc,
			Example:     string(jsonOf(f.example)),
			Deprecated:  f.deprecated,
			RenamedFrom: f.renamedFrom,
			OneOf:       f.oneOf,
		})
	}
	return schema
}

// jsonOf encodes a value that was decoded from JSON or a tag.
func jsonOf(value any) []byte {
	if value == nil {
		return nil
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil // it came from JSON, so it encodes
	}
	return encoded
}

func (t *valueType) toProto() *pluginv1.Type {
	if t == nil {
		return nil
	}
	return &pluginv1.Type{Kind: t.kind.toProto(), Element: t.element.toProto()}
}

func (k valueKind) toProto() pluginv1.Kind {
	switch k {
	case stringKind:
		return pluginv1.Kind_KIND_STRING
	case integerKind:
		return pluginv1.Kind_KIND_INTEGER
	case numberKind:
		return pluginv1.Kind_KIND_NUMBER
	case boolKind:
		return pluginv1.Kind_KIND_BOOL
	case durationKind:
		return pluginv1.Kind_KIND_DURATION
	case listKind:
		return pluginv1.Kind_KIND_LIST
	case mapKind:
		return pluginv1.Kind_KIND_MAP
	case anyKind:
		return pluginv1.Kind_KIND_ANY
	case pathKind:
		return pluginv1.Kind_KIND_PATH
	}
	return pluginv1.Kind_KIND_UNSPECIFIED
}

func (n nesting) toProto() pluginv1.BlockNesting {
	switch n {
	case single:
		return pluginv1.BlockNesting_BLOCK_NESTING_SINGLE
	case list:
		return pluginv1.BlockNesting_BLOCK_NESTING_LIST
	case labelled:
		return pluginv1.BlockNesting_BLOCK_NESTING_MAP
	}
	return pluginv1.BlockNesting_BLOCK_NESTING_UNSPECIFIED
}

func (k Kind) toProto() pluginv1.ConnectorKind {
	switch k {
	case KindDetector:
		return pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR
	case KindEnrichment:
		return pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT
	case KindAction:
		return pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION
	}
	return pluginv1.ConnectorKind_CONNECTOR_KIND_UNSPECIFIED
}

func kindFromProto(k pluginv1.ConnectorKind) Kind {
	switch k {
	case pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR:
		return KindDetector
	case pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT:
		return KindEnrichment
	case pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION:
		return KindAction
	}
	return 0
}

func (c *connector) toProto() *pluginv1.Connector {
	out := &pluginv1.Connector{
		Kind:              c.Kind.toProto(),
		Name:              c.Name,
		Summary:           c.Summary,
		Schema:            c.body.toProto(),
		CursorVersion:     int32(c.CursorVersion),
		Finite:            c.Finite,
		DefaultMapping:    c.DefaultMapping,
		Takes:             c.Takes,
		BatchLimit:        int32(c.BatchLimit),
		DefaultTtlSeconds: int64(c.DefaultTTL / time.Second),
		Local:             c.Local,
		Answers:           c.answers,
		Needs:             c.Needs,
	}
	out.Schema.Doc = c.Summary
	for i := range c.verbs {
		v := &c.verbs[i]
		out.Verbs = append(out.Verbs, &pluginv1.Verb{
			Name:          v.Name,
			Targets:       v.Targets,
			Parameters:    v.body.toProto(),
			Undo:          v.Undo,
			Check:         v.Check,
			Idempotent:    v.Idempotent,
			SettleSeconds: int64((v.Settle + time.Second - 1) / time.Second),
			Summary:       v.Summary,
			Needs:         v.Needs,
		})
	}
	return out
}

func (d Diagnostic) toProto(scrub *secrets) *pluginv1.Diagnostic {
	severity := pluginv1.Severity_SEVERITY_ERROR
	if d.Warning {
		severity = pluginv1.Severity_SEVERITY_WARNING
	}
	path := make([]string, len(d.Path))
	for i, part := range d.Path {
		path[i] = cut(scrub.scrub(part), textLimit)
	}
	return &pluginv1.Diagnostic{
		Severity:   severity,
		Summary:    cut(scrub.scrub(d.Summary), textLimit),
		Detail:     cut(scrub.scrub(d.Detail), textLimit),
		Path:       path,
		Connection: d.Connection,
	}
}

// timeToProto leaves out a time that is not known or that protobuf cannot hold.
func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	stamp := timestamppb.New(t)
	if !stamp.IsValid() {
		return nil
	}
	return stamp
}

// timeFromProto returns the zero time for none.
func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil || !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}
