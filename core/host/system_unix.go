//go:build unix

package host

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags: a plugin's path may be a FIFO, which must not block who looks.
const openFlags = syscall.O_NONBLOCK

// signalGroup sends a signal to a process and all that it started and that stayed in
// its group.
func signalGroup(pid int, signal syscall.Signal) error { return syscall.Kill(-pid, signal) }

const (
	signalTerm = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

// lockFile locks a file for as long as it is open and this process lives.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// refuseForeign refuses a folder that is not this user's alone.
func refuseForeign(path string, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// refuseShared refuses what is not this user's, or what others may write.
func refuseShared(path string, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", path)
	}
	if info.IsDir() && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s may be written by others, who could put their own socket there: run \"chmod go-w\" on it", path)
	}
	return nil
}
