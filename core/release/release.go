// Package release makes, finds and verifies releases of plugins. They are files in a
// folder, or in the same folder behind any web server.
//
// A release of one version is, side by side:
//
//	NAME_VERSION_PLATFORM.tar.gz     the executable for one platform
//	NAME_VERSION_manifest.json       what there is, and what the plugin says of itself
//	NAME_VERSION_SHA256SUMS          the sums of the files above
//	NAME_VERSION_SHA256SUMS.minisig  the publisher's signature of these, where there is one
//
// index.json says which releases the folder holds. Nothing is believed before what
// vouches for it: the signature for the sums, these for the manifest, and the manifest
// for the archive and the executable in it.
package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// IndexName is the file of a folder that says which releases it holds.
const IndexName = "index.json"

// format of index and manifest. One with a higher number is for a newer Kelpie.
const format = 1

// What is fetched is bounded.
const (
	maxIndex      = 4 << 20
	maxManifest   = 4 << 20
	maxSums       = 64 << 10
	maxSignature  = 4 << 10
	maxArchive    = 512 << 20
	maxExecutable = 1 << 30
)

var (
	nameForm     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	versionForm  = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})([-+][0-9A-Za-z.+-]{1,64})?$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]+_[a-z0-9]+$`)
	sumForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Manifest tells of one release of a plugin.
type Manifest struct {
	Format  int    `json:"format"`
	Name    string `json:"name"` // as the plugin calls itself
	Version string `json:"version"`
	// Platforms that it is for, such as "linux_amd64".
	Platforms map[string]Build `json:"platforms"`
	// Plugin is what its executables say of themselves, each the same.
	Plugin model.Plugin `json:"plugin"`
}

// Build is a release for one platform.
type Build struct {
	Archive    string `json:"archive"` // file name
	Size       int64  `json:"size"`    // of the archive
	SHA256     string `json:"sha256"`  // of the archive
	Executable File   `json:"executable"`
}

// File in an archive.
type File struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Sums of the executables by platform, as a lock has them.
func (m Manifest) Sums() map[string]string {
	sums := map[string]string{}
	for platform, b := range m.Platforms {
		sums[platform] = b.Executable.SHA256
	}
	return sums
}

// check holds a manifest to what its reader relies on.
func (m Manifest) check(name, version string) error {
	switch {
	case m.Format != format:
		return fmt.Errorf("its format is %d, and this Kelpie reads %d: take a newer Kelpie", m.Format, format)
	case m.Name != name || m.Version != version || m.Plugin.Name != name || m.Plugin.Version != version:
		return errors.New("it is of another plugin or version")
	case len(m.Platforms) == 0:
		return errors.New("it is for no platform")
	case !readable(m.Plugin.Read) || !readable(m.Plugin.Write) || !readable(m.Plugin.Network):
		return fmt.Errorf("the plugin asks for more than a person reads: at most %d permissions of each kind, with %d letters", maxPermissions, maxPermission)
	}
	for platform, b := range m.Platforms {
		switch {
		case !platformForm.MatchString(platform) || b.Archive != archiveName(name, version, platform):
			return fmt.Errorf("its platform %q is none, or has an archive of another name", platform)
		case !sumForm.MatchString(b.SHA256) || !sumForm.MatchString(b.Executable.SHA256):
			return fmt.Errorf("a checksum for %s is none", platform)
		case b.Size < 1 || b.Size > maxArchive || b.Executable.Size < 1 || b.Executable.Size > maxExecutable:
			return fmt.Errorf("a size for %s is out of range", platform)
		}
	}
	return nil
}

// A person is asked about permissions, and has to read them.
const (
	maxPermissions = 64
	maxPermission  = 256
)

func readable(permissions []string) bool {
	return len(permissions) <= maxPermissions && !slices.ContainsFunc(permissions, func(text string) bool { return len(text) > maxPermission })
}

// SameAs tells whether a plugin says of itself what another, or a manifest, has of it.
func SameAs(a, b model.Plugin) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// The names of a release's files.

func base(name, version string) string { return name + "_" + version + "_" }

func archiveName(name, version, platform string) string {
	return base(name, version) + platform + ".tar.gz"
}

func manifestName(name, version string) string  { return base(name, version) + "manifest.json" }
func sumsName(name, version string) string      { return base(name, version) + "SHA256SUMS" }
func signatureName(name, version string) string { return sumsName(name, version) + ".minisig" }

// executableName is the file in an archive.
func executableName(name, platform string) string {
	if strings.HasPrefix(platform, "windows_") {
		return name + ".exe"
	}
	return name
}

// sumsText is a file of sums as sha256sum writes it, in the order of the names.
func sumsText(sums map[string]string) []byte {
	var names []string
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return b.Bytes()
}

// parseSums reads what sumsText, or sha256sum, has written.
func parseSums(text []byte) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if !ok {
			sum, name, ok = strings.Cut(line, " *")
		}
		if _, twice := sums[name]; !ok || twice || !sumForm.MatchString(sum) {
			return nil, errors.New("it is no list of checksums")
		}
		sums[name] = sum
	}
	return sums, nil
}
