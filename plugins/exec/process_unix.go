//go:build unix

package main

import (
	"errors"
	"syscall"
)

// signalGroup sends a signal to a program and all that it started and that stayed in
// its group.
func signalGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }

const (
	signalTerm = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

// busy tells that a program's file is just being written, perhaps by somebody who is
// about to have done.
func busy(err error) bool { return errors.Is(err, syscall.ETXTBSY) }

// foreign tells that the system does not know how to run a file.
func foreign(err error) bool { return errors.Is(err, syscall.ENOEXEC) }
