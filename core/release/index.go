package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// index is what index.json holds. The files of a release have their names by name and
// version, so that it need not name them.
type index struct {
	Format   int     `json:"format"`
	Releases []entry `json:"releases"`
}

type entry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// writeIndex writes which releases a folder holds.
func writeIndex(dir string) error {
	x := index{Format: format, Releases: []entry{}}
	paths, err := filepath.Glob(filepath.Join(dir, "*_manifest.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var m Manifest
		if json.Unmarshal(text, &m) != nil || m.check(m.Name, m.Version) != nil || manifestName(m.Name, m.Version) != filepath.Base(path) {
			continue // somebody else's file
		}
		x.Releases = append(x.Releases, entry{m.Name, m.Version})
	}
	slices.SortFunc(x.Releases, func(a, b entry) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return Compare(a.Version, b.Version)
	})
	text, err := encode(x)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".index-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), filepath.Join(dir, IndexName))
}

// parseIndex gives the versions of a plugin that an index has.
func parseIndex(text []byte, name string) ([]string, error) {
	var x index
	switch err := json.Unmarshal(text, &x); {
	case err != nil:
		return nil, errors.New("it is no index of plugins")
	case x.Format != format:
		return nil, fmt.Errorf("its format is %d, and this Kelpie reads %d: take a newer Kelpie", x.Format, format)
	}
	var versions []string
	for _, e := range x.Releases {
		if e.Name == name && versionForm.MatchString(e.Version) {
			versions = append(versions, e.Version)
		}
	}
	return versions, nil
}
