package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// openRegular opens a regular file, and waits for none: a named pipe is not opened. With a
// root the file is opened in that folder alone: no symbolic link leads out of it.
func openRegular(root, path string) (*os.File, error) {
	stat, open := os.Stat, os.Open
	name := path
	if root != "" {
		folder, err := os.OpenRoot(root)
		if err != nil {
			return nil, err
		}
		defer folder.Close()
		if name, err = filepath.Rel(root, path); err != nil {
			return nil, err
		}
		stat, open = folder.Stat, folder.Open
	}
	info, err := stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New(path + " is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = open(name)
	}
	var at *fs.PathError
	switch {
	case err == nil:
		return f, nil
	case !errors.As(err, &at):
		return nil, err
	case root == "" || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return nil, &fs.PathError{Op: at.Op, Path: path, Err: at.Err}
	}
	return nil, fmt.Errorf("%s is not in %s: %w", path, root, at.Err)
}

// root is the folder of the pack or module that a file lies in; empty: it is the
// configuration's own.
func (s *Source) root(path string) string {
	root := ""
	for _, folder := range s.Folders {
		rel, err := filepath.Rel(folder, path)
		if err == nil && filepath.IsLocal(rel) && len(folder) > len(root) {
			root = folder
		}
	}
	return root
}
