package link

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is the key's name in the data folder. Without the file the next start makes
// another key, and no link of before is good any more: that is how a key is renewed.
const File = "link.key"

// NewKey makes one that nobody knows.
func NewKey() *Key {
	k := &Key{}
	rand.Read(k.secret[:]) // never fails
	return k
}

// Open reads the key at a path, or makes it there, for its owner alone.
func Open(path string) (*Key, error) {
	k, err := read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = NewKey()
	return k, k.write(path)
}

func read(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may read it, and who has it can answer for everybody; remove it, and the next start makes another", path)
	}
	k := &Key{}
	if _, err := io.ReadFull(f, k.secret[:]); err != nil || info.Size() != KeySize {
		return nil, fmt.Errorf("%s: it is no key of %d bytes; remove it, and the next start makes another", path, KeySize)
	}
	return k, nil
}

// write puts the key in its place whole, and on the disk before anything is signed by it.
func (k *Key) write(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), File+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // which is no more there if all went well
	_, err = f.Write(k.secret[:])
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // where a folder can be
		dir.Close()
	}
	return nil
}
