package main

import (
	"encoding/json"
	"fmt"
	"strconv"
)

const (
	cursorVersion = 1
	// maxCursor bounds the cursor, which goes with every batch, in bytes.
	maxCursor = 256 << 10
)

// position is how far a file has been read. The file is known by its content, under
// whatever name.
type position struct {
	// Fingerprint of the first Length bytes, which is the first KiB or, if less has been
	// read, what has.
	Fingerprint string `json:"fingerprint"`
	Length      int    `json:"length"`
	// Tail is the checksum of the bytes before Offset, up to tailLength.
	Tail   string `json:"tail"`
	Offset int64  `json:"offset"`
	// Path under which it was last found.
	Path string `json:"path"`
}

// parseCursor reads what encodeCursor wrote; nothing is read as nothing.
func parseCursor(data []byte) ([]position, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var cursor struct {
		Version int        `json:"version"`
		Files   []position `json:"files"`
	}
	if err := json.Unmarshal(data, &cursor); err != nil {
		return nil, fmt.Errorf("the cursor cannot be read: %w", err)
	}
	if cursor.Version < 1 || cursor.Version > cursorVersion {
		return nil, fmt.Errorf("the cursor has version %d, and this plugin knows up to %d: use the newer plugin that wrote it", cursor.Version, cursorVersion)
	}
	for _, p := range cursor.Files {
		if p.Offset <= 0 || int64(p.Length) != min(p.Offset, headLength) {
			return nil, fmt.Errorf("the cursor says that %s was read to byte %d, by a fingerprint of %d bytes, which cannot be", p.Path, p.Offset, p.Length)
		}
	}
	return cursor.Files, nil
}

// encodeCursor writes where the files stand. Those of which nothing was read have no
// fingerprint and are left out.
func encodeCursor(files []*tracked) []byte {
	out := []byte(`{"version":` + strconv.Itoa(cursorVersion) + `,"files":[`)
	first := true
	for _, t := range files {
		if t.offset == 0 {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, t.encoded()...)
	}
	return append(out, ']', '}')
}
