package release

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Binary is an executable for a platform.
type Binary struct {
	Platform string // "linux_amd64"
	Path     string
	// SHA256 that the file must have; empty: any.
	SHA256 string
}

// Pack makes the files of a release in a folder, and writes the folder's index anew. It
// returns the release's manifest and the names of its files. signer may be nil. A
// release is made once: if one of its files is there and is another, nothing is
// written.
func Pack(dir string, about model.Plugin, binaries []Binary, signer *Signer) (Manifest, []string, error) {
	m := Manifest{Format: format, Name: about.Name, Version: about.Version, Platforms: map[string]Build{}, Plugin: about}
	if !nameForm.MatchString(m.Name) || !versionForm.MatchString(m.Version) {
		return m, nil, fmt.Errorf("plugin %q of version %q has no name or version for a release", m.Name, m.Version)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return m, nil, err
	}
	made, err := os.MkdirTemp(dir, ".pack-*")
	if err != nil {
		return m, nil, err
	}
	defer os.RemoveAll(made)
	sums := map[string]string{}
	for _, b := range binaries {
		if _, twice := m.Platforms[b.Platform]; twice || !platformForm.MatchString(b.Platform) {
			return m, nil, fmt.Errorf("platform %q is given twice, or is none such as linux_amd64", b.Platform)
		}
		build, err := pack(made, m, b)
		if err != nil {
			return m, nil, fmt.Errorf("pack %s: %w", b.Path, err)
		}
		m.Platforms[b.Platform], sums[build.Archive] = build, build.SHA256
	}
	if err := m.check(m.Name, m.Version); err != nil {
		return m, nil, fmt.Errorf("manifest: %w", err)
	}
	text, err := encode(m)
	if err != nil {
		return m, nil, err
	}
	sums[manifestName(m.Name, m.Version)] = sumOf(text)
	files := map[string][]byte{manifestName(m.Name, m.Version): text, sumsName(m.Name, m.Version): sumsText(sums)}
	if signer != nil {
		files[signatureName(m.Name, m.Version)] = signer.sign(m.Name, m.Version, files[sumsName(m.Name, m.Version)])
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(made, name), text, 0o644); err != nil {
			return m, nil, err
		}
	}
	names, err := publish(made, dir)
	if err != nil {
		return m, nil, err
	}
	return m, names, writeIndex(dir)
}

func pack(dir string, m Manifest, b Binary) (Build, error) {
	build := Build{Archive: archiveName(m.Name, m.Version, b.Platform)}
	in, err := os.Open(b.Path)
	if err != nil {
		return build, err
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return build, err
	case !info.Mode().IsRegular() || info.Size() < 1 || info.Size() > maxExecutable:
		return build, fmt.Errorf("it is no regular file of up to %d MiB", maxExecutable>>20)
	}
	out, err := os.OpenFile(filepath.Join(dir, build.Archive), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return build, err
	}
	defer out.Close()
	sum := sha256.New()
	count := &counter{w: io.MultiWriter(out, sum)}
	build.Executable, err = writeArchive(count, executableName(m.Name, b.Platform), info.Size(), in)
	build.Size, build.SHA256 = count.n, hexSum(sum)
	if err == nil && b.SHA256 != "" && b.SHA256 != build.Executable.SHA256 {
		err = errors.New("it changed while it was packed")
	}
	return build, errors.Join(err, out.Sync(), out.Close())
}

// publish moves the files of a release to where they are found, the sums and their
// signature last.
func publish(from, to string) ([]string, error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		same, err := sameFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case !same:
			return nil, fmt.Errorf("%s is there already, and is another: a release does not change; raise the plugin's version", filepath.Join(to, e.Name()))
		}
	}
	last := func(name string) int { return strings.Count(name, "SHA256SUMS") }
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(last(a)-last(b), strings.Compare(a, b)) })
	for _, name := range names {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func sameFile(a, b string) (bool, error) {
	x, err := FileSum(a)
	if err != nil {
		return false, err
	}
	y, err := FileSum(b)
	return x == y, err
}

// FileSum is the sha256 of a file, in lower-case hexadecimal.
func FileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hexSum(sum), err
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// encode gives JSON for files, the same for the same.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
