package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
)

func (p program) fmtCommand(o *options) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "fmt [PATH…]", Short: "Lay out the configuration's files the one way",
		Long: "Lay out the configuration's files the one way, with those of its packs and modules that lie below its folder.",
		RunE: func(_ *cobra.Command, paths []string) error {
			if len(paths) == 0 {
				paths = append([]string{o.config}, config.Folders(o.config)...)
			}
			changed := 0
			for _, path := range paths {
				n, err := p.format(path, check)
				if err != nil {
					return err
				}
				changed += n
			}
			if check && changed > 0 {
				return &codeError{exitFailed, plural(changed, "file") + " not laid out; \"kelpie fmt\" does it"}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&check, "check", false, "change nothing; fail if something would change")
	return c
}

// format lays out a file, or the *.hcl files of a folder, and says how many changed.
func (p program) format(path string, check bool) (int, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &codeError{exitNothing, "there is no " + path}
	}
	if err != nil {
		return 0, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.hcl")); err != nil {
			return 0, err
		}
	}
	changed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return changed, err
		}
		neat := config.Format(text)
		if bytes.Equal(text, neat) {
			continue
		}
		changed++
		fmt.Fprintln(p.out, safe(file))
		if check {
			continue
		}
		if err := rewrite(file, neat); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// rewrite replaces a file whole or not at all.
func rewrite(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".kelpie-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
