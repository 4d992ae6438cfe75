package main

import (
	"os"
	"syscall"
)

// attributes: there are no process groups in the sense that is meant here, so that what
// a program starts outlives it.
func attributes() *syscall.SysProcAttr { return nil }

func apart() *syscall.SysProcAttr { return nil }

func awaitExit(int) bool { return false }

const (
	signalTerm = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

func signalGroup(pid int, _ syscall.Signal) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func busy(error) bool { return false }

func foreign(error) bool { return false }
