package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// folder writes files into a folder of their own.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readFolder loads and parses a folder; the messages have no path before the files.
func readFolder(t testing.TB, dir string) (*Source, *Config, Diagnostics) {
	t.Helper()
	src, diags := Load(dir, Options{Schemas: testSchemas(t), LookupEnv: func(string) (string, bool) { return "", false }})
	if diags.HasErrors() {
		return src, nil, diags
	}
	src.Prefix = ""
	c, diags := Parse(src)
	return src, c, diags
}

const scanners = `
detector "file" "eve" {
  path = "eve.json"
}
pipeline "ids" {
  from = [detector.eve]
}
table "scanners" {
  path = "tables/scanners.csv"
  key  = "ip"
}
rule "strange_scan" {
  state = "experimental"
  on    = [pipeline.ids]
  when  = event.raw.scan && !has(table.scanners[event.raw.src_ip])
  title = "not one of ${table.scanners["10.9.0.7"].owner}"
}
`

// ruleOf evaluates the first rule's condition and title for an event.
func ruleOf(t *testing.T, c *Config, event string) (bool, string) {
	t.Helper()
	scope := &expr.Scope{}
	scope.Set("event", expr.From(map[string]any{"raw": expr.JSON([]byte(event))}))
	r := c.Match.Sources[0].Pipelines[0].Rules[0]
	title, _ := r.Title.Eval(scope).Str()
	return r.When.Truth(scope) == expr.True, title
}

func TestTable(t *testing.T) {
	dir := folder(t, map[string]string{"config.hcl": scanners, "tables/scanners.csv": "ip,owner\n10.9.0.0/24,netsec\n10.9.0.7,kim\n"})
	src, c, diags := readFolder(t, dir)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	for event, want := range map[string]bool{
		`{"scan":true,"src_ip":"10.9.0.9"}`:  false,
		`{"scan":true,"src_ip":"10.10.0.9"}`: true,
		`{"scan":true,"src_ip":"no ip"}`:     true,
		`{"scan":true}`:                      true,
	} {
		if fires, title := ruleOf(t, c, event); fires != want || title != "not one of kim" {
			t.Errorf("%s: %v, %q", event, fires, title)
		}
	}
	if len(c.Tables) != 1 || c.Tables[0].Path != filepath.Join(dir, "tables/scanners.csv") || c.Tables[0].Rows != 2 {
		t.Errorf("tables %+v", c.Tables)
	}

	version, err := src.Version()
	if err != nil {
		t.Fatal(err)
	}
	if version.Tables["table.scanners"] != c.Tables[0].Hash || strings.Contains(string(version.Text), "netsec") {
		t.Errorf("INPUTS would carry %v and %s", version.Tables, version.Text)
	}
	kept := func(hash string) ([]byte, error) { return src.Contents[hash], nil }
	if again, err := Read(version, Kept{Read: kept}); err != nil || again.Hash != c.Hash || again.Tables[0].Rows != 2 {
		t.Errorf("read again: %v", err)
	}
	again, err := Read(version, Kept{Read: kept, Known: func() Known { return c.Known }})
	if err != nil {
		t.Fatal(err)
	}
	for of, table := range again.Known {
		if c.Known[of] != table {
			t.Error("a table that was in memory was made again")
		}
	}
	lost := errors.New("lost")
	if _, err := Read(version, Kept{Read: func(string) ([]byte, error) { return nil, lost }}); !errors.Is(err, lost) || !strings.Contains(err.Error(), "table.scanners") {
		t.Errorf("read without the content: %v", err)
	}
	if _, err := Read(version, Kept{Read: func(string) ([]byte, error) { return []byte("ip\n"), nil }}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("read with another content: %v", err)
	}
	if _, err := Compile(version); err == nil {
		t.Error("compiled without its table")
	}
}

