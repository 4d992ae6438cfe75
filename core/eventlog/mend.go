package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// damagedDir keeps the blocks as they were before bad records were cut out of them.
const damagedDir = "damaged"

// mend cuts bad records out of their blocks, when their loss is accepted: the server
// itself would cut off all that follows in the block. The blocks as they were are kept
// aside, and the index is removed so that it is made again.
func mend(dir string, bad []badPlace) error {
	for len(bad) > 0 {
		n := 1
		for n < len(bad) && bad[n].block == bad[0].block {
			n++
		}
		if err := mendBlock(dir, bad[0].block, bad[:n]); err != nil {
			return fmt.Errorf("mending %s: %w", bad[0].block.path, err)
		}
		bad = bad[n:]
	}
	return nil
}

func mendBlock(dir string, b blockFile, bad []badPlace) error {
	data, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	if err := keepAside(dir, b, data); err != nil {
		return err
	}
	for _, place := range slices.Backward(bad) {
		data = slices.Delete(data, place.begin, place.end)
	}
	folder := filepath.Dir(b.path)
	if err := writeFile(b.path, data); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(folder, "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(folder)
}

func keepAside(dir string, b blockFile, data []byte) error {
	aside := filepath.Join(dir, damagedDir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(b.path)))
	return writeFile(filepath.Join(aside, stream+"-"+filepath.Base(b.path)), data)
}

// writeFile replaces a file as a whole, durably.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
