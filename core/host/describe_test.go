package host

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// What a plugin has of a later contract is left out, and the rest is used.
func TestDescribeOfALaterContract(t *testing.T) {
	const (
		enrichment = pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT
		action     = pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION
	)
	later := &pluginv1.Type{Kind: 99}
	list := &pluginv1.Type{Kind: pluginv1.Kind_KIND_LIST, Element: later}
	schema := func(t *pluginv1.Type) *pluginv1.Schema {
		return &pluginv1.Schema{Attributes: []*pluginv1.Attribute{{Name: "new", Type: t}}}
	}
	for _, c := range []struct {
		name      string
		connector *pluginv1.Connector
		left      string   // in the one reason; empty: nothing is left out
		verbs     []string // that stay
	}{
		{"today's", &pluginv1.Connector{Kind: enrichment, Name: "x", Needs: []string{sdk.DetectPulse}}, "", nil},
		{"kind", &pluginv1.Connector{Kind: 7, Name: "x"}, `connector "x": it is of kind 7, which this Kelpie does not have`, nil},
		{"need", &pluginv1.Connector{Kind: enrichment, Name: "x", Needs: []string{sdk.DetectPulse, "enrich.stream"}}, `enrichment "x": it needs "enrich.stream"`, nil},
		{"type", &pluginv1.Connector{Kind: enrichment, Name: "x", Schema: schema(later)}, `enrichment "x": attribute "new": it has a value of type 99`, nil},
		{"element", &pluginv1.Connector{Kind: enrichment, Name: "x", Schema: schema(list)}, `it has a value of type 99`, nil},
		{"nesting", &pluginv1.Connector{Kind: enrichment, Name: "x", Schema: &pluginv1.Schema{Blocks: []*pluginv1.Block{{Name: "b", Nesting: 9}}}}, `its block "b" nests in way 9`, nil},
		{"verb", &pluginv1.Connector{Kind: action, Name: "x", Verbs: []*pluginv1.Verb{
			{Name: "notify"}, {Name: "isolate_host", Needs: []string{"act.two_keys"}}, {Name: "ticket"},
		}}, `action "x", verb "isolate_host": it needs "act.two_keys"`, []string{"notify", "ticket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := &pluginv1.Connector{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR}
			p, err := pluginModel(&pluginv1.DescribeResponse{Name: "acme", Version: "1.0.0", Connectors: []*pluginv1.Connector{c.connector, known}})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(p.Connectors, func(o model.Connector) bool { return o.Kind == model.Detector }) {
				t.Error("what is known of it is left out too")
			}
			if c.left == "" {
				if len(p.LeftOut) > 0 || len(p.Connectors) != 2 {
					t.Errorf("left out: %q", p.LeftOut)
				}
				return
			}
			if len(p.LeftOut) != 1 || !strings.Contains(p.LeftOut[0], c.left) || !strings.Contains(p.LeftOut[0], "take a newer one") {
				t.Errorf("left out are %q, want %q", p.LeftOut, c.left)
			}
			var verbs []string
			for _, o := range p.Connectors {
				for _, v := range o.Verbs {
					verbs = append(verbs, v.Name)
				}
			}
			if d := cmp.Diff(c.verbs, verbs); d != "" {
				t.Error(d)
			}
			if c.verbs == nil && len(p.Connectors) != 1 {
				t.Errorf("%d connectors stay", len(p.Connectors))
			}
		})
	}
	_, err := pluginModel(&pluginv1.DescribeResponse{Name: "acme", Version: "1.0.0", Connectors: []*pluginv1.Connector{{Kind: 7}}})
	if err == nil || !strings.Contains(err.Error(), "offers nothing that this Kelpie can use") {
		t.Errorf("one of which nothing can be used: %v", err)
	}
}
