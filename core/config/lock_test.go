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
		{Name: "file", Version: "0.1.0", SHA256: map[string]string{"linux_amd64": sum, "linux_arm64": sum}},
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
