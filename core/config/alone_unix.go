//go:build unix

package config

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Alone keeps others from changing the lock and the schemas of a folder until it is left,
// or this process ends. ErrBusy: somebody is at it. On a file system without such locks
// nothing keeps them away.
func Alone(dir string) (leave func(), err error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // there is nothing to change yet
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, ErrBusy
	}
	return func() {
		// A process that is being started has a copy of the file until its program is
		// loaded: closing alone would leave the lock with it.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close()
	}, nil
}
