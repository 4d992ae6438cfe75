package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	lock, diags := ReadLock(dir)
	if len(diags) > 0 || len(lock.Plugins) > 0 {
		t.Fatalf("a lock that is not there: %v, %v", lock, diags)
	}
	sum := strings.Repeat("ab", 32)
	want := host.Lock{Plugins: []host.LockedPlugin{
		{Name: "email", Version: "1.0.0", SHA256: map[string]string{"linux_amd64": sum}},
		{Name: "file", Version: "0.1.0", SHA256: map[string]string{"linux_amd64": sum, "linux_arm64": sum}, Own: "files", Source: "https://plugins.example.org", Publisher: "RW${x}"},
	}}
	turned := host.Lock{Plugins: []host.LockedPlugin{want.Plugins[1], want.Plugins[0]}}
	if err := WriteLock(dir, turned); err != nil {
		t.Fatal(err)
	}
	got, diags := ReadLock(dir)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first, err := os.ReadFile(filepath.Join(dir, LockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteLock(dir, got); err != nil {
		t.Fatal(err)
	}
	second, _ := os.ReadFile(filepath.Join(dir, LockName))
	if !bytes.Equal(first, second) || !bytes.Equal(first, Format(first)) {
		t.Errorf("the lock changes:\n%s\n%s", first, second)
	}
}

func TestWrongLock(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":    `plugin "file" {`,
		"no sum":    "plugin \"file\" {\n  version = \"1\"\n}",
		"short sum": "plugin \"file\" {\n  version = \"1\"\n  sha256  = { linux_amd64 = \"abc\" }\n}",
		"attribute": "file = 1",
		"twice":     strings.Repeat("plugin \"file\" {\n  version = \"1\"\n  sha256  = {}\n}\n", 2),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, LockName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if lock, diags := ReadLock(dir); !diags.HasErrors() || len(lock.Plugins) > 0 {
			t.Errorf("%s: %v, %v", name, lock, diags)
		}
	}
}

// TestUnlocked: each plugin that is used and not locked is named once, with what to do.
func TestUnlocked(t *testing.T) {
	_, c := whole(t)
	lock := host.Lock{Plugins: []host.LockedPlugin{{Name: "file", Version: "0.1.0"}, {Name: "table", Version: "0.1.0"}, {Name: "email", Version: "0.2.0"}}}
	diags := c.Unlocked(lock)
	if len(diags) != 3 || !diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, d := range diags {
		if !strings.Contains(d.Detail, "kelpie plugin lock") {
			t.Error(d.Detail)
		}
	}
}

