package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestExamples: every example is accepted as it stands, and with what is in its
// comments, and is laid out as fmt would.
func TestExamples(t *testing.T) {
	schemas := testSchemas(t)
	for _, p := range oddPlugins() {
		schemas[p.Name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		p := schemas[name]
		for _, c := range p.Connectors {
			t.Run(fmt.Sprintf("%s %s %s", c.Kind, p.Name, c.Name), func(t *testing.T) {
				text := Example(p, c)
				if again := string(Format([]byte(text))); again != text {
					t.Errorf("not laid out:\n%s", cmp.Diff(again, text))
				}
				parseExample(t, p, text)
				steps := ""
				for _, v := range c.Verbs {
					steps += ExampleStep(v)
				}
				if steps != "" {
					block, _, _ := strings.Cut(text, "\nresponse ")
					text = block + "\nresponse \"example\" {\n" + steps + "}\n"
					parseExample(t, p, text)
				}
				parseExample(t, p, uncommented(text))
			})
		}
	}
}

// parseExample wants no complaint about a text, in which a pipeline of another plugin
// uses the response, if it has one.
func parseExample(t *testing.T, p model.Plugin, text string) {
	t.Helper()
	schemas := map[string]model.Plugin{p.Name: p, "stub": {Name: "stub", Version: "1.0.0", Connectors: []model.Connector{{Kind: model.Detector}}}}
	whole := text
	if strings.Contains(text, "\nresponse ") {
		whole += `
detector "stub" "stub" {
}
pipeline "stub" {
  from    = [detector.stub]
  alerts  = true
  respond = [response.example]
}
`
	}
	src, c, diags := parseText(t, whole, Options{Schemas: schemas})
	if c != nil {
		diags = append(diags, c.NotBuilt...)
	}
	if len(diags) > 0 {
		var out strings.Builder
		if err := WriteText(&out, diags, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s\n%s", out.String(), text)
	}
}

// uncommented is an example with all that may be added.
func uncommented(text string) string {
	var b strings.Builder
	adding := false
	for l := range strings.Lines(text) {
		indent, comment, is := strings.Cut(l, "# ")
		switch {
		case strings.TrimSpace(l) == mayAddLine:
			adding = true
			continue
		case !is || strings.TrimSpace(indent) != "":
			adding = strings.TrimSpace(l) == "#" && adding
		case adding:
			l = indent + comment
		}
		b.WriteString(l)
	}
	return b.String()
}

// hostileText is what breaks out of quotes, and looks like what it is not.
const hostileText = "\"}\n${env(\"HOME\")} %{if true} \\ \u202e\u0000\x1b[31m ``` <script>"

// oddPlugins have one of everything that a schema can hold, with and without examples.
func oddPlugins() []model.Plugin {
	list := func(e model.Type) model.Type { return model.Type{Kind: "list", Element: &e} }
	mapOf := func(e model.Type) model.Type { return model.Type{Kind: "map", Element: &e} }
	text := model.Type{Kind: "string"}
	types := map[string]model.Type{
		"string": text, "path": {Kind: "path"}, "integer": {Kind: "integer"}, "number": {Kind: "number"}, "bool": {Kind: "bool"},
		"duration": {Kind: "duration"}, "any": {Kind: "any"}, "list": list(text), "map": mapOf(list(model.Type{Kind: "integer"})),
		"list_of_any": list(model.Type{Kind: "any"}), "words": text,
	}
	hostile, _ := json.Marshal(hostileText)
	// Each is right for some types and wrong for the others.
	examples := []string{
		"", `1`, `-2.5e3`, `true`, `"1h"`, `"often"`, `[]`, `["a", "b"]`, `[1, null, {"for": [2]}]`, `{"a b": [3], "null": [], "for": [1]}`,
		string(hostile), `[` + string(hostile) + `]`, `{` + string(hostile) + `: [1]}`, `123456789012345678901234567890`, `null`, `"` + strings.Repeat("x", maxExample) + `"`,
	}
	var plugins []model.Plugin
	for i, example := range examples {
		var schema model.Schema
		for _, name := range slices.Sorted(maps.Keys(types)) {
			a := model.Attribute{Name: name, Type: types[name], Required: true, Example: json.RawMessage(example)}
			if name == "words" {
				a.OneOf = []string{"it's", hostileText}
			}
			schema.Attributes = append(schema.Attributes, a)
			a.Name, a.Required = name+"_too", false
			schema.Attributes = append(schema.Attributes, a)
			a.Name, a.Deprecated = name+"_once", "it does nothing"
			schema.Attributes = append(schema.Attributes, a)
		}
		for name, secret := range map[string]model.Type{"secret_text": text, "secret_list": list(text), "secret_map": mapOf(text)} {
			schema.Attributes = append(schema.Attributes, model.Attribute{Name: name, Type: secret, Secret: true, Required: i%2 == 0})
		}
		plugins = append(plugins, oddPlugin(fmt.Sprintf("odd_%d", i), schema))
	}
	return plugins
}

// oddPlugin has connectors of all kinds and verbs of all targets with this schema, in
// blocks of all nestings too.
func oddPlugin(name string, schema model.Schema) model.Plugin {
	flat := schema
	for _, nesting := range []string{"single", "list", "map"} {
		for _, required := range []bool{true, false} {
			inner := flat
			inner.Blocks = []model.Block{{Name: "deep", Nesting: nesting, Required: !required, Schema: flat}}
			schema.Blocks = append(schema.Blocks, model.Block{Name: fmt.Sprintf("%s_%t", nesting, required), Nesting: nesting, Required: required, Schema: inner})
		}
	}
	p := model.Plugin{
		Name: name, Version: "1.0.0", Connection: &schema,
		Connectors: []model.Connector{
			{Kind: model.Detector, Name: "one", Schema: schema},
			{Kind: model.Detector, Name: "two"},
			{Kind: model.Enrichment, Schema: schema, Takes: sdk.Kinds(), Local: true},
			{Kind: model.Action, Schema: schema},
		},
	}
	var parameters model.Schema
	for _, a := range flat.Attributes {
		if !a.Secret {
			parameters.Attributes = append(parameters.Attributes, a)
		}
	}
	action := &p.Connectors[3]
	for _, verb := range []string{"notify", "ticket", "isolate_host", "disable_account", "block_indicator", name + ".own"} {
		action.Verbs = append(action.Verbs, model.Verb{Name: verb, Undo: true, Parameters: parameters, Targets: map[string][]string{"notify": {"address"}, "isolate_host": {"host"}, "disable_account": {"user", "account"}, "block_indicator": {"hash"}}[verb]})
	}
	return p
}

// TestLiteral: what a literal says is what the JSON says.
func TestLiteral(t *testing.T) {
	hostile, _ := json.Marshal(hostileText + " \U000e0001 $${ %%{ $ % {")
	for _, text := range []string{
		`null`, `true`, `-0.5`, `"x"`, string(hostile), `[]`, `{}`, `[1, [2, "a"], {"b": null}]`, `{"for": 1, "if": 2, "null": 3, "a b": 4, "ok": 5}`,
	} {
		written := Literal(json.RawMessage(text))
		if strings.ContainsAny(written, "\n\x00\x1b\u202e") {
			t.Errorf("%s is written as %q", text, written)
		}
		_, c, diags := parseText(t, fmt.Sprintf("detector \"any\" \"a\" {\n  value = %s\n}\npipeline \"p\" {\n  from = [detector.a]\n}\nrule \"r\" {\n  state = \"experimental\"\n  on = [pipeline.p]\n  when = true\n}\n", written), Options{
			Schemas: map[string]model.Plugin{"any": {Name: "any", Version: "1.0.0", Connectors: []model.Connector{{
				Kind: model.Detector, Schema: model.Schema{Attributes: []model.Attribute{{Name: "value", Type: model.Type{Kind: "any"}}}},
			}}}},
		})
		if len(diags) > 0 {
			t.Fatalf("%s: %v", written, diags)
		}
		instances, diags := c.Resolve(nil)
		if len(diags) > 0 || len(instances) != 1 {
			t.Fatal(instances, diags)
		}
		var got struct{ Value any }
		var want any
		if err := json.Unmarshal(instances[0].Config, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Value); diff != "" {
			t.Errorf("%s (-want +got):\n%s", written, diff)
		}
	}
}
