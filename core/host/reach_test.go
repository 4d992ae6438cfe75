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

// owners of a file get a signal from it, which may be any.
func owners() []way {
	with := func(number, command uintptr, pointed bool, kind int32) way {
		return func(_, tid int) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(pair[0])
			defer unix.Close(pair[1])
			owner := [2]int32{kind, int32(tid)}
			if !pointed {
				return call(number, uintptr(pair[0]), command, uintptr(tid))
			}
			at := unsafe.Pointer(&owner[0])
			if number == unix.SYS_IOCTL {
				at = unsafe.Pointer(&owner[1])
			}
			return call(number, uintptr(pair[0]), command, uintptr(at))
		}
	}
	const ofThread, ofProcess = 0, 1
	return []way{
		with(unix.SYS_FCNTL, unix.F_SETOWN, false, 0),
		with(unix.SYS_FCNTL, unix.F_SETOWN_EX, true, ofThread), with(unix.SYS_FCNTL, unix.F_SETOWN_EX, true, ofProcess),
		with(unix.SYS_IOCTL, fiosetown, true, 0), with(unix.SYS_IOCTL, siocspgrp, true, 0),
	}
}

// limits that a process has anyway.
func limits() []way {
	return []way{func(_, tid int) error {
		var now unix.Rlimit
		if err := unix.Prlimit(tid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
			return err
		}
		return unix.Prlimit(tid, unix.RLIMIT_NOFILE, &now, nil)
	}}
}

// paces: a thread's part of the processors and the disk, which stays as it is.
func paces() []way {
	var parameter [1]int32
	attributes := [12]uint32{0: 48, 2: unix.SCHED_FLAG_KEEP_ALL}
	return []way{
		func(_, tid int) error { return setNice(unix.PRIO_PROCESS, tid) },
		ofUser(func() error { return setNice(unix.PRIO_USER, 0) }),
		func(pid, _ int) error {
			group, err := unix.Getpgid(pid)
			if err != nil {
				return err
			}
			return setNice(unix.PRIO_PGRP, group)
		},
		func(_, tid int) error {
			var all unix.CPUSet
			if err := unix.SchedGetaffinity(tid, &all); err != nil {
				return err
			}
			return unix.SchedSetaffinity(tid, &all)
		},
		func(_, tid int) error {
			return call(unix.SYS_SCHED_SETPARAM, uintptr(tid), uintptr(unsafe.Pointer(&parameter)))
		},
		func(_, tid int) error {
			return call(unix.SYS_SCHED_SETSCHEDULER, uintptr(tid), unix.SCHED_NORMAL, uintptr(unsafe.Pointer(&parameter)))
		},
		func(_, tid int) error {
			return call(unix.SYS_SCHED_SETATTR, uintptr(tid), uintptr(unsafe.Pointer(&attributes)), 0)
		},
		func(_, tid int) error { return call(unix.SYS_IOPRIO_SET, 1, uintptr(tid), 0) },
		ofUser(func() error { return call(unix.SYS_IOPRIO_SET, 3, 0, 0) }),
	}
}

// ofUser is a way to all processes of an account that are in the caller's name space.
func ofUser(set func() error) way {
	return func(_, tid int) error {
		if _, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil {
			return err
		}
		return set()
	}
}

// setNice to what it is.
func setNice(which, who int) error {
	now, err := unix.Getpriority(which, who)
	if err != nil {
		return err
	}
	const rawZero = 20
	return unix.Setpriority(which, who, rawZero-now)
}
