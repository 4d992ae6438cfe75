package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// shape is what of a configuration can be compared: programs are compared by how
// many there are and what they read.
func shapeOf(c *Config) []string {
	var out []string
	for _, r := range c.Decide.Plan.Responses {
		out = append(out, r.Address)
		for _, s := range r.Steps {
			out = append(out, s.Name, s.Action, s.Verb, s.Route)
		}
		if r.When != nil {
			for _, p := range r.When.Paths() {
				out = append(out, p.String())
			}
		}
	}
	for _, f := range c.Decide.Score.Factors {
		out = append(out, f.Name, f.Weight, f.Combine)
		for _, e := range f.Evidence {
			out = append(out, e.Name)
		}
	}
	for _, s := range c.Enrich.Sources {
		out = append(out, s.Address, s.Key)
	}
	return out
}

// TestSourceAgain: a source that was encoded, kept and decoded gives the same
// configuration, wherever it is and whatever the world has become.
func TestSourceAgain(t *testing.T) {
	src, c := whole(t)
	version, err := src.Version()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeSource(version.Text)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := again.Hash()
	if err != nil || hash != version.Hash || hash != c.Hash || len(hash) != 64 {
		t.Errorf("hash %s, was %s and %s, %v", hash, version.Hash, c.Hash, err)
	}
	c2, diags := Parse(again)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if diff := cmp.Diff(shapeOf(c), shapeOf(c2)); diff != "" {
		t.Error(diff)
	}
	settings, err := Compile(version)
	if err != nil {
		t.Fatal(err)
	}
	if settings.Hash != hash || settings.Plan.Mode != c.Decide.Plan.Mode || len(settings.Plan.Responses) != 2 || len(settings.Sources) != 2 {
		t.Errorf("%+v", settings)
	}
	if bytes.Contains(version.Text, []byte("s3cret")) {
		t.Error("the text holds a secret")
	}
}

func TestCompileOfNothing(t *testing.T) {
	for _, text := range []string{"", "{", `{"files":[{"name":"a","text":"x"}]}`, `{}`} {
		if s, err := Compile(model.Config{Text: []byte(text)}); err == nil {
			t.Errorf("%q gives %+v", text, s)
		}
	}
}

// TestWorld: what env() and file() read is in the source, also of names that are
// worked out, and a later world does not change it.
func TestWorld(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.hcl", `
locals {
  folder = coalesce(env("LOG_DIR"), "/var/log")
  title  = file("${var.name}.txt")
}
detector "file" "a" {
  path = "${local.folder}/${env("NAME")}"
}
pipeline "a" {
  from    = [detector.a]
  alerts  = true
  respond = [response.a]
}
`)
	write("a.hcl", `
variable "name" {
}
variable "limit" {
  type    = "number"
  default = 50
}
action "email" "a" {
  server = "smtp://mail.example.org"
  from   = "kelpie@example.org"
}
response "a" {
  when = case.title != local.title && case.score.total > var.limit

  step "a" {
    do = action.a.notify
    to = ["soc@example.org"]
  }
}
rule "tested" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true

  test "reads much" {
    given "detector.a" {
      events = file("large.ndjson")
    }
    want {
      signals = 1
    }
  }
}
`)
	write("t.txt", "a title")
	env := map[string]string{"NAME": "eve.json", "KELPIE_VAR_LIMIT": "70"}
	src, diags := Load(dir, Options{
		Schemas: testSchemas(t), Variables: map[string]string{"name": "t"},
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	write("t.txt", "another")
	env["NAME"] = "other.json"
	c, diags := Parse(src)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	instances, _ := c.Resolve(Secrets(""))
	if got := string(instances[1].Config); !strings.Contains(got, `"path":"/var/log/eve.json"`) {
		t.Error(got)
	}
	name := "eve.json"
	want := &Source{
		Files:     src.Files,
		Env:       map[string]*string{"LOG_DIR": nil, "NAME": &name},
		Texts:     map[string]Text{"t.txt": {Text: "a title"}},
		Variables: map[string]string{"name": "t", "limit": "70"},
		Plugins:   src.Plugins, Known: src.Known, Dir: src.Dir, Prefix: src.Prefix,
	}
	if diff := cmp.Diff(want, src); diff != "" {
		t.Error(diff)
	}
	if src.Files[0].Name != "a.hcl" || src.Files[1].Name != "b.hcl" || len(src.Plugins) != 2 {
		t.Errorf("files %v, %d plugins", src.Files, len(src.Plugins))
	}
}

// TestFolder: the lock is no configuration, and a folder without one says so.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, LockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "none.hcl")} {
		if _, diags := Load(path, Options{}); !diags.HasErrors() || !strings.Contains(diags[0].Detail, filepath.Base(path)) {
			t.Errorf("%s: %v", path, diags)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte("\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, diags := Load(dir, Options{}); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "UTF-8") {
		t.Errorf("%v", diags)
	}
}

// TestVariables: a value from outside must be of the variable's type.
func TestVariables(t *testing.T) {
	const text = `
variable "a" {
  type = "%"
}
detector "file" "a" {
  path      = "x"
  max_line  = var.a == null ? 1 : 2
}
pipeline "a" {
  from = [detector.a]
}
rule "r" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`
	for _, test := range []struct {
		kind, given string
		ok          bool
	}{
		{"string", `any "text" ${at all`, true},
		{"number", "12.5", true},
		{"number", "twelve", false},
		{"number", `"12"`, false},
		{"bool", "true", true},
		{"list", `["a", "b"]`, true},
		{"list", `["a"`, false},
		{"map", `{ a = 1 }`, true},
		{"any", strings.Repeat("[", 10_000), false},
	} {
		src, diags := load(t, strings.Replace(text, "%", test.kind, 1), Options{Variables: map[string]string{"a": test.given}})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if _, diags := Parse(src); diags.HasErrors() == test.ok {
			t.Errorf("%s %q: %v", test.kind, test.given, diags)
		}
	}
	src, _ := load(t, strings.NewReplacer(`"%"`, `"any"`, `variable "a"`, `variable "a_token"`, "var.a ", "var.a_token ").Replace(text), Options{Variables: map[string]string{"a_token": "hunter2"}})
	if _, diags := Parse(src); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "secret") || strings.Contains(diags.Error(), "hunter2") {
		t.Errorf("a variable that sounds like a secret: %v", diags)
	}
	src, _ = load(t, strings.Replace(text, "%", "any", 1), Options{Variables: map[string]string{"a": "1", "b": "2"}})
	if _, diags := Parse(src); !diags.HasErrors() || !strings.Contains(diags[0].Detail, `"b"`) {
		t.Errorf("a variable that is not declared: %v", diags)
	}
}
