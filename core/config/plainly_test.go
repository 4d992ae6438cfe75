package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPlainly: what a rule says to everybody is decide's, by the rule's address.
func TestPlainly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.hcl")
	text := `
pipeline "p" {
  from = [detector.a]
}
rule "r" {
  on   = [pipeline.p]
  when = true
  about {
    plainly = " Somebody guesses passwords. "
  }
}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, diags := Load(path, Options{Schemas: testSchemas(t)})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p := newParser(src, src)
	p.files()
	p.constants()
	p.blocks()
	p.build() // whatever it complains of: there is no detector
	p.config.Rules = p.rules()
	if got := p.config.Decide.Plainly["rule.r"]; got != "Somebody guesses passwords." {
		t.Errorf("plainly %q", got)
	}
}
