package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// command runs the open file itself, by its descriptor, which is the child's third: a
// path could have come to mean another file since the hash was made.
func (e *executable) command() *exec.Cmd {
	const descriptor = 3 // the first of ExtraFiles
	return &exec.Cmd{
		Path:       filepath.Join("/proc/self/fd", strconv.Itoa(descriptor)),
		Args:       []string{e.path},
		ExtraFiles: []*os.File{e.file},
		SysProcAttr: &syscall.SysProcAttr{
			// A session is a group of processes too, and one that the kernel weighs as a
			// whole (autogroup, sched(7)): hundreds of processes of one plugin get no more of
			// a processor than the one of another.
			Setsid: true,
			// Sent when the thread that started the process ends: see runner.run.
			Pdeathsig: syscall.SIGKILL,
		},
	}
}

// awaitExit returns when the process has ended, and leaves it to be reaped: until
// then its number, which is its group's too, is nobody else's.
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
