package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		all = append(all, Binary{platform, path})
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
	_, _, err := Pack(dir, acme("1.0.0"), []Binary{{"darwin_arm64", path}, {"linux_amd64", path}}, nil)
	if err == nil || !strings.Contains(err.Error(), "raise the plugin's version") {
		t.Error(err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
	if _, _, err := Pack(dir, acme("1.0.1"), []Binary{{"linux_amd64", path}, {"linux_amd64", path}}, nil); err == nil {
		t.Error("a platform is taken twice")
	}
	if _, _, err := Pack(dir, acme("1.0.1"), nil, nil); err == nil {
		t.Error("a release for nothing is made")
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

// folderOf is a release that somebody tampers with.
type folderOf struct {
	t   *testing.T
	dir string
	m   Manifest
}

func (f folderOf) edit(name string, change func(string) string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		f.t.Fatalf("%s stays as it was", name)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// forge makes sums and manifest fit an archive that is another, as somebody could who
// can write to the source.
func (f folderOf) forge(archive []byte) {
	b := f.m.Platforms["linux_amd64"]
	sum := sha256.Sum256(archive)
	was := b.SHA256
	b.Size, b.SHA256 = int64(len(archive)), hex.EncodeToString(sum[:])
	f.m.Platforms["linux_amd64"] = b
	f.edit(b.Archive, func(string) string { return string(archive) })
	f.remake(was, b.SHA256)
}

// remake writes the manifest, and sums that fit it.
func (f folderOf) remake(was, is string) {
	old, _ := os.ReadFile(filepath.Join(f.dir, "acme_1.4.0_manifest.json"))
	text, err := encode(f.m)
	if err != nil {
		f.t.Fatal(err)
	}
	f.edit("acme_1.4.0_manifest.json", func(string) string { return string(text) })
	f.edit("acme_1.4.0_SHA256SUMS", func(sums string) string {
		return strings.NewReplacer(was, is, sumOf(old), sumOf(text)).Replace(sums)
	})
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	w := tar.NewWriter(zipped)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTampered(t *testing.T) {
	s, other := signer(t), signer(t)
	const archive, manifest, sums, minisig = "acme_1.4.0_linux_amd64.tar.gz", "acme_1.4.0_manifest.json", "acme_1.4.0_SHA256SUMS", "acme_1.4.0_SHA256SUMS.minisig"
	flip := func(text string) string {
		b := []byte(text)
		b[len(b)/2] ^= 1
		return string(b)
	}
	file := func(name string, size int) tar.Header {
		return tar.Header{Name: name, Size: int64(size), Mode: 0o755, Typeflag: tar.TypeReg}
	}
	size := func(f folderOf) int { return int(f.m.Platforms["linux_amd64"].Executable.Size) }
	for _, c := range []struct {
		name   string
		signed bool // what is refused even without a publisher is tried without
		spoil  func(f folderOf)
		want   string
	}{
		{"archive", false, func(f folderOf) { f.edit(archive, flip) }, archive + ": its sha256 is"},
		{"archive cut short", false, func(f folderOf) { f.edit(archive, func(a string) string { return a[:len(a)/2] }) }, archive + ": its sha256 is"},
		{"archive without end", false, func(f folderOf) {
			f.edit(archive, func(a string) string { return a + strings.Repeat("x", 1<<20) })
		}, "has more than the"},
		{"archive gone", false, func(f folderOf) { os.Remove(filepath.Join(f.dir, archive)) }, "there is no such file"},
		{"manifest", false, func(f folderOf) {
			f.edit(manifest, func(m string) string { return strings.Replace(m, "zone", "bone", 1) })
		}, manifest + ": its sha256 is not the one in " + sums},
		{"sums", true, func(f folderOf) { f.edit(sums, func(m string) string { return m + m[:64] + "  more\n" }) }, minisig + ": it does not fit"},
		{"sums that are none", false, func(f folderOf) { f.edit(sums, func(string) string { return "<html>" }) }, "it is no list of checksums"},
		{"sums, manifest and archive", true, func(f folderOf) { f.forge(tarOf(f.t, file("acme", size(f)))) }, minisig + ": it does not fit"},
		{"signature", true, func(f folderOf) { f.edit(minisig, func(string) string { return "<html>" }) }, "it is no signature"},
		{"signature without end", true, func(f folderOf) {
			f.edit(minisig, func(string) string { return strings.Repeat("x", 1<<20) })
		}, "more than the 4096 bytes"},
		{"signature gone", true, func(f folderOf) { os.Remove(filepath.Join(f.dir, minisig)) }, "it is not signed"},
		{"signature by another key", true, func(f folderOf) {
			f.edit(minisig, func(string) string {
				text, _ := os.ReadFile(filepath.Join(f.dir, sums))
				return string(other.sign("acme", "1.4.0", text))
			})
		}, "it is by the key " + other.Key().ID()},
		{"signature of another release", true, func(f folderOf) {
			packed(f.t, f.dir, "1.3.0", &s)
			for _, part := range []string{"SHA256SUMS", "SHA256SUMS.minisig"} {
				text, _ := os.ReadFile(filepath.Join(f.dir, "acme_1.3.0_"+part))
				f.edit("acme_1.4.0_"+part, func(string) string { return string(text) })
			}
		}, `it is of something else: it says "kelpie plugin acme version 1.3.0"`},
		{"signature's comment", true, func(f folderOf) {
			f.edit(minisig, func(m string) string {
				return strings.Replace(m, "plugin acme version 1.4.0", "plugin acme version 1.5.0", 1)
			})
		}, "it does not fit"},
		{"executable", false, func(f folderOf) { f.forge(tarOf(f.t, file("acme", size(f)))) }, "acme in it has the sha256"},
		{"executable of another size", false, func(f folderOf) { f.forge(tarOf(f.t, file("acme", 5))) }, "acme in it has 5 bytes"},
		{"path", false, func(f folderOf) { f.forge(tarOf(f.t, file("../acme", size(f)))) }, `it holds "../acme"`},
		{"absolute path", false, func(f folderOf) { f.forge(tarOf(f.t, file("/bin/acme", size(f)))) }, `it holds "/bin/acme"`},
		{"symbolic link", false, func(f folderOf) {
			f.forge(tarOf(f.t, tar.Header{Name: "acme", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}))
		}, "one regular file"},
		{"hard link", false, func(f folderOf) {
			f.forge(tarOf(f.t, tar.Header{Name: "acme", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}))
		}, "one regular file"},
		{"two files", false, func(f folderOf) { f.forge(tarOf(f.t, file("acme", size(f)), file("more", 1))) }, `it holds "more" too`},
		{"no file", false, func(f folderOf) { f.forge(tarOf(f.t)) }, "it is no archive"},
		{"no archive", false, func(f folderOf) { f.forge([]byte("hello")) }, "it is no archive"},
		{"manifest of a newer format", false, func(f folderOf) {
			f.m.Format = 2
			f.remake("-", "-")
		}, "take a newer Kelpie"},
		{"manifest of another version", false, func(f folderOf) {
			f.m.Version = "1.5.0"
			f.remake("-", "-")
		}, "it is of another plugin or version"},
		{"manifest with a path", false, func(f folderOf) {
			b := f.m.Platforms["linux_amd64"]
			b.Archive = "../../etc/passwd"
			f.m.Platforms["linux_amd64"] = b
			f.remake("-", "-")
		}, "has an archive of another name"},
		{"manifest that says more than the sums", false, func(f folderOf) {
			b := f.m.Platforms["linux_amd64"]
			b.SHA256 = strings.Repeat("ab", 32)
			f.m.Platforms["linux_amd64"] = b
			f.remake("-", "-")
		}, "is not the one in " + sums},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := folderOf{t: t, dir: t.TempDir()}
			f.m = packed(t, f.dir, "1.4.0", &s)
			var key *Key
			if c.signed {
				k := s.Key()
				key = &k
			}
			if _, err := fetched(t, source(t, f.dir), "1.4.0", key); err != nil {
				t.Fatal("before it was touched:", err)
			}
			c.spoil(f)
			server := httptest.NewServer(http.FileServer(http.Dir(f.dir)))
			defer server.Close()
			for _, where := range []string{f.dir, server.URL} {
				if _, err := fetched(t, source(t, where), "1.4.0", key); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", where, err, c.want)
				}
			}
		})
	}
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

// TestServers: what a server does that is none, or means ill.
func TestServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for text := bytes.Repeat([]byte("x"), 1<<16); ; {
				if _, err := w.Write(text); err != nil {
					return
				}
			}
		}, "more than the 4194304 bytes"},
		{"truncated", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "it ended too early"},
		{"slow", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "it did not come in time"},
		{"mute", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "it did not come in time"},
		{"broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the server answers 500"},
		{"away", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "there is no such file"},
		{"to another scheme", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host, http.StatusFound)
		}, "leads from http to https"},
		{"to another machine in clear", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "must begin with https://"},
		{"to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "again and again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.serve)
			defer server.Close()
			s := source(t, server.URL)
			if s.patience = time.Minute; strings.Contains(c.want, "in time") {
				s.patience = 50 * time.Millisecond
			}
			if _, err := s.Versions(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source(t, t.TempDir()).Versions(ctx, "acme"); err == nil {
		t.Error("a folder is read though nobody waits")
	}
}

