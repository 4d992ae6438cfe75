package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestParseOnlyOfAFile: what is used or not, and whose blocks stand beside, is all one.
func TestParseOnlyOfAFile(t *testing.T) {
	for name, c := range map[string]struct{ plugin, text, want, wrong string }{
		"unused and others'": {plugin: "file", text: `
variable "folder" { default = "/var/log" }
detector "file" "eve" { path = "${var.folder}/eve.json" }
enrichment "nonesuch" "it" { }
pipeline "p" { from = [detector.nowhere] }`, want: "detector.eve"},
		"wrong":      {plugin: "file", text: `detector "file" "eve" { pth = "eve.json" }`, wrong: "missing attribute"},
		"no secret":  {plugin: "email", text: `action "email" "mail" {` + "\n" + `server = "smtp://mail.example.org"` + "\n" + `from = "a@example.org"` + "\n" + `password = "clear"` + "\n}", wrong: "secret"},
		"not HCL":    {plugin: "file", text: `detector "file" {`, wrong: "block"},
		"connection": {plugin: "carbonblack", text: "connection \"carbonblack\" \"edr\" {\n url = \"https://cb.example.org\"\n token = secret(\"cb\")\n}\ndetector \"carbonblack\" \"alerts\" { connection = connection.edr }", want: "detector.alerts"},
	} {
		t.Run(name, func(t *testing.T) {
			schemas, err := ReadSchemas("testdata")
			if err != nil || len(schemas) == 0 {
				t.Fatalf("%d schemas, %v", len(schemas), err)
			}
			path := filepath.Join(t.TempDir(), "x.hcl")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			src, diags := Load(path, Options{Schemas: schemas, LookupEnv: func(string) (string, bool) { return "", false }})
			var got *Config
			if !diags.HasErrors() {
				got, diags = ParseOnly(src, c.plugin)
			}
			if c.wrong != "" {
				if !diags.HasErrors() || !strings.Contains(strings.ToLower(diags.Error()), c.wrong) {
					t.Errorf("%v, want a complaint about %q", diags, c.wrong)
				}
				return
			}
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			instances, diags := got.Resolve(func(string) (string, error) { return "s3cret", nil })
			if diags.HasErrors() || len(instances) != 1 || instances[0].Address != c.want {
				t.Errorf("%v, %v", instances, diags)
			}
		})
	}
}
