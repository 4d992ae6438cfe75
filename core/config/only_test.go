package config

import (
	"strings"
	"testing"
	"unicode"

	"github.com/kelpie-sec/kelpie/core/model"
)

func TestParseOnlyReadsOnePlugin(t *testing.T) {
	plugins := []model.Plugin{testSchemas(t)["file"]}
	for name, c := range map[string]struct {
		text, want, wrong string
	}{
		"its block":          {`detector "file" "a" { path = "a.json" }`, "detector.a", ""},
		"beside others":      {"detector \"none\" \"x\" {\n  path = nothing\n}\npipeline \"p\" { from = [detector.x] }\ndetector \"file\" \"a\" { path = local.p }\nlocals { p = \"a.json\" }\n", "detector.a", ""},
		"disabled":           {"detector \"file\" \"a\" {\n  enabled = false\n  path = \"a\"\n}\n", "", ""},
		"none":               {`response "r" {}`, "", ""},
		"wrong":              {`detector "file" "a" { pth = "a.json" }`, "", `Did you mean "path"?`},
		"without its labels": {`detector "file" { path = "a.json" }`, "", "This block is written detector"},
		"not HCL":            {`detector {{`, "", "definition is required"},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, diags := ParseOnly(&Source{Files: []File{{Name: "x.hcl", Text: c.text}}, Plugins: plugins}, "file")
			if c.wrong != "" {
				if parsed != nil || !strings.Contains(diags.Error(), c.wrong) && !strings.Contains(allOf(diags), c.wrong) {
					t.Fatalf("diagnostics %v, want %q", diags, c.wrong)
				}
				return
			}
			if diags.HasErrors() {
				t.Fatal(allOf(diags))
			}
			var got []string
			for _, in := range parsed.Instances() {
				got = append(got, in.Address)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("instances %q, want %q", got, c.want)
			}
		})
	}
}

func allOf(diags Diagnostics) string {
	var all []string
	for _, d := range diags {
		all = append(all, d.Summary+": "+d.Detail)
	}
	return strings.Join(all, "\n")
}

// TestOnlyNeedsNoOthersSecret: of two blocks the one that is driven is resolved.
func TestOnlyNeedsNoOthersSecret(t *testing.T) {
	plugin := model.Plugin{Name: "acme", Version: "1.0.0", Connectors: []model.Connector{{
		Kind: model.Enrichment, Takes: []string{"ip"},
		Schema: model.Schema{Attributes: []model.Attribute{{Name: "token", Secret: true, Type: model.Type{Kind: "string"}}}},
	}}}
	c, diags := ParseOnly(&Source{Plugins: []model.Plugin{plugin}, Files: []File{{Name: "x.hcl", Text: `
enrichment "acme" "a" { token = secret("known") }
enrichment "acme" "b" { token = secret("unknown") }
`}}}, "acme")
	if diags.HasErrors() {
		t.Fatal(allOf(diags))
	}
	t.Setenv("KELPIE_SECRET_KNOWN", "s3cret")
	if _, diags := c.Resolve(Secrets(t.TempDir())); !diags.HasErrors() {
		t.Fatal("a secret that is not there was resolved")
	}
	c.Only("enrichment.a")
	all, diags := c.Resolve(Secrets(t.TempDir()))
	if diags.HasErrors() || len(all) != 1 || !strings.Contains(string(all[0].Config), "s3cret") {
		t.Errorf("resolved %d instances, %v", len(all), diags)
	}
}

// TestBlankIsABlock: what is printed to be filled in can be read as it stands.
func TestBlankIsABlock(t *testing.T) {
	text := model.Type{Kind: "string"}
	hostile := model.Schema{
		Attributes: []model.Attribute{
			{Name: "template", Required: true, Type: text, Example: []byte("\"${env(\\\"HOME\\\")} %{ if } <b>\u202e\u009b\U000e0001\""), Doc: "One line\n} detector \"x\" {\nand more."},
			{Name: "token", Required: true, Secret: true, Type: text},
			{Name: "count", Required: true, Type: model.Type{Kind: "integer"}},
			{Name: "on", Required: true, Type: model.Type{Kind: "bool"}},
			{Name: "wait", Required: true, Type: model.Type{Kind: "duration"}},
			{Name: "list", Required: true, Type: model.Type{Kind: "list", Element: &text}},
			{Name: "map", Required: true, Type: model.Type{Kind: "map", Element: &text}},
			{Name: "mode", Required: true, Type: text, OneOf: []string{"fast", "slow"}},
			{Name: "other", Type: text},
		},
		Blocks: []model.Block{
			{Name: "inner", Nesting: "map", Required: true, Schema: model.Schema{Attributes: []model.Attribute{{Name: "name", Required: true, Type: text}}}},
			{Name: "more", Nesting: "list"},
		},
	}
	connection := model.Schema{Attributes: []model.Attribute{{Name: "url", Required: true, Type: text}}}
	plugin := model.Plugin{Name: "acme", Version: "1.0.0", Connection: &connection, Connectors: []model.Connector{
		{Kind: model.Detector, Name: "alerts", Schema: hostile}, {Kind: model.Detector, Name: "audit"},
	}}
	blank := Blank(plugin, plugin.Connectors[0], "mine")
	c, diags := ParseOnly(&Source{Plugins: []model.Plugin{plugin}, Files: []File{{Name: "x.hcl", Text: blank}}}, "acme")
	if diags.HasErrors() {
		t.Fatalf("%s\n%s", blank, allOf(diags))
	}
	if all := c.Instances(); len(all) != 1 || all[0].Address != "detector.mine" || all[0].Connector != "alerts" {
		t.Errorf("instances %+v of\n%s", all, blank)
	}
	all, _ := c.Resolve(func(string) (string, error) { return "s3cret", nil })
	for _, part := range []string{`"template":"${env(\"HOME\")} %{ if } \u003cb\u003e`, `"mode":"fast"`, `"token":"s3cret"`} {
		if !strings.Contains(string(all[0].Config), part) {
			t.Errorf("the block gives %s, want it to have %s", all[0].Config, part)
		}
	}
	if got := strings.Join(Needs(plugin, plugin.Connectors[0]), " "); got != "connection.url count inner list map mode on template token wait" {
		t.Errorf("it needs %s", got)
	}
	if bad := strings.IndexFunc(blank, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); bad >= 0 {
		t.Errorf("it would do something to a terminal: %q", blank[bad:])
	}
	for line := range strings.SplitSeq(blank, "\n") {
		if len([]rune(line)) > width {
			t.Errorf("wider than a screen: %s", line)
		}
	}
}
