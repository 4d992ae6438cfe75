package host

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

const openFlags = 0

// command runs the path; see the other systems'. Windows has no process groups in the
// sense that is meant here: children of a plugin outlive it.
func (e *executable) command() *exec.Cmd {
	return &exec.Cmd{Path: e.path, Args: []string{e.path}, SysProcAttr: &syscall.SysProcAttr{}}
}

func awaitExit(int) bool { return false }

const (
	signalTerm = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

func signalGroup(pid int, _ syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

// lockFile locks nothing: there are no sockets here to be swept. A file that is there
// already counts as in use, where the caller would not wait.
func lockFile(path string, wait bool) (*os.File, error) {
	if wait {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

func refuseForeign(string, fs.FileInfo) error { return nil }

func refuseShared(string, fs.FileInfo) error { return nil }
