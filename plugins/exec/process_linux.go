package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes of a program's process: a group of its own, and its end with the thread
// that started it, which is at the latest that of this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// apart are those of a process that outlives this one.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit returns when the process has ended, and leaves it to be reaped: until then
// its number, which is its group's too, is nobody else's.
func awaitExit(pid int) bool {
	for {
		switch err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err {
		case nil:
			return true
		case unix.EINTR:
		default:
			return false
		}
	}
}
