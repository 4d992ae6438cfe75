package scaffold

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestWrite: whatever kinds of connectors a plugin has, it builds, is well formed and
// passes its own tests, in a module of its own.
func TestWrite(t *testing.T) {
	sdk, err := filepath.Abs("../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	all := []model.ConnectorKind{model.Detector, model.Enrichment, model.Action}
	for name, kinds := range map[string][]model.ConnectorKind{
		"my_vendor": all, "eyes": {model.Detector}, "facts": {model.Enrichment}, "hands": {model.Action},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "new", name)
			files, err := Write(folder, Plugin{Name: name, Kinds: kinds, SDKVersion: "v0.0.0", SDKFolder: sdk, GoVersion: strings.TrimPrefix(runtime.Version(), "go")})
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range all {
				if has := slices.Contains(files, string(kind)+".go"); has != slices.Contains(kinds, kind) {
					t.Errorf("%s.go is there: %v", kind, has)
				}
			}
			for _, file := range files {
				text, err := os.ReadFile(filepath.Join(folder, file))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(strings.ToLower(string(text)), "acme") {
					t.Errorf("%s speaks of acme", file)
				}
			}
			run(t, folder, "mod", "tidy")
			run(t, folder, "vet", "./...")
			run(t, folder, "test", "./...")
			binary := filepath.Join(folder, "plugins", name)
			run(t, folder, "build", "-o", binary, ".")
			about, _, err := host.Inspect(t.Context(), binary)
			if err != nil || about.Name != name || len(about.Connectors) != len(kinds) {
				t.Fatalf("it says that it is %+v, %v", about, err)
			}
			if len(kinds) == len(all) { // else nothing uses it
				validate(t, folder, about)
			}
			if again, err := Write(folder, Plugin{Name: name, Kinds: kinds}); !errors.Is(err, ErrExists) {
				t.Errorf("written again: %v, %v", again, err)
			}
		})
	}
}

// TestWriteNode: the same of a plugin in JavaScript.
func TestWriteNode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds with npm")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("there is no " + program + " here")
		}
	}
	for name, kinds := range map[string][]model.ConnectorKind{
		"my_vendor": {model.Detector, model.Enrichment, model.Action}, "eyes": {model.Detector}, "facts": {model.Enrichment}, "hands": {model.Action},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), name)
			files, err := Write(folder, Plugin{Name: name, Kinds: kinds, Language: Node})
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(filepath.Join(folder, file))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(strings.ToLower(string(text)), "acme") {
					t.Errorf("%s speaks of acme", file)
				}
				if kind, of := kindOf(file); of && !slices.Contains(kinds, kind) {
					t.Errorf("%s is there", file)
				}
			}
			command(t, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
			command(t, folder, "npm", "test")
			command(t, folder, "npm", "run", "build")
			about, _, err := host.Inspect(t.Context(), filepath.Join(folder, "plugins", name))
			if err != nil || about.Name != name || len(about.Connectors) != len(kinds) {
				t.Fatalf("it says that it is %+v, %v", about, err)
			}
			if len(kinds) == 3 { // else nothing uses it
				validate(t, folder, about)
			}
		})
	}
}

func run(t *testing.T, folder string, args ...string) {
	t.Helper()
	command(t, folder, "go", args...)
}

func command(t *testing.T, folder, program string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	c.Dir = folder
	// What the modules of this one need is at hand.
	c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// validate reads the configuration in the README.
func validate(t *testing.T, folder string, about model.Plugin) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "```hcl\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatalf("no configuration in\n%s", readme)
	}
	file := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, diags := config.Load(file, config.Options{Schemas: map[string]model.Plugin{about.Name: about}})
	if !diags.HasErrors() {
		_, diags = config.Parse(src)
	}
	if len(diags) > 0 {
		t.Errorf("%v in\n%s", diags, text)
	}
}

func TestRefused(t *testing.T) {
	kinds := []model.ConnectorKind{model.Action}
	for name, p := range map[string]Plugin{
		"a name of two words": {Name: "my vendor", Kinds: kinds},
		"a path":              {Name: "../x", Kinds: kinds},
		"no name":             {Kinds: kinds},
		"no connectors":       {Name: "x"},
		"a long name":         {Name: strings.Repeat("a", 64), Kinds: kinds},
		"no module's name":    {Name: "x", Kinds: kinds, Module: "not a module"},
		"no such language":    {Name: "x", Kinds: kinds, Language: "cobol"},
	} {
		folder := filepath.Join(t.TempDir(), "x")
		if files, err := Write(folder, p); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, %v", name, files, err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
}
