package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzParse: no text makes Parse or the printing of what it says fail, take long, or
// depend on anything else.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/right/*.hcl", "testdata/wrong/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			before, _, _ := strings.Cut(string(text), "--------\n")
			f.Add(before)
		}
	}
	schemas := testSchemas(f)
	f.Fuzz(func(t *testing.T, text string) {
		began := time.Now()
		src := &Source{Files: []File{{Name: "config.hcl", Text: text}}, Dir: "/nowhere"}
		src.discover(Options{Schemas: schemas, LookupEnv: func(string) (string, bool) { return "", false }})
		c, diags := Parse(src)
		if (c == nil) != diags.HasErrors() {
			t.Fatalf("%v, %v", c, diags)
		}
		var once, twice bytes.Buffer
		if err := WriteText(&once, diags, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(once.String(), "\n") {
			if strings.ContainsAny(line, "\x1b\x07\u202e") {
				t.Fatalf("a terminal would obey: %q", line)
			}
		}
		_, again := Parse(src)
		if err := WriteText(&twice, again, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		if once.String() != twice.String() {
			t.Fatalf("first:\n%s\nthen:\n%s", once.String(), twice.String())
		}
		if c != nil {
			c.Expiring(now)
			c.Resolve(func(string) (string, error) { return "x", nil })
		}
		if r, diags := ParseTests(src); (r.Config == nil) != diags.HasErrors() {
			t.Fatalf("with its tests: %v, %v", r.Config, diags)
		}
		if took := time.Since(began); took > time.Minute {
			t.Fatalf("it took %v", took)
		}
	})
}

// FuzzFormat: to format twice changes nothing, and nothing is lost or added but space.
func FuzzFormat(f *testing.F) {
	for _, pattern := range []string{"testdata/right/*.hcl", "testdata/wrong/*.txt"} {
		files, _ := filepath.Glob(pattern)
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once := Format(text)
		if twice := Format(once); !bytes.Equal(once, twice) {
			t.Fatalf("once:\n%q\ntwice:\n%q", once, twice)
		}
	})
}

// TestDeep: what would make a parser recurse is refused before.
func TestDeep(t *testing.T) {
	for name, text := range map[string]string{
		"parentheses": "a = " + strings.Repeat("(", 20_000),
		"brackets":    "a = " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"blocks":      strings.Repeat("a {\n", 20_000),
		"signs":       "a = " + strings.Repeat("!", 20_000) + "true",
		"spaced":      "a = " + strings.Repeat("- ", 20_000) + "1",
		"conditions":  "a = " + strings.Repeat("b ? c : ", 20_000) + "d",
		"templates":   "a = " + strings.Repeat(`"${`, 20_000),
		"directives":  "a = \"" + strings.Repeat(`%{ if b }`, 20_000) + "\"",
		"for":         "a = " + strings.Repeat("[for x in y : ", 10_000),
	} {
		_, diags := Parse(&Source{Files: []File{{Name: "config.hcl", Text: text}}})
		if !diags.HasErrors() || diags[0].Summary != "Nested too deep" {
			t.Errorf("%s: %v", name, diags)
		}
	}
}

// TestMany: thousands of mistakes take no longer than they should.
func TestMany(t *testing.T) {
	for name, line := range map[string]string{
		"unknown blocks":    "x {\n}\n",
		"unknown names":     "template \"a\" {\n  use = template.b\n}\n",
		"locals":            "locals {\n}\n",
		"same detectors":    "detector \"file\" \"a\" {\n  path = \"x\"\n}\n",
		"unknown variables": "route \"a\" {\n  to = var.x\n  otherwise = \"\"\n}\n",
	} {
		began := time.Now()
		text := strings.Repeat(line, 4000)
		Parse(&Source{Files: []File{{Name: "config.hcl", Text: text}}, Plugins: nil})
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src, _ := whole(b)
	for b.Loop() {
		if _, diags := Parse(src); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}
