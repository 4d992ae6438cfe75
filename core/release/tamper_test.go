package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

// wrapped is an archive of one file, with far more headers than it needs.
func wrapped(t *testing.T, h tar.Header) []byte {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"ACME.more": strings.Repeat("x", 1<<19)}
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	const block = 512
	extended := plain.Bytes()[:plain.Len()-block]
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	_, err := zipped.Write(bytes.Repeat(extended, 4))
	_, errFile := zipped.Write(append(plain.Bytes(), bytes.Repeat([]byte("x"), int(h.Size))...))
	_, errEnd := zipped.Write(make([]byte, block-h.Size%block+2*block))
	if err := errors.Join(err, errFile, errEnd, zipped.Close()); err != nil {
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
		{"headers without end", false, func(f folderOf) { f.forge(wrapped(f.t, file("acme", size(f)))) }, "it is no archive"},
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
		{"manifest with more permissions than anybody reads", false, func(f folderOf) {
			f.m.Plugin.Network = strings.Split(strings.Repeat("tcp:443 ", 100), " ")
			f.remake("-", "-")
		}, "more than a person reads"},
		{"manifest with a permission that nobody reads", false, func(f folderOf) {
			f.m.Plugin.Read = []string{strings.Repeat("/x", 1000)}
			f.remake("-", "-")
		}, "more than a person reads"},
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
