package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"
)

const (
	// maxSocketPath is below what a socket's path may have: 108 bytes on Linux, 104
	// elsewhere, the final zero included.
	maxSocketPath = 100
	// socketTail is what go-plugin adds to its folder: "plugin-dir" and "plugin", each
	// with up to ten digits.
	socketTail = len("/plugin-dir1234567890/plugin1234567890")
	// ownPrefix begins the name of the folder of one running host.
	ownPrefix = "h"
	ownDigits = 10
	lockName  = "lock"
)

// runDir is the folder of one host's sockets and working folders. It is locked while
// the host lives, so that what a killed host left can be told from what is in use,
// and is removed by whoever comes next.
type runDir struct {
	path string
	lock *os.File
}

// openRunDir makes a folder below the first base that leaves room for a socket's
// path, and removes what hosts that are gone have left there.
func openRunDir(base string) (*runDir, error) {
	base, err := chooseBase(base)
	if err != nil {
		return nil, err
	}
	gate, err := lockFile(filepath.Join(base, lockName), true)
	if err != nil {
		return nil, fmt.Errorf("folder for plugins' sockets: %w", err)
	}
	defer gate.Close()
	sweep(base)
	path, err := os.MkdirTemp(base, ownPrefix)
	if err != nil {
		return nil, fmt.Errorf("folder for plugins' sockets: %w", err)
	}
	lock, err := lockFile(filepath.Join(path, lockName), false)
	if err != nil {
		os.RemoveAll(path)
		return nil, fmt.Errorf("folder for plugins' sockets: %w", err)
	}
	return &runDir{path: path, lock: lock}, nil
}

func (d *runDir) close() error {
	err := os.RemoveAll(d.path)
	d.lock.Close()
	return err
}

// workDir makes a working folder for one process.
func (d *runDir) workDir() (string, error) { return os.MkdirTemp(d.path, "w") }

func chooseBase(base string) (string, error) {
	private := "kelpie-" + strconv.Itoa(os.Getuid())
	candidates := []string{filepath.Join(os.TempDir(), private), filepath.Join("/tmp", private)}
	if base != "" {
		abs, err := filepath.Abs(base)
		if err != nil {
			return "", err
		}
		candidates = append([]string{abs}, candidates...)
	}
	const longest = maxSocketPath - 1 - len("/") - len(ownPrefix) - ownDigits - socketTail
	var errs []error
	for _, path := range candidates {
		if len(path) > longest {
			errs = append(errs, fmt.Errorf("%s is longer than %d bytes, and a socket in it could not be reached", path, longest))
			continue
		}
		err := makePrivate(path)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("there is no folder for plugins' sockets: %w", errors.Join(errs...))
}

// makePrivate makes the folder, or takes one that is there if it is nobody else's.
func makePrivate(path string) error {
	if !utf8.ValidString(path) {
		return fmt.Errorf("%q is not valid UTF-8", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	return refuseForeign(path, info)
}

// sweep removes the folders of hosts that are gone. The caller holds the base's lock.
func sweep(base string) {
	left, err := filepath.Glob(filepath.Join(base, ownPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			continue
		}
		lock, err := lockFile(filepath.Join(path, lockName), false)
		if err != nil {
			continue // in use
		}
		os.RemoveAll(path)
		lock.Close()
	}
}
