// Package docs keeps the generated pages equal to what the programs say of themselves.
package docs

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/manual"
	"github.com/kelpie-sec/kelpie/core/model"
)

//go:generate go test -run TestPages -update .

var update = flag.Bool("update", false, "write the pages")

// generated stands above every page that is made.
const generated = "<!-- Written by \"make docs\" from what the programs say of themselves. Do not edit. -->\n"

// TestPages: what is committed is what the programs say, and what it shows as a
// configuration is one. Every page is made here, and there is no other in connectors.
func TestPages(t *testing.T) {
	if testing.Short() && !*update {
		t.Skip("builds the plugins")
	}
	plugins := inspectAll(t)
	pages := map[string]string{
		"reference.md":         manual.Reference(),
		"expressions.md":       manual.Expressions(),
		"connectors/README.md": manual.Index(plugins),
	}
	for _, p := range plugins {
		pages["connectors/"+p.Name+".md"] = manual.Plugin(p, "../")
	}
	have, err := filepath.Glob("connectors/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		if _, ok := pages[filepath.ToSlash(path)]; ok {
			continue
		}
		if !*update {
			t.Errorf("%s is of no plugin: run \"make docs\"", path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range pages {
		check(t, path, generated+text)
	}
	examples(t, plugins)
}

// examples parses what the pages and the plugins' READMEs show as a configuration.
func examples(t *testing.T, plugins []model.Plugin) {
	t.Helper()
	schemas := map[string]model.Plugin{}
	for _, p := range plugins {
		schemas[p.Name] = p
	}
	for name, p := range schemas {
		readme, err := os.ReadFile(filepath.Join("../plugins", name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		example := ""
		for _, block := range blocks(manual.Plugin(p, "") + string(readme)) {
			if strings.HasPrefix(block, "step ") { // of the action before it
				action, _, _ := strings.Cut(example, "\nresponse ")
				block = action + "\nresponse \"example\" {\n" + block + "}\n"
			}
			example = block
			parse(t, name, block, schemas)
		}
		if example == "" {
			t.Errorf("%s has no example", name)
		}
	}
}

// blocks are the configurations in a page.
func blocks(page string) []string {
	var all []string
	for _, part := range strings.Split(page, "\n```hcl\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		all = append(all, block+"\n")
	}
	return all
}

var responseForm = regexp.MustCompile(`(?m)^response "(\w+)"`)

// parse wants no complaint about a text, whose responses a pipeline beside it uses.
func parse(t *testing.T, plugin, text string, schemas map[string]model.Plugin) {
	t.Helper()
	whole := text
	if found := responseForm.FindAllStringSubmatch(text, -1); len(found) > 0 {
		var names []string
		for _, m := range found {
			names = append(names, "response."+m[1])
		}
		whole += "detector \"file\" \"other\" {\n path = \"/other\"\n}\npipeline \"other\" {\n from = [detector.other]\n alerts = true\n respond = [" + strings.Join(names, ", ") + "]\n}\n"
	}
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	src, diags := config.Load(path, config.Options{Schemas: schemas})
	if !diags.HasErrors() {
		_, diags = config.Parse(src)
	}
	if len(diags) > 0 {
		t.Errorf("an example of %s is refused: %v\n%s", plugin, diags, text)
	}
}

// check compares a page with what it should be, or writes it.
func check(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v: run \"make docs\"", err)
		return
	}
	if string(have) != want {
		t.Errorf("docs/%s is not what the programs say: run \"make docs\"%s", path, difference(string(have), want))
	}
}

// difference is the first line in which two texts differ.
func difference(have, want string) string {
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("\nline %d: %s\n     not: %s", i+1, b[i], a[i])
		}
	}
	return fmt.Sprintf("\n%d lines, not %d", len(b), len(a))
}

// inspectAll builds every plugin of the tree, and asks it what it is.
func inspectAll(t *testing.T) []model.Plugin {
	t.Helper()
	mains, err := filepath.Glob("../plugins/*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("no plugins: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []model.Plugin
	for _, m := range mains {
		folder := filepath.Dir(m)
		path := filepath.Join(dir, filepath.Base(folder))
		if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", folder, err, out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		plugin, _, err := host.Inspect(ctx, path)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, plugin)
	}
	return all
}