func TestOpenSource(t *testing.T) {
	for where, want := range map[string]string{
		"https://plugins.example.org/kelpie": "", "http://127.0.0.1:8080": "", "http://[::1]/x": "", "http://localhost/": "", "plugins": "", "/srv/plugins": "",
		"":                              "empty",
		"http://plugins.example.org":    "must begin with https://",
		"http://localhost.example.org/": "must begin with https://",
		"ftp://plugins.example.org":     "must begin with https://",
		"file:///srv/plugins":           "no address",
		"https://a:b@example.org":       "no user",
		"https://example.org/?x=1":      "no user",
	} {
		if _, err := OpenSource(where, "/etc"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", where, err, want)
		}
	}
}

func TestConstraint(t *testing.T) {
	for _, c := range []struct {
		text, versions, want string
	}{
		{"", "1.0.0 1.10.0 1.9.0", "1.10.0"},
		{"", "1.0.0 2.0.0-beta.1", "1.0.0"},
		{"~> 1.4", "1.3.0 1.4.0 1.5.2 2.0.0", "1.5.2"},
		{"~> 1.4.1", "1.4.0 1.4.9 1.5.0", "1.4.9"},
		{"1.4.0", "1.4.0 1.5.0", "1.4.0"},
		{">= 1, < 2", "0.9.0 1.1.0 2.0.0", "1.1.0"},
		{"2.0.0-beta.1", "1.0.0 2.0.0-beta.1", "2.0.0-beta.1"},
		{"~> 3.0", "1.0.0", ""},
	} {
		parsed, err := ParseConstraint(c.text)
		if got := parsed.Newest(strings.Fields(c.versions)); err != nil || got != c.want {
			t.Errorf("%q of %s: %s, %v; want %s", c.text, c.versions, got, err, c.want)
		}
	}
	for _, text := range []string{"latest", "~ 1", "1.4;"} {
		if _, err := ParseConstraint(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, IndexName), 0o755); err != nil {
		t.Fatal(err)
	}
	var wrong *FileError
	if _, err := source(t, dir).Versions(t.Context(), "acme"); !errors.As(err, &wrong) || wrong.Name != IndexName {
		t.Error(err)
	}
	if got := fmt.Sprint((&FileError{Where: "/srv/", Name: "a", Err: fs.ErrNotExist})); got != "/srv/a: there is no such file" {
		t.Error(got)
	}
}
