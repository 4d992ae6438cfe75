package faulttest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// CopyData copies a data folder as it is at this moment: while Kelpie runs and is
// quiet, as kill -9 would leave it. Sockets are left out.
func CopyData(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the log writes a file beside another, and gives it that one's name
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

// Blocks are the files of one of the log's streams (EVENTS, INPUTS, REJECTED) in a data
// folder, oldest first.
func Blocks(data, stream string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "$G", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("no blocks of %s in %s: %w", stream, data, err)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := filepath.Base(all[i]), filepath.Base(all[j])
		return len(a) < len(b) || len(a) == len(b) && a < b
	})
	return all, nil
}

// Flip turns one bit of a file, at a share of its length from 0 to below 1.
func Flip(path string, share float64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("%s is empty", path)
	}
	data[int(share*float64(len(data)))] ^= 1
	return os.WriteFile(path, data, 0o600)
}

// Tear cuts bytes off the end of a file, and puts garbage in their place if so told.
func Tear(path string, n int, garbage bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) < n {
		return fmt.Errorf("%s has %d bytes, of which %d can't be torn", path, len(data), n)
	}
	if !garbage {
		return os.Truncate(path, int64(len(data)-n))
	}
	for i := len(data) - n; i < len(data); i++ {
		data[i] ^= byte(0x5a + i)
	}
	return os.WriteFile(path, data, 0o600)
}
