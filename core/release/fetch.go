package release

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrUnsigned is a release that its publisher must have signed, and has not.
var ErrUnsigned = errors.New("it is not signed, and its publisher must have signed it")

// Release is one that has been verified as far as its manifest: the sums by the
// publisher's signature, if there is a publisher, and the manifest by the sums.
type Release struct {
	Manifest Manifest

	source *Source
}

// Versions of a plugin that the source has, in no order.
func (s *Source) Versions(ctx context.Context, name string) ([]string, error) {
	text, err := s.read(ctx, IndexName, maxIndex)
	if err != nil {
		return nil, err
	}
	versions, err := parseIndex(text, name)
	if err != nil {
		return nil, s.wrong(IndexName, err)
	}
	return versions, nil
}

// Release verifies a release. Without a publisher nobody vouches for it but the
// source.
func (s *Source) Release(ctx context.Context, name, version string, publisher *Key) (*Release, error) {
	if !nameForm.MatchString(name) || !versionForm.MatchString(version) {
		return nil, fmt.Errorf("%q %q is no name and version of a plugin", name, version)
	}
	listed, err := s.read(ctx, sumsName(name, version), maxSums)
	if err != nil {
		return nil, err
	}
	if publisher != nil {
		if err := s.signed(ctx, name, version, listed, *publisher); err != nil {
			return nil, err
		}
	}
	sums, err := parseSums(listed)
	if err != nil {
		return nil, s.wrong(sumsName(name, version), err)
	}
	m, err := s.manifest(ctx, name, version, sums)
	if err != nil {
		return nil, err
	}
	return &Release{Manifest: m, source: s}, nil
}

func (s *Source) signed(ctx context.Context, name, version string, sums []byte, publisher Key) error {
	file := signatureName(name, version)
	signature, err := s.read(ctx, file, maxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return s.wrong(sumsName(name, version), ErrUnsigned)
	}
	if err != nil {
		return err
	}
	if err := publisher.verify(name, version, sums, signature); err != nil {
		return s.wrong(file, err)
	}
	return nil
}

func (s *Source) manifest(ctx context.Context, name, version string, sums map[string]string) (Manifest, error) {
	var m Manifest
	file := manifestName(name, version)
	text, err := s.read(ctx, file, maxManifest)
	if err != nil {
		return m, err
	}
	fail := func(err error) (Manifest, error) { return m, s.wrong(file, err) }
	if sumOf(text) != sums[file] {
		return fail(errors.New("its sha256 is not the one in " + sumsName(name, version)))
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fail(errors.New("it is no manifest of a plugin"))
	}
	if err := m.check(name, version); err != nil {
		return fail(err)
	}
	for _, b := range m.Platforms {
		if sums[b.Archive] != b.SHA256 {
			return fail(fmt.Errorf("its sha256 of %s is not the one in %s", b.Archive, sumsName(name, version)))
		}
	}
	return m, nil
}

// Fetch puts the executable for a platform into a folder that nobody else uses, as a
// program with the plugin's name, and returns its path. It has the sum that the
// manifest says.
func (r *Release) Fetch(ctx context.Context, platform, dir string) (string, error) {
	m := r.Manifest
	build, ok := m.Platforms[platform]
	if !ok {
		return "", r.source.wrong(manifestName(m.Name, m.Version), fmt.Errorf("there is nothing for %s", platform))
	}
	archive, err := r.archive(ctx, build, dir)
	if err != nil {
		return "", err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	path := filepath.Join(dir, executableName(m.Name, platform))
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if err := unpack(out, archive, executableName(m.Name, platform), build.Executable); err != nil {
		return "", r.source.wrong(build.Archive, err)
	}
	return path, errors.Join(out.Chmod(0o755), out.Sync(), out.Close())
}

// archive fetches and verifies one, as a file that is open at its beginning.
func (r *Release) archive(ctx context.Context, build Build, dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "archive-*")
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	err = r.source.copy(ctx, io.MultiWriter(f, sum), build.Archive, build.Size, r.source.long)
	if err == nil && hexSum(sum) != build.SHA256 {
		err = r.source.wrong(build.Archive, fmt.Errorf("its sha256 is %s, and the manifest says %s", hexSum(sum), build.SHA256))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}
