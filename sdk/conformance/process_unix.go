//go:build unix

package conformance

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the first of a group, so that a kill reaches what it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
