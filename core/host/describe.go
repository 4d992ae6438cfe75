package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// maxDepth bounds how deep blocks and types may nest in a plugin's schema.
const maxDepth = 16

// capabilities of this core, beyond the first release of the contract.
func capabilities() []string { return []string{sdk.DetectPulse} }

// newerError says what of a plugin is from a later contract than this core's.
type newerError struct{ what string }

func (e *newerError) Error() string {
	return e.what + ", which this Kelpie does not have: take a newer one"
}

// lacking is the error of something that needs what this core does not have; nil: it has all.
func lacking(needs []string) error {
	for _, name := range needs {
		if !slices.Contains(capabilities(), name) {
			return &newerError{fmt.Sprintf("it needs %q", cut(name, 80))}
		}
	}
	return nil
}

var (
	verbName      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?$`)
	pluginName    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	pluginVersion = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)([-+][0-9A-Za-z.+-]{1,64})?$`)
)

// pluginModel converts what Describe said, or says what is wrong with it.
func pluginModel(d *pluginv1.DescribeResponse) (model.Plugin, error) {
	p := model.Plugin{
		Name: d.GetName(), Version: d.GetVersion(), Homepage: d.GetHomepage(),
		Capabilities: d.GetCapabilities(),
		Read:         d.GetPermissions().GetRead(), Write: d.GetPermissions().GetWrite(), Network: d.GetPermissions().GetNetwork(),
	}
	if !pluginName.MatchString(p.Name) {
		return p, fmt.Errorf("it says that its name is %q; a name is lower-case letters, digits and \"_\"", cut(p.Name, 80))
	}
	if !pluginVersion.MatchString(p.Version) {
		return p, fmt.Errorf("it says that its version is %q, which is no semantic version such as \"1.2.0\"", cut(p.Version, 80))
	}
	if d.GetConnection() != nil {
		schema, err := schemaModel(d.GetConnection(), 0)
		if err != nil {
			return p, fmt.Errorf("its connection's schema: %w", err)
		}
		p.Connection = &schema
	}
	seen := map[string]bool{}
	for _, c := range d.GetConnectors() {
		connector, err := connectorModel(c)
		if newer := (*newerError)(nil); errors.As(err, &newer) {
			p.LeftOut = append(p.LeftOut, fmt.Sprintf("%s: %v", connectorTitle(c), err))
			continue
		}
		if err != nil {
			return p, fmt.Errorf("its connector %q: %w", c.GetName(), err)
		}
		key := string(connector.Kind) + "." + connector.Name
		if seen[key] {
			return p, fmt.Errorf("it has two connectors %q of kind %s", connector.Name, connector.Kind)
		}
		seen[key] = true
		var left []string
		connector.Verbs, left = usableVerbs(c, connector.Verbs)
		p.LeftOut = append(p.LeftOut, left...)
		p.Connectors = append(p.Connectors, connector)
	}
	if len(p.Connectors) == 0 && len(p.LeftOut) > 0 {
		return p, fmt.Errorf("it offers nothing that this Kelpie can use: %s", strings.Join(p.LeftOut, "; "))
	}
	if len(p.Connectors) == 0 {
		return p, fmt.Errorf("it has no connectors")
	}
	return p, nil
}

// connectorTitle names a connector that may be of no known kind.
func connectorTitle(c *pluginv1.Connector) string {
	kind, ok := kinds[c.GetKind()]
	switch {
	case !ok:
		return fmt.Sprintf("connector %q", cut(c.GetName(), 80))
	case c.GetName() == "":
		return string(kind)
	}
	return fmt.Sprintf("%s %q", kind, cut(c.GetName(), 80))
}

// usableVerbs leaves out the verbs that need what this core does not have.
func usableVerbs(c *pluginv1.Connector, all []model.Verb) (usable []model.Verb, left []string) {
	for i, v := range c.GetVerbs() {
		if err := lacking(v.GetNeeds()); err != nil {
			left = append(left, fmt.Sprintf("%s, verb %q: %v", connectorTitle(c), v.GetName(), err))
			continue
		}
		usable = append(usable, all[i])
	}
	return usable, left
}

var kinds = map[pluginv1.ConnectorKind]model.ConnectorKind{
	pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR:   model.Detector,
	pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT: model.Enrichment,
	pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION:     model.Action,
}

func kindProto(kind model.ConnectorKind) pluginv1.ConnectorKind {
	for wire, k := range kinds {
		if k == kind {
			return wire
		}
	}
	return pluginv1.ConnectorKind_CONNECTOR_KIND_UNSPECIFIED
}

func connectorModel(c *pluginv1.Connector) (model.Connector, error) {
	kind, ok := kinds[c.GetKind()]
	switch {
	case c.GetKind() == pluginv1.ConnectorKind_CONNECTOR_KIND_UNSPECIFIED:
		return model.Connector{}, fmt.Errorf("says not whether it is a detector, an enrichment or an action")
	case !ok:
		return model.Connector{}, &newerError{fmt.Sprintf("it is of kind %d", c.GetKind())}
	}
	if err := lacking(c.GetNeeds()); err != nil {
		return model.Connector{}, err
	}
	schema, err := schemaModel(c.GetSchema(), 0)
	out := model.Connector{
		Kind: kind, Name: c.GetName(), Summary: c.GetSummary(), Schema: schema,
		CursorVersion: int(c.GetCursorVersion()), Finite: c.GetFinite(), DefaultMapping: c.GetDefaultMapping(),
		Takes: c.GetTakes(), BatchLimit: max(1, int(c.GetBatchLimit())),
		DefaultTTL: max(0, c.GetDefaultTtlSeconds()), Local: c.GetLocal(), Answers: c.GetAnswers(),
	}
	if kind != model.Enrichment {
		out.BatchLimit = 0
	}
	if err != nil {
		return out, err
	}
	if out.Name != "" && !pluginName.MatchString(out.Name) {
		return out, fmt.Errorf("that is no name")
	}
	for _, v := range c.GetVerbs() {
		if !verbName.MatchString(v.GetName()) {
			return out, fmt.Errorf("%q is no name of a verb", cut(v.GetName(), 80))
		}
		parameters, err := schemaModel(v.GetParameters(), 0)
		if err != nil {
			return out, fmt.Errorf("verb %q: %w", v.GetName(), err)
		}
		out.Verbs = append(out.Verbs, model.Verb{
			Name: v.GetName(), Targets: v.GetTargets(), Summary: v.GetSummary(), Parameters: parameters,
			Undo: v.GetUndo(), Check: v.GetCheck(), Idempotent: v.GetIdempotent(), Settle: max(0, v.GetSettleSeconds()),
		})
	}
	return out, nil
}

