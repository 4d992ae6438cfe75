//go:build linux

package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Inspect gives no environment, so that the test's executable has its role in its name.
func inspectable(t *testing.T, role string) string {
	t.Helper()
	dir, _ := fakeBinary(t, rolePrefix+role)
	return pluginPath(dir, rolePrefix+role)
}

func TestInspect(t *testing.T) {
	path := inspectable(t, "well")
	got, sum, err := Inspect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := openExecutable(path)
	if err != nil {
		t.Fatal(err)
	}
	exe.close()
	if sum != exe.sha256 || len(sum) != 64 {
		t.Errorf("sha256 %s, want %s", sum, exe.sha256)
	}
	text := model.Type{Kind: "string"}
	schema := model.Schema{
		Doc: "A fake.",
		Attributes: []model.Attribute{
			{Name: "do", Type: text, Default: []byte(`"well"`), Example: []byte(`"crash"`), OneOf: []string{"well", "crash"}},
			{Name: "path", Type: model.Type{Kind: "path"}},
		},
		Blocks: []model.Block{{Name: "inner", Nesting: "map", Schema: model.Schema{
			Attributes: []model.Attribute{{Name: "list", Required: true, Type: model.Type{Kind: "list", Element: &text}}},
		}}},
	}
	want := model.Plugin{
		Name: "fake", Version: "1.2.3", Homepage: "https://example.org",
		Connection: &model.Schema{Attributes: []model.Attribute{{Name: "token", Type: text, Secret: true}}},
		Connectors: []model.Connector{
			{Kind: model.Detector, Schema: schema, CursorVersion: 2, Finite: true},
			{Kind: model.Enrichment, Schema: schema, Takes: []string{"ip"}, BatchLimit: 1, DefaultTTL: 60},
			{Kind: model.Action, Schema: schema, Verbs: []model.Verb{{Name: "notify", Check: true, Settle: 5, Parameters: schema}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInspectErrors(t *testing.T) {
	_, _, err := Inspect(t.Context(), filepath.Join(t.TempDir(), "none"))
	if e := (*StartError)(nil); !errors.As(err, &e) || !e.Permanent {
		t.Errorf("no file: %v", err)
	}
	_, _, err = Inspect(t.Context(), inspectable(t, "prints"))
	if err == nil || !strings.Contains(err.Error(), "must not print before sdk.Serve") {
		t.Errorf("one that prints: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, _, err = Inspect(ctx, inspectable(t, "silent")); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("one that is silent: %v after %s", err, time.Since(begin))
	}
}

// What a plugin may say of itself is bounded too.
func TestDescriptionsThatAreRefused(t *testing.T) {
	deepType := &pluginv1.Type{Kind: pluginv1.Kind_KIND_STRING}
	deepSchema := &pluginv1.Schema{}
	for range 40 {
		deepType = &pluginv1.Type{Kind: pluginv1.Kind_KIND_LIST, Element: deepType}
		deepSchema = &pluginv1.Schema{Blocks: []*pluginv1.Block{{Name: "b", Nesting: 1, Schema: deepSchema}}}
	}
	attribute := func(a *pluginv1.Attribute) *pluginv1.Schema {
		return &pluginv1.Schema{Attributes: []*pluginv1.Attribute{a}}
	}
	text := &pluginv1.Type{Kind: pluginv1.Kind_KIND_STRING}
	for _, c := range []struct {
		name   string
		schema *pluginv1.Schema
		want   string
	}{
		{"deep types", attribute(&pluginv1.Attribute{Name: "a", Type: deepType}), "its type nests deeper than 16"},
		{"deep blocks", deepSchema, "nests deeper than 16"},
		{"no type", attribute(&pluginv1.Attribute{Name: "a"}), "has no type"},
		{"no element", attribute(&pluginv1.Attribute{Name: "a", Type: &pluginv1.Type{Kind: pluginv1.Kind_KIND_MAP}}), "has no type"},
		{"bad default", attribute(&pluginv1.Attribute{Name: "a", Type: text, Default: []byte("{")}), "is not JSON"},
		{"bad name", attribute(&pluginv1.Attribute{Name: "a b\n", Type: text}), "is no name"},
		{"no nesting", &pluginv1.Schema{Blocks: []*pluginv1.Block{{Name: "b"}}}, "says not how often it may be there"},
		{"bad block", &pluginv1.Schema{Blocks: []*pluginv1.Block{{Name: "B!", Nesting: 1}}}, "is no name"},
		{"twice", &pluginv1.Schema{Attributes: []*pluginv1.Attribute{{Name: "a", Type: text}, {Name: "a", Type: text}}}, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pluginModel(&pluginv1.DescribeResponse{Name: "p", Version: "1.0.0", Connectors: []*pluginv1.Connector{
				{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR, Schema: c.schema},
			}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
	for _, connectors := range [][]*pluginv1.Connector{
		nil,
		{{Kind: 9}},
		{{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION}, {Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION}},
		{{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION, Verbs: []*pluginv1.Verb{{Name: "rm -rf"}}}},
	} {
		if _, err := pluginModel(&pluginv1.DescribeResponse{Name: "p", Version: "1.0.0", Connectors: connectors}); err == nil {
			t.Errorf("connectors %v are taken", connectors)
		}
	}
}

func TestRunDirIsSweptOfTheDeadOnly(t *testing.T) {
	base := shortDir(t)
	a, err := openRunDir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	dead := filepath.Join(base, ownPrefix+"dead")
	if err := os.MkdirAll(filepath.Join(dead, "plugin-dir1"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := openRunDir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Error("what a dead host left is still there")
	}
	if _, err := os.Stat(a.path); err != nil {
		t.Errorf("a living host's folder is gone: %v", err)
	}
	os.Chmod(base, 0o755)
	c, err := openRunDir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if info, _ := os.Stat(base); info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %o", info.Mode().Perm())
	}
	file := filepath.Join(base, "file")
	os.WriteFile(file, nil, 0o600)
	d, err := openRunDir(file)
	if err != nil {
		t.Fatalf("a file: %v", err)
	}
	defer d.close()
	if strings.HasPrefix(d.path, base) {
		t.Errorf("a file is taken for a folder: %s", d.path)
	}
}
