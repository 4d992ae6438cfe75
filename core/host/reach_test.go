//go:build linux

package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// way is one to reach a thread of another process. Nothing but that it is open comes of it.
type way func(pid, tid int) error

// eachThread tries ways to each of a process's threads: to the kernel most are to the whole
// process. It tells that one is open, or why none is.
func eachThread(ways func() []way) func(string) error {
	return func(text string) error {
		pid, _ := strconv.Atoi(text)
		tasks, err := os.ReadDir("/proc/" + text + "/task")
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			for _, try := range ways() {
				switch refusal := try(pid, tid); {
				case refusal == nil:
					return nil
				case !errors.Is(refusal, fs.ErrNotExist): // the thread has not just ended
					err = errors.Join(err, refusal)
				}
			}
		}
		return err
	}
}

// call is a way by a system call's arguments.
//
//go:uintptrescapes
func call(number uintptr, arguments ...uintptr) error {
	var a [6]uintptr
	copy(a[:], arguments)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// signals are sent but for what they do.
func signals() []way {
	about := [32]int32{2: -1} // siginfo_t, as if from sigqueue
	return []way{
		func(pid, tid int) error { return unix.Tgkill(pid, tid, 0) },
		func(_, tid int) error { return unix.Kill(tid, 0) },
		func(_, tid int) error { return call(unix.SYS_TKILL, uintptr(tid), 0) },
		func(_, tid int) error {
			return call(unix.SYS_RT_SIGQUEUEINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(&about)))
		},
		func(pid, tid int) error {
			return call(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(tid), 0, uintptr(unsafe.Pointer(&about)))
		},
		byHandle(func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) }),
	}
}

func byHandle(use func(fd int) error) way {
	return func(_, tid int) error {
		fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return use(fd)
	}
}

// memories: what the process has in it, and what it has open.
func memories() []way {
	file := func(name string) way {
		return func(pid, tid int) error {
			f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(tid), name))
			if err == nil {
				f.Close()
			}
			return err
		}
	}
	attach := func(request uintptr) way {
		return func(_, tid int) error {
			err := call(unix.SYS_PTRACE, request, uintptr(tid), 0, 0)
			if err == nil {
				_ = unix.PtraceDetach(tid)
			}
			return err
		}
	}
	return []way{
		file("mem"), file("environ"), file("maps"), file("auxv"), file("fd/0"),
		attach(unix.PTRACE_SEIZE), attach(unix.PTRACE_ATTACH),
		func(_, tid int) error {
			var b [1]byte
			local := []unix.Iovec{{Base: &b[0], Len: 1}}
			_, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&os.Args)), Len: 1}}, 0)
			return err
		},
		byHandle(func(fd int) error {
			got, err := unix.PidfdGetfd(fd, 0, 0)
			if err == nil {
				unix.Close(got)
			}
			return err
		}),
	}
}
