package release

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

func acme(version string) model.Plugin {
	return model.Plugin{Name: "acme", Version: version, Connectors: []model.Connector{{
		Kind: model.Detector, Schema: model.Schema{Attributes: []model.Attribute{{Name: "zone", Type: model.Type{Kind: "string"}, Default: json.RawMessage(`"<eu>"`)}}},
	}}}
}

func signer(t *testing.T) Signer {
	t.Helper()
	s, err := NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// packed makes a release for two platforms in a folder.
func packed(t *testing.T, dir, version string, s *Signer) Manifest {
	t.Helper()
	var all []Binary
	for _, platform := range []string{"linux_amd64", "windows_arm64"} {
		path := filepath.Join(t.TempDir(), "bin")
		if err := os.WriteFile(path, []byte(strings.Repeat("program "+platform+" "+version+"\n", 1000)), 0o755); err != nil {
			t.Fatal(err)
		}
		all = append(all, Binary{Platform: platform, Path: path})
	}
	m, _, err := Pack(dir, acme(version), all, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func source(t *testing.T, where string) *Source {
	t.Helper()
	s, err := OpenSource(where, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fetched goes the whole way: verify, fetch, unpack.
func fetched(t *testing.T, s *Source, version string, k *Key) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	r, err := s.Release(t.Context(), "acme", version, k)
	if err != nil {
		return nil, err
	}
	path, err := r.Fetch(t.Context(), "linux_amd64", dir)
	if err != nil {
		if left, _ := filepath.Glob(filepath.Join(dir, "archive*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	return os.ReadFile(path)
}

func TestPackAndFetch(t *testing.T) {
	dir, s := t.TempDir(), signer(t)
	key := s.Key()
	packed(t, dir, "1.4.0", &s)
	packed(t, dir, "1.10.0", &s)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, where := range []string{dir, server.URL, server.URL + "/index.json"} {
		from := source(t, where)
		versions, err := from.Versions(t.Context(), "acme")
		if diff := cmp.Diff([]string{"1.4.0", "1.10.0"}, versions); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		for _, k := range []*Key{nil, &key} {
			got, err := fetched(t, from, "1.4.0", k)
			if err != nil || !strings.HasPrefix(string(got), "program linux_amd64 1.4.0\n") {
				t.Errorf("%s: %.30q, %v", where, got, err)
			}
		}
		if none, err := from.Versions(t.Context(), "other"); err != nil || len(none) > 0 {
			t.Errorf("%v, %v", none, err)
		}
		r, err := from.Release(t.Context(), "acme", "1.4.0", nil)
		if err != nil || !SameAs(r.Manifest.Plugin, acme("1.4.0")) || SameAs(r.Manifest.Plugin, acme("1.4.1")) {
			t.Errorf("%+v, %v", r.Manifest.Plugin, err)
		}
		if _, err := r.Fetch(t.Context(), "plan9_mips", t.TempDir()); err == nil || !strings.Contains(err.Error(), "nothing for plan9_mips") {
			t.Error(err)
		}
	}
}

// TestReproducible: the same binaries give the same files, also packed again over them,
// and with a signature that comes later.
func TestReproducible(t *testing.T) {
	a, b, s := t.TempDir(), t.TempDir(), signer(t)
	packed(t, a, "1.0.0", &s)
	packed(t, a, "1.0.0", &s)
	packed(t, b, "1.0.0", nil)
	packed(t, b, "1.0.0", &s)
	packed(t, b, "1.0.0", nil)
	entries, err := os.ReadDir(a)
	if err != nil || len(entries) != 6 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if same, err := sameFile(filepath.Join(a, e.Name()), filepath.Join(b, e.Name())); !same || err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
}

// TestReleaseIsMadeOnce: a version that is out is not made over, and nothing of it changes.
func TestReleaseIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	packed(t, dir, "1.0.0", nil)
	before := listing(t, dir)
	path := filepath.Join(t.TempDir(), "bin")
	if err := os.WriteFile(path, []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, err := Pack(dir, acme("1.0.0"), []Binary{{Platform: "darwin_arm64", Path: path}, {Platform: "linux_amd64", Path: path}}, nil)
	if err == nil || !strings.Contains(err.Error(), "raise the plugin's version") {
		t.Error(err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
	if _, _, err := Pack(dir, acme("1.0.1"), []Binary{{Platform: "linux_amd64", Path: path}, {Platform: "linux_amd64", Path: path}}, nil); err == nil {
		t.Error("a platform is taken twice")
	}
	if _, _, err := Pack(dir, acme("1.0.1"), nil, nil); err == nil {
		t.Error("a release for nothing is made")
	}
	inspected := Binary{Platform: "linux_amd64", Path: path, SHA256: sumOf([]byte("what was inspected"))}
	if _, _, err := Pack(dir, acme("1.0.1"), []Binary{inspected}, nil); err == nil || !strings.Contains(err.Error(), "it changed while it was packed") {
		t.Error(err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[path], err = FileSum(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWrongIndex(t *testing.T) {
	for text, want := range map[string]string{
		"<html>":        "it is no index",
		`{"format": 9}`: "take a newer Kelpie",
		`{"format": 1, "releases": [{"name": "acme", "version": "../1.0.0"}]}`: "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := source(t, dir).Versions(t.Context(), "acme")
		if len(got) > 0 || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := source(t, t.TempDir()).Release(t.Context(), "../acme", "1.0.0", nil); err == nil {
		t.Error("a name that leads elsewhere is taken")
	}
}