func TestSchemas(t *testing.T) {
	dir := t.TempDir()
	schemas := testSchemas(t)
	file := schemas["file"]
	if err := WriteSchemas(dir, []model.Plugin{file, schemas["email"]}); err != nil {
		t.Fatal(err)
	}
	if err := WriteSchemas(dir, []model.Plugin{file}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSchemas(dir)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	// The description stays what it was, but for the layout of JSON in it.
	if diff := cmp.Diff(file.Connectors[0].Schema.Attributes[0], got["file"].Connectors[0].Schema.Attributes[0]); diff != "" {
		t.Error(diff)
	}
	if err := WriteSchemas(dir, []model.Plugin{{Name: "../up"}}); err == nil {
		t.Error("a name that leads elsewhere is taken")
	}
	if err := os.WriteFile(filepath.Join(dir, SchemaDir, "file.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSchemas(dir); err == nil || !strings.Contains(err.Error(), "kelpie plugin lock") {
		t.Errorf("a broken description: %v", err)
	}
}

// TestClash: a plugin that wants the core's names, or brings a wrong mapping, is named.
func TestClash(t *testing.T) {
	const text = `
detector "file" "a" {
  path = "a"
}
pipeline "a" {
  from = [detector.a]
}
rule "r" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`
	for want, change := range map[string]func(*model.Connector){
		`attribute "timeout"`: func(c *model.Connector) {
			c.Schema.Attributes = append(c.Schema.Attributes, model.Attribute{Name: "timeout", Type: model.Type{Kind: "string"}})
		},
		`block "health"`: func(c *model.Connector) {
			c.Schema.Blocks = append(c.Schema.Blocks, model.Block{Name: "health", Nesting: "single"})
		},
		"mapping that is wrong (line 2":   func(c *model.Connector) { c.DefaultMapping = "title = event.title\nseverity = evnt.raw.x\n" },
		"mapping that is wrong (line 1: ": func(c *model.Connector) { c.DefaultMapping = "titel = event.title" },
	} {
		schemas := testSchemas(t)
		plugin := schemas["file"]
		plugin.Connectors = []model.Connector{plugin.Connectors[0]}
		change(&plugin.Connectors[0])
		schemas["file"] = plugin
		_, _, diags := parseText(t, text, Options{Schemas: schemas})
		if !diags.HasErrors() || !strings.Contains(diags[0].Detail, want) {
			t.Errorf("%s: %v", want, diags)
		}
	}
}

const (
	oneKey   = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	otherKey = "RWRBSBHiDndQYz59V+D8pHJdJLpuUCt8BmVwZYRd8ZXuSbyU9TGBXeXd"
)

// TestUnvouched: what is locked must be what the blocks of plugins say.
func TestUnvouched(t *testing.T) {
	const text = `
kelpie {
  signatures = "required"
}
publisher "acme" {
  key = "` + oneKey + `"
}
plugin "file" {
  source    = "plugins"
  version   = "~> 1.0"
  publisher = publisher.acme
  name      = "files"
}
detector "file" "a" {
  path = "a"
}
pipeline "a" {
  from = [detector.a]
}
rule "r" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`
	_, c, diags := parseText(t, text, Options{})
	if c == nil || len(diags) > 0 {
		t.Fatal(diags)
	}
	if o := c.Origins[0]; o.Label != "file" || o.Name != "files" || o.Source != "plugins" || o.Publisher != "acme" || o.PublicKey() != oneKey || c.Kelpie.Signatures != Required {
		t.Errorf("%+v", o)
	}
	right := host.LockedPlugin{Name: "file", Version: "1.2.0", Own: "files", Source: "plugins", Publisher: oneKey}
	for name, at := range map[string]struct {
		change func(*host.LockedPlugin)
		want   string
		line   int
	}{
		"right":         {func(*host.LockedPlugin) {}, "", 0},
		"not locked":    {func(l *host.LockedPlugin) { l.Name = "table" }, "", 0}, // which Unlocked says
		"by hand":       {func(l *host.LockedPlugin) { l.Source, l.Publisher = "", "" }, "locked by hand", 11},
		"unsigned":      {func(l *host.LockedPlugin) { l.Publisher = "" }, "nobody knows whether publisher \"acme\"", 11},
		"other key":     {func(l *host.LockedPlugin) { l.Publisher = otherKey }, "signed by another key", 11},
		"other name":    {func(l *host.LockedPlugin) { l.Own = "" }, "calls itself \"file\"", 12},
		"other version": {func(l *host.LockedPlugin) { l.Version = "2.0.0" }, "kelpie init --upgrade", 10},
	} {
		l := right
		at.change(&l)
		switch diags := c.Unvouched(host.Lock{Plugins: []host.LockedPlugin{l}}); {
		case at.want == "" && len(diags) == 0:
		case at.want == "" || len(diags) != 1 || !diags.HasErrors() || diags[0].Subject.Start.Line != at.line || !strings.Contains(diags[0].Detail, at.want):
			t.Errorf("%s: %v, want %q on line %d", name, diags, at.want, at.line)
		}
	}
	if diags := c.Unlocked(host.Lock{}); len(diags) != 1 || !strings.Contains(diags[0].Detail, "kelpie init") {
		t.Error(diags)
	}
}

// TestOrigins: where plugins come from is read though none of them is here, and what is
// not vouched for is refused where it must be.
func TestOrigins(t *testing.T) {
	const text = `
variable "where" {
  default = "plugins"
}
plugin "acme" {
  source = var.where
  memory = "64MiB"
}
detector "acme" "a" {
  anything = "that nobody knows yet"
}
pipeline "p" {
  from = [detector.a]
}
`
	src, diags := load(t, text, Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	k, all, diags := Origins(src)
	if len(diags) > 0 || k.Signatures != Optional || len(all) != 1 || all[0].Source != "plugins" || all[0].Key != nil || all[0].Name != "acme" {
		t.Errorf("%+v, %+v, %v", k, all, diags)
	}
	if d := all[0].Complaint("source", "Wrong", "it is"); d[0].Subject.Start.Line != 6 || d[0].Detail != "it is" {
		t.Error(d)
	}
	for more, want := range map[string]int{
		"":                                   1,
		"detector \"file\" \"b\" {}\n":       2,
		"plugin \"x\" {\n source = \"y\"\n}": 2,
		"plugin \"y\" {}":                    1,
	} {
		src, _ := load(t, text+"kelpie {\n  signatures = \"required\"\n}\n"+more, Options{})
		if _, _, diags := Origins(src); len(diags) != want || !strings.Contains(diags[0].Summary, "Nobody vouches") {
			t.Errorf("%s: %v", more, diags)
		}
	}
	if _, _, diags := Origins(&Source{Files: []File{{Name: "config.hcl", Text: "plugin {{"}}}); !diags.HasErrors() {
		t.Error("what is no HCL is read")
	}
}
