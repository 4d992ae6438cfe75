package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// now is the time of the tests, for ignores that end.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testSchemas(t testing.TB) map[string]model.Plugin {
	t.Helper()
	schemas, err := ReadSchemas("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return schemas
}

// parseText loads and parses one text as config.hcl, with the schemas of testdata.
func parseText(t testing.TB, text string, o Options) (*Source, *Config, Diagnostics) {
	t.Helper()
	src, diags := load(t, text, o)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	c, diags := Parse(src)
	return src, c, diags
}

func load(t testing.TB, text string, o Options) (*Source, Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.Schemas == nil {
		o.Schemas = testSchemas(t)
	}
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	src, diags := Load(filepath.Join(dir, "config.hcl"), o)
	if src != nil {
		src.Prefix = ""
	}
	return src, diags
}

// TestWrong: each file is a configuration, a line of dashes, and what is said of it.
func TestWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.txt")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	const dashes = "--------\n"
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(whole), dashes)
			src, c, diags := parseText(t, text, Options{})
			if c != nil {
				diags = append(diags, c.Expiring(now)...)
				diags = append(diags, c.NotBuilt...)
				diags = append(diags, c.unfit()...)
			}
			var out bytes.Buffer
			if err := WriteText(&out, diags, src.Listing(), false); err != nil {
				t.Fatal(err)
			}
			out = *bytes.NewBuffer(bytes.ReplaceAll(out.Bytes(), []byte(src.Dir), []byte("DIR")))
			if *update {
				if err := os.WriteFile(path, []byte(text+dashes+out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Error(diff)
			}
			for _, line := range strings.Split(out.String(), "\n") {
				if len([]rune(line)) > 80 {
					t.Errorf("line of %d columns: %s", len([]rune(line)), line)
				}
			}
			if strings.Contains(out.String(), "hunter2") {
				t.Error("a secret is shown")
			}
			if len(diags) == 0 {
				t.Error("nothing is said")
			}
		})
	}
}

// TestRight: each file is a configuration without errors.
func TestRight(t *testing.T) {
	files, err := filepath.Glob("testdata/right/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, diags := Load(path, Options{Schemas: testSchemas(t), LookupEnv: func(string) (string, bool) { return "", false }})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			c, diags := Parse(src)
			var out bytes.Buffer
			if err := WriteText(&out, diags, src.Listing(), false); err != nil {
				t.Fatal(err)
			}
			if c == nil || len(diags) > 0 {
				t.Fatalf("\n%s", out.String())
			}
			if c.Unproven.HasErrors() {
				t.Error(c.Unproven)
			}
		})
	}
}