func schemaModel(s *pluginv1.Schema, depth int) (model.Schema, error) {
	out := model.Schema{Doc: s.GetDoc()}
	if depth > maxDepth {
		return out, fmt.Errorf("nests deeper than %d", maxDepth)
	}
	if err := checkNames(s); err != nil {
		return out, err
	}
	for _, a := range s.GetAttributes() {
		attribute, err := attributeModel(a)
		if err != nil {
			return out, fmt.Errorf("attribute %q: %w", a.GetName(), err)
		}
		out.Attributes = append(out.Attributes, attribute)
	}
	for _, b := range s.GetBlocks() {
		nested, err := schemaModel(b.GetSchema(), depth+1)
		if err != nil {
			return out, fmt.Errorf("block %q: %w", b.GetName(), err)
		}
		nesting, ok := nestings[b.GetNesting()]
		switch {
		case b.GetNesting() == pluginv1.BlockNesting_BLOCK_NESTING_UNSPECIFIED:
			return out, fmt.Errorf("block %q: says not how often it may be there", b.GetName())
		case !ok:
			return out, &newerError{fmt.Sprintf("its block %q nests in way %d", b.GetName(), b.GetNesting())}
		}
		out.Blocks = append(out.Blocks, model.Block{
			Name: b.GetName(), Nesting: nesting, Required: b.GetRequired(), Schema: nested, Doc: b.GetDoc(),
		})
	}
	return out, nil
}

// checkNames of attributes and blocks: HCL's, and each once.
func checkNames(s *pluginv1.Schema) error {
	seen := map[string]bool{}
	check := func(name string) error {
		if !pluginName.MatchString(name) {
			return fmt.Errorf("%q is no name of an attribute or block", cut(name, 80))
		}
		if seen[name] {
			return fmt.Errorf("it has %q twice", name)
		}
		seen[name] = true
		return nil
	}
	for _, a := range s.GetAttributes() {
		if err := check(a.GetName()); err != nil {
			return err
		}
	}
	for _, b := range s.GetBlocks() {
		if err := check(b.GetName()); err != nil {
			return err
		}
	}
	return nil
}

var nestings = map[pluginv1.BlockNesting]string{
	pluginv1.BlockNesting_BLOCK_NESTING_SINGLE: "single",
	pluginv1.BlockNesting_BLOCK_NESTING_LIST:   "list",
	pluginv1.BlockNesting_BLOCK_NESTING_MAP:    "map",
}

func attributeModel(a *pluginv1.Attribute) (model.Attribute, error) {
	kind, err := typeModel(a.GetType(), 0)
	if err != nil {
		return model.Attribute{}, err
	}
	for _, value := range [][]byte{a.GetDefault(), []byte(a.GetExample())} {
		if len(value) > 0 && !json.Valid(value) {
			return model.Attribute{}, fmt.Errorf("its default or example is not JSON")
		}
	}
	return model.Attribute{
		Name: a.GetName(), Type: kind, Required: a.GetRequired(), Secret: a.GetSecret(),
		Default: a.GetDefault(), Doc: a.GetDoc(), Example: exampleModel(a.GetExample()),
		Deprecated: a.GetDeprecated(), RenamedFrom: a.GetRenamedFrom(), OneOf: a.GetOneOf(),
	}, nil
}

var types = map[pluginv1.Kind]string{
	pluginv1.Kind_KIND_STRING:   "string",
	pluginv1.Kind_KIND_INTEGER:  "integer",
	pluginv1.Kind_KIND_NUMBER:   "number",
	pluginv1.Kind_KIND_BOOL:     "bool",
	pluginv1.Kind_KIND_DURATION: "duration",
	pluginv1.Kind_KIND_LIST:     "list",
	pluginv1.Kind_KIND_MAP:      "map",
	pluginv1.Kind_KIND_ANY:      "any",
	pluginv1.Kind_KIND_PATH:     "path",
}

func typeModel(t *pluginv1.Type, depth int) (model.Type, error) {
	kind, ok := types[t.GetKind()]
	switch {
	case depth > maxDepth:
		return model.Type{}, fmt.Errorf("its type nests deeper than %d", maxDepth)
	case t.GetKind() == pluginv1.Kind_KIND_UNSPECIFIED:
		return model.Type{}, fmt.Errorf("has no type")
	case !ok:
		return model.Type{}, &newerError{fmt.Sprintf("it has a value of type %d", t.GetKind())}
	}
	out := model.Type{Kind: kind}
	if kind != "list" && kind != "map" {
		return out, nil
	}
	element, err := typeModel(t.GetElement(), depth+1)
	if err != nil {
		return out, err
	}
	out.Element = &element
	return out, nil
}

func exampleModel(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}
