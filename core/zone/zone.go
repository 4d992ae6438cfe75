// Package zone knows time zones by their names, from a database of its own: what is
// decided by a zone is the same on every machine and for ever, whatever files a machine
// has.
package zone

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"time"
)

// database is lib/time/zoneinfo.zip of Go's.
//
//go:embed zoneinfo.zip
var database []byte

// maxFile is more than any zone's file has.
const maxFile = 1 << 20

// Load gives a zone by its name in the IANA database, such as "Europe/Berlin", or "UTC".
func Load(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	files, err := zip.NewReader(bytes.NewReader(database), int64(len(database)))
	if err != nil {
		return nil, fmt.Errorf("time zones: %w", err)
	}
	for _, f := range files.File {
		if f.Name != name || strings.HasSuffix(f.Name, "/") {
			continue
		}
		content, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("time zone %q: %w", name, err)
		}
		return time.LoadLocationFromTZData(name, content)
	}
	return nil, fmt.Errorf("there is no time zone %q", name)
}

func read(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxFile))
}
