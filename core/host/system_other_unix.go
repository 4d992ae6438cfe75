//go:build unix && !linux

package host

import (
	"os/exec"
	"syscall"
)

// command runs the path: there is no way to run an open file here, so that whoever
// can replace the file between its hash and now, can run something else.
func (e *executable) command() *exec.Cmd {
	return &exec.Cmd{
		Path:        e.path,
		Args:        []string{e.path},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
}

// awaitExit would wait without reaping; there is no such call here.
func awaitExit(int) bool { return false }
