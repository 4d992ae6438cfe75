package model

import "encoding/json"

// Plugin is what a plugin's Describe said, kept beside the lock file.
type Plugin struct {
	Name string `json:"name"`
	// OwnName is what it calls itself, where the configuration calls it by another Name.
	OwnName    string      `json:"own_name,omitempty"`
	Version    string      `json:"version"`
	Homepage   string      `json:"homepage,omitempty"`
	Connectors []Connector `json:"connectors"`
	// Connection is the schema of the connection block, if there is one.
	Connection *Schema `json:"connection,omitempty"`
	// Capabilities that it has beyond the first release of the contract.
	Capabilities []string `json:"capabilities,omitempty"`
	// LeftOut is what this core can't use of it, each a sentence's part with the reason.
	LeftOut []string `json:"left_out,omitempty"`
	// Permissions that the process asks for.
	Read    []string `json:"read,omitempty"`
	Write   []string `json:"write,omitempty"`
	Network []string `json:"network,omitempty"`
}

// Label names a connector in a block's first label, and elsewhere: "file", or
// "aws/guardduty" where the plugin has several of a kind.
func Label(plugin, connector string) string {
	if connector == "" {
		return plugin
	}
	return plugin + "/" + connector
}

// ConnectorKind is the block that configures a connector.
type ConnectorKind string

// The kinds of connectors.
const (
	Detector   ConnectorKind = "detector"
	Enrichment ConnectorKind = "enrichment"
	Action     ConnectorKind = "action"
)

// Connector is one thing that a plugin offers.
type Connector struct {
	Kind    ConnectorKind `json:"kind"`
	Name    string        `json:"name,omitempty"` // empty for the only one of its kind
	Summary string        `json:"summary,omitempty"`
	Schema  Schema        `json:"schema"`

	CursorVersion  int    `json:"cursor_version,omitempty"`
	Finite         bool   `json:"finite,omitempty"`
	DefaultMapping string `json:"default_mapping,omitempty"` // HCL text

	Takes      []string `json:"takes,omitempty"`
	BatchLimit int      `json:"batch_limit,omitempty"`
	DefaultTTL int64    `json:"default_ttl_seconds,omitempty"`
	Local      bool     `json:"local,omitempty"`

	Verbs   []Verb `json:"verbs,omitempty"`
	Answers bool   `json:"answers,omitempty"`
}

// Verb is one thing an action can do.
type Verb struct {
	Name       string   `json:"name"`
	Targets    []string `json:"targets,omitempty"`
	Summary    string   `json:"summary,omitempty"`
	Parameters Schema   `json:"parameters"`
	Undo       bool     `json:"undo,omitempty"`
	Check      bool     `json:"check,omitempty"`
	Idempotent bool     `json:"idempotent,omitempty"`
	Settle     int64    `json:"settle_seconds,omitempty"`
}

// Schema is the body of a block.
type Schema struct {
	Attributes []Attribute `json:"attributes,omitempty"`
	Blocks     []Block     `json:"blocks,omitempty"`
	Doc        string      `json:"doc,omitempty"`
}

// Attribute of a block.
type Attribute struct {
	Name        string          `json:"name"`
	Type        Type            `json:"type"`
	Required    bool            `json:"required,omitempty"`
	Secret      bool            `json:"secret,omitempty"`
	Default     json.RawMessage `json:"default,omitempty"`
	Doc         string          `json:"doc,omitempty"`
	Example     json.RawMessage `json:"example,omitempty"`
	Deprecated  string          `json:"deprecated,omitempty"`
	RenamedFrom string          `json:"renamed_from,omitempty"`
	OneOf       []string        `json:"one_of,omitempty"`
}

// Type of an attribute: "string", "path" (a relative one is resolved from the folder
// of the configuration), "integer", "number", "bool", "duration", "any",
// or "list" or "map" with an Element.
type Type struct {
	Kind    string `json:"kind"`
	Element *Type  `json:"element,omitempty"`
}

// Block within a block. Nesting is "single", "list" or "map".
type Block struct {
	Name     string `json:"name"`
	Nesting  string `json:"nesting"`
	Required bool   `json:"required,omitempty"`
	Schema   Schema `json:"schema"`
	Doc      string `json:"doc,omitempty"`
}
