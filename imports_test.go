package kelpie_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root = "github.com/kelpie-sec/kelpie/"
	sdk  = root + "sdk"
)

// owners says which folders alone may import a library. Tests may import anything.
var owners = []struct {
	library string
	folders []string
}{
	{"github.com/hashicorp/hcl", []string{"core/config", "core/expr"}},
	{"github.com/zclconf/go-cty", []string{"core/config", "core/expr"}},
	{"github.com/hashicorp/go-plugin", []string{"core/host", "core/faulttest/lookup", "core/faulttest/rogue", "sdk"}},
	{"aead.dev/minisign", []string{"core/release"}},
	{"github.com/hashicorp/go-version", []string{"core/release"}},
	{"github.com/dgraph-io/ristretto", []string{"core/enrich"}},
	{"github.com/nats-io", []string{"core/eventlog"}},
	{"database/sql", []string{"core/store"}},
	{"github.com/prometheus", []string{"core/api"}},
	{"modernc.org/sqlite", []string{"core/store"}},
	{"github.com/pressly/goose", []string{"core/store"}},
	{sdk + "/conformance", []string{"core/cmd/kelpie", "sdk"}},
	{sdk + "/pluginv1", []string{"core/host", "core/faulttest/lookup", "core/faulttest/rogue", "sdk"}},
}

// stages do not import each other; decide ties the three deterministic ones, and
// engine the rest.
var stages = []string{"core/detect", "core/match", "core/enrich", "core/correlate", "core/score", "core/plan", "core/decide", "core/respond"}

var ties = map[string][]string{
	"core/decide": {"core/correlate", "core/score", "core/plan"},
}

// sdkMay lists what the SDK imports of others: each connector's author inherits it.
var sdkMay = []string{
	"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc",
	"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
}

func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || path == "bin" || path == "data") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			seen++
			if why := forbidden(folder, imported); why != "" {
				t.Errorf("%s imports %s: %s", path, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Errorf("only %d imports were looked at", seen)
	}
}

func forbidden(folder, imported string) string {
	for _, o := range owners {
		if below(imported, o.library) && !slices.ContainsFunc(o.folders, func(f string) bool { return below(folder, f) }) {
			return "only " + strings.Join(o.folders, " and ") + " may"
		}
	}
	ours, isOurs := strings.CutPrefix(imported, root)
	switch {
	case below(folder, "sdk"):
		if isOurs && !below(ours, "sdk") {
			return "the sdk imports nothing of ours"
		}
		if !isOurs && strings.Contains(imported, ".") && !slices.ContainsFunc(sdkMay, func(l string) bool { return below(imported, l) }) {
			return "the sdk imports few things of others': each author inherits them"
		}
	case below(folder, "plugins"):
		plugin := strings.Join(strings.SplitN(folder, "/", 3)[:2], "/")
		if isOurs && !below(ours, "sdk") && !below(ours, plugin) {
			return "plugins import only the sdk"
		}
	case below(folder, "core"):
		if isOurs && below(ours, "plugins") {
			return "the core never imports plugins"
		}
		if isOurs && below(ours, "core/config") && !slices.Contains([]string{"core/config", "core/engine", "core/manual", "core/cmd/kelpie", "core/faulttest"}, folder) {
			return "no room imports config"
		}
	}
	if isOurs && slices.Contains(stages, folder) && slices.Contains(stages, ours) && ours != folder && !slices.Contains(ties[folder], ours) {
		return "stages do not import each other"
	}
	return ""
}

// below tells whether path is parent or inside it.
func below(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}
