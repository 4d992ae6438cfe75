package host

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Become replaces this program by a plugin's executable, in this working folder and with
// this environment, confined as a Host confines it: of a file system it has the working
// folder, what programs need, and what g grants outside of private. Only the number of its
// processes is not limited. It returns only errors, and is for a program that does nothing
// else: what it has done to itself stays.
func Become(path string, g Grant, private []string) error {
	exe, err := openExecutable(path)
	if err != nil {
		return err
	}
	own, err := os.Getwd()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	held := g.confinement(private)
	if _, err := askKernel().enter(held, exe.file, []string{own}); err != nil {
		return err
	}
	if err := held.limit(os.Getpid(), &syscall.SysProcAttr{}); err != nil {
		return err
	}
	// A script's interpreter opens it once more.
	if _, err := unix.FcntlInt(exe.file.Fd(), unix.F_SETFD, 0); err != nil {
		return err
	}
	return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", exe.file.Fd()), []string{exe.path}, os.Environ())
}
