package release

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

func TestChanges(t *testing.T) {
	text, list := model.Type{Kind: "string"}, model.Type{Kind: "list", Element: &model.Type{Kind: "string"}}
	was := model.Plugin{
		Connection: &model.Schema{Attributes: []model.Attribute{{Name: "url", Type: text}, {Name: "same", Type: text}}},
		Connectors: []model.Connector{
			{
				Kind: model.Detector,
				Schema: model.Schema{
					Attributes: []model.Attribute{{Name: "zone", Type: text}, {Name: "old", Type: text}, {Name: "gone", Type: text}, {Name: "was", Type: text}},
					Blocks:     []model.Block{{Name: "inner", Nesting: "single", Schema: model.Schema{Attributes: []model.Attribute{{Name: "a", Type: text}}}}},
				},
			},
			{Kind: model.Enrichment},
			{Kind: model.Action, Verbs: []model.Verb{{Name: "notify"}, {Name: "ticket", Undo: true}}},
		},
	}
	is := model.Plugin{
		Connection: &model.Schema{Attributes: []model.Attribute{{Name: "url", Type: text, Required: true}, {Name: "same", Type: text}}},
		Connectors: []model.Connector{
			{
				Kind: model.Detector, CursorVersion: 2,
				Schema: model.Schema{
					Attributes: []model.Attribute{
						{Name: "zone", Type: list, Default: []byte("[]")},
						{Name: "old", Type: text, Deprecated: "Write zone."},
						{Name: "now", Type: text, RenamedFrom: "was"},
						{Name: "key", Type: text, Required: true, Secret: true},
					},
					Blocks: []model.Block{{Name: "inner", Nesting: "single", Required: true, Schema: model.Schema{}}, {Name: "more", Nesting: "list"}},
				},
			},
			{Kind: model.Action, Verbs: []model.Verb{{Name: "ticket"}, {Name: "resolve", Summary: "Resolve it."}}},
			{Kind: model.Action, Name: "other", Summary: "Does more."},
		},
	}
	var lines []string
	for _, c := range Changes(was, is) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s: %s %s %s %s", c.Where, c.What, c.Name, c.Change, c.Detail)))
	}
	want := []string{
		"connection: attribute url required",
		"action: verb notify removed",
		"action: verb resolve added Resolve it.",
		"action: verb ticket changed cannot be undone any more",
		"action other: connector  added Does more.",
		"detector: attribute was changed is called now now",
		"detector: attribute gone removed",
		"detector: attribute key added required",
		"detector: attribute old deprecated Write zone.",
		"detector: attribute zone changed takes list of string, and took string",
		"detector: attribute zone changed is [] by default, and was nothing",
		"detector: block inner required",
		"detector inner: attribute a removed",
		"detector: block more added",
		"detector: connector  changed its place in the source is of version 2, and was of 0: it may read again",
		"enrichment: connector  removed",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if none := Changes(is, is); len(none) > 0 {
		t.Error(none)
	}
}

func TestPermissions(t *testing.T) {
	was := model.Plugin{Read: []string{"{path}"}, Network: []string{"tcp:*"}}
	is := model.Plugin{Read: []string{"{path}", "/etc/acme"}, Write: []string{"{out}"}, Network: []string{"tcp:443", "listen:{address}", "listen:514", "listen:*"}}
	want := []string{
		"read /etc/acme", "write what its attribute out names", "listen on the TCP port of what its attribute address names",
		"listen on TCP port 514", "listen on every TCP port",
	}
	if diff := cmp.Diff(want, Grown(was, is).Words()); diff != "" {
		t.Error(diff)
	}
	if gone := Grown(is, was); !cmp.Equal(gone.Words(), []string{"connect to every TCP port"}) || !gone.Any() || Grown(is, is).Any() {
		t.Error(gone)
	}
}

// TestPermissionsByDefault: with another default a plugin touches something else, though
// what it asks for has the same words.
func TestPermissionsByDefault(t *testing.T) {
	plugin := func(path, url string) model.Plugin {
		attributes := func(name, value string) model.Schema {
			return model.Schema{Attributes: []model.Attribute{{Name: name, Default: json.RawMessage(value)}}}
		}
		connection := attributes("url", url)
		return model.Plugin{
			Read: []string{"{path}/data", "/a:*"}, Network: []string{"tcp:{url}"}, Connection: &connection,
			Connectors: []model.Connector{{Schema: attributes("path", path)}},
		}
	}
	was, is := plugin(`""`, `"https://a.example"`), plugin(`"/etc"`, `"http://a.example"`)
	is.Read = append(is.Read, "/a")
	want := []string{
		"read /a", "read what its attribute path names by default: /etc",
		"connect to the TCP port of what its attribute url names by default: http://a.example",
	}
	if diff := cmp.Diff(want, Grown(was, is).Words()); diff != "" {
		t.Error(diff)
	}
	was.Network = []string{"tcp:*"}
	if got := Grown(was, is).Network; len(got) > 0 {
		t.Errorf("of every port: %v", got)
	}
	if same := Grown(is, is); same.Any() {
		t.Error(same)
	}
}