// TestWithTable: another content is another version, and all else is as it was.
func TestWithTable(t *testing.T) {
	dir := folder(t, map[string]string{"config.hcl": scanners, "tables/scanners.csv": "ip,owner\n10.9.0.7,kim\n"})
	_, c, diags := readFolder(t, dir)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	c.Kelpie.DataDir = "elsewhere"
	next, diags := c.WithTable("table.scanners", []byte("ip,owner\n10.9.0.7,lee\n10.10.0.9,lee\n"))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	const event = `{"scan":true,"src_ip":"10.10.0.9"}`
	if fires, title := ruleOf(t, c, event); !fires || title != "not one of kim" {
		t.Errorf("the version before has changed: %v, %q", fires, title)
	}
	if fires, title := ruleOf(t, next, event); fires || title != "not one of lee" {
		t.Errorf("the next version: %v, %q", fires, title)
	}
	if next.Hash == c.Hash || next.Match.Version != next.Hash || next.Decide.Hash != next.Hash || next.Kelpie.DataDir != "elsewhere" {
		t.Errorf("version %s after %s, match %s, decide %s, %+v", next.Hash, c.Hash, next.Match.Version, next.Decide.Hash, next.Kelpie)
	}
	if d := c.Differences(next); len(d) != 1 || d[0].Address != "table.scanners" || d[0].What != Changed {
		t.Errorf("differences %v", d)
	}
	if n := len(next.Source.Contents); n != 1 {
		t.Errorf("%d contents", n)
	}
	for content, want := range map[string]string{
		"ip,owner\nnot an ip,kim\n": `scanners.csv:2: column "ip"`,
		"ip,name\n10.0.0.1,kim\n":   `no field "owner"`,
		"address,owner\n":           `has no column "ip"`,
		"":                          "is empty",
	} {
		if got, diags := c.WithTable("table.scanners", []byte(content)); got != nil || !strings.Contains(diags.Error(), want) {
			t.Errorf("%q: %v, want %s", content, diags, want)
		}
	}
}

func TestTableKeys(t *testing.T) {
	for name, test := range map[string]struct{ block, file, key, want string }{
		"wildcard":      {`path = "t.csv", key = "domain"`, "domain,n\n*.example.org,1\n", "www.Example.org.", `"1"`},
		"text":          {`path = "t.csv", key = "name"`, "name,n\nKim,1\n", "kim", "null"},
		"ip as text":    {`path = "t.csv", key = "ip", kind = "text"`, "ip,n\n10.0.0.0/8,1\n", "10.0.0.1", "null"},
		"kind":          {`path = "t.csv", key = "source", kind = "ip"`, "source,n\n10.0.0.0/8,1\n", "10.0.0.1", `"1"`},
		"first counts":  {`path = "t.csv", key = "ip"`, "ip,n\n10.0.0.1,1\n10.0.0.1,2\n", "10.0.0.1", `"1"`},
		"empty is null": {`path = "t.csv", key = "ip"`, "ip,n\n10.0.0.1,\n", "10.0.0.1", "null"},
		"lines of JSON": {`path = "t.ndjson", key = "ip"`, `{"ip":["10.0.0.1","10.0.0.2"],"n":["a","b"]}` + "\n", "10.0.0.2", `["a","b"]`},
		"format":        {`path = "t.txt", key = "ip", format = "csv"`, "ip,n\n10.0.0.1,1\n", "10.0.0.1", `"1"`},
		"tabs":          {`path = "t.tsv", key = "ip"`, "ip\tn\n10.0.0.1\t1\n", "10.0.0.1", `"1"`},
	} {
		t.Run(name, func(t *testing.T) {
			path, _, _ := strings.Cut(strings.TrimPrefix(test.block, `path = "`), `"`)
			text := strings.Replace(scanners, "path = \"tables/scanners.csv\"\n  key  = \"ip\"", strings.ReplaceAll(test.block, ", ", "\n"), 1)
			text = strings.Replace(text, `table.scanners["10.9.0.7"].owner`, `table.scanners[event.raw.key].n`, 1)
			_, c, diags := readFolder(t, folder(t, map[string]string{"config.hcl": text, path: test.file}))
			if len(diags) > 0 {
				t.Fatal(diags)
			}
			scope := &expr.Scope{}
			scope.Set("event", expr.From(map[string]any{"raw": map[string]any{"key": test.key}}))
			want := "not one of unknown"
			if test.want != "null" {
				want = "not one of " + strings.Trim(test.want, `"`)
			}
			if got, _ := c.Match.Sources[0].Pipelines[0].Rules[0].Title.Eval(scope).Str(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// BenchmarkTable reads a row of a table of 100,000 networks and addresses in a condition.
func BenchmarkTable(b *testing.B) {
	var rows strings.Builder
	rows.WriteString("ip,owner\n10.0.0.0/8,all\n10.9.0.0/16,netsec\n")
	for i := range 100_000 {
		fmt.Fprintf(&rows, "10.%d.%d.%d,kim\n", 10+i>>16, i>>8&255, i&255)
	}
	dir := folder(b, map[string]string{"config.hcl": scanners, "tables/scanners.csv": rows.String() + "10.9.0.7,kim\n"})
	_, c, diags := readFolder(b, dir)
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	when := c.Match.Sources[0].Pipelines[0].Rules[0].When
	scope := &expr.Scope{}
	scope.Set("event", expr.From(map[string]any{"raw": expr.JSON([]byte(`{"scan":true,"src_ip":"10.9.200.200"}`))}))
	b.ReportAllocs()
	for b.Loop() {
		if when.Truth(scope) == expr.True {
			b.Fatal("it is known")
		}
	}
}
