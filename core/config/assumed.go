package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// assumed stands in for a plugin whose schema is not here: it takes any attribute,
// answers about any observable and offers any verb. Tests do with it; nothing is run by it.
func (p *parser) assumed(block *hclsyntax.Block) *model.Plugin {
	name := pluginName(block.Labels[0])
	if !slices.Contains(p.rehearsal.assumed, name) {
		p.rehearsal.assumed = append(p.rehearsal.assumed, name)
		p.warnf(block.LabelRanges[0], "Without a schema", "There is no schema of the plugin %q in %s. Tests do without: its attributes are not checked, and events are read by the pipeline's own map alone.", name, SchemaDir)
	}
	_, connector, _ := strings.Cut(block.Labels[0], "/")
	c := model.Connector{Kind: model.ConnectorKind(block.Type), Name: connector}
	switch c.Kind {
	case model.Enrichment:
		c.Takes = sdk.Kinds()
	case model.Action:
		for _, verb := range verbs() {
			c.Verbs = append(c.Verbs, model.Verb{Name: verb, Undo: true})
		}
	}
	return &model.Plugin{Name: name, Connection: &model.Schema{}, Connectors: []model.Connector{c}}
}

// assumedVerb is a verb of such a plugin, which takes what the step has.
func assumedVerb(s *section, name string) *model.Verb {
	v := &model.Verb{Name: name, Undo: true}
	switch {
	case s.has("to"):
		v.Targets = []string{plan.AddressKind}
	case s.has("targets"):
		v.Targets = sdk.Kinds()
	}
	if s.has("wait") || s.has("text") { // which it could not show otherwise
		v.Parameters.Attributes = append(v.Parameters.Attributes, model.Attribute{Name: noticeParameter})
	}
	if block := s.one("parameters"); block != nil {
		for parameter := range block.attrs {
			v.Parameters.Attributes = append(v.Parameters.Attributes, model.Attribute{Name: parameter})
		}
		slices.SortFunc(v.Parameters.Attributes, func(a, b model.Attribute) int { return strings.Compare(a.Name, b.Name) })
	}
	return v
}
