package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// executable is an open file whose content has the hash; what is run is this file
// and not whatever has its path by then (on Linux; elsewhere the path is run).
type executable struct {
	path   string // absolute
	sha256 string
	file   *os.File
}

var errMissing = errors.New("does not exist")

// pluginPath is where a plugin's executable is.
func pluginPath(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// path of the executable that serves an instance.
func (s *Settings) path(i Instance) string {
	if i.Path != "" {
		return i.Path
	}
	return pluginPath(s.PluginDir, i.Plugin)
}

// openExecutable opens and hashes a plugin's file. One that others than its owner and
// group may change is refused.
func openExecutable(path string) (*executable, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %w", path, errMissing)
	}
	if err != nil {
		return nil, err
	}
	e := &executable{path: path, file: file}
	if err := e.inspect(); err != nil {
		file.Close()
		return nil, err
	}
	return e, nil
}

func (e *executable) inspect() error {
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", e.path)
	}
	if runtime.GOOS != "windows" {
		if info.Mode().Perm()&0o111 == 0 {
			return fmt.Errorf("%s is not executable: run \"chmod +x\" on it", e.path)
		}
		if err := refuseWritable(e.path, info); err != nil {
			return err
		}
		if err := refuseFolder(e.path); err != nil {
			return err
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, e.file); err != nil {
		return fmt.Errorf("%s: %w", e.path, err)
	}
	if _, err := e.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("%s: %w", e.path, err)
	}
	e.sha256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// refuseFolder looks at the folder of the path and, if the path is a symbolic link,
// of what it points to.
func refuseFolder(path string) error {
	folders := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != folders[0] {
		folders = append(folders, filepath.Dir(real))
	}
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		if err := refuseWritable(folder, info); err != nil {
			return err
		}
	}
	return nil
}

func refuseWritable(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%s may be written by everybody, so that anybody could replace the plugin: run \"chmod o-w\" on it", path)
	}
	return nil
}

func (e *executable) close() {
	if e != nil {
		e.file.Close()
	}
}
