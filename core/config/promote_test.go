package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const promotable = `detector "file" "a" {
  path = "/a"
}

%s
`

// TestPromote: the one line changes, and everything else stays as it was written.
func TestPromote(t *testing.T) {
	for name, c := range map[string]struct{ before, after, minus, plus string }{
		"written": {
			"pipeline \"a\" {\n  state  = \"experimental\" # why\n  from   = [detector.a]\n  alerts = true\n}",
			"pipeline \"a\" {\n  state  = \"production\" # why\n  from   = [detector.a]\n  alerts = true\n}",
			`  state  = "experimental" # why`, `  state  = "production" # why`,
		},
		"not written": {
			"pipeline \"a\" { # mine\n  # ours\n  from    = [detector.a]\n  alerts  = true\n  respond = []\n}",
			"pipeline \"a\" { # mine\n  state = \"production\"\n  # ours\n  from    = [detector.a]\n  alerts  = true\n  respond = []\n}",
			"", `  state = "production"`,
		},
		"laid out beside others": {
			"pipeline \"a\" {\n  from   = [detector.a]\n  alerts = true\n}",
			"pipeline \"a\" {\n  state  = \"production\"\n  from   = [detector.a]\n  alerts = true\n}",
			"", `  state  = "production"`,
		},
		"untidy": {
			"pipeline \"a\" {\n    alerts=true\n  from = [detector.a]\n}",
			"pipeline \"a\" {\n  state = \"production\"\n    alerts=true\n  from = [detector.a]\n}",
			"", `  state = "production"`,
		},
		"by a variable": {
			"rule \"a\" {\n  on = [pipeline.p]\n  when = true\n  state = var.state\n}\npipeline \"p\" {\n  from = [detector.a]\n}\nvariable \"state\" {\n  default = \"experimental\"\n}",
			"rule \"a\" {\n  on = [pipeline.p]\n  when = true\n  state = \"production\"\n}\npipeline \"p\" {\n  from = [detector.a]\n}\nvariable \"state\" {\n  default = \"experimental\"\n}",
			`  state = var.state`, `  state = "production"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.hcl")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(promotable, "%s", c.before)), 0o600); err != nil {
				t.Fatal(err)
			}
			src, diags := Load(path, Options{Schemas: testSchemas(t)})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			p := newParser(src, src)
			if p.files(); p.diags.HasErrors() {
				t.Fatal(p.diags)
			}
			p.constants()
			p.blocks()
			p.build() // whatever it complains of: a pipeline here has no response
			p.config.Rules = p.rules()
			change := p.config.Promote(p.config.Rule("a"))
			if diff := cmp.Diff(strings.ReplaceAll(promotable, "%s", c.after), string(change.Text)); diff != "" {
				t.Error(diff)
			}
			if change.Before != c.minus || change.After != c.plus || change.Path != path {
				t.Errorf("%q %q %q", change.Before, change.After, change.Path)
			}
			lines := strings.Split(string(change.Text), "\n")
			if lines[change.Line-1] != c.plus {
				t.Errorf("line %d is %q", change.Line, lines[change.Line-1])
			}
		})
	}
}
