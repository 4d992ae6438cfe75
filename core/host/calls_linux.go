package host

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock knows the ports of TCP and of nothing else: what a socket speaks is for
// seccomp to say. A process that may use no port gets no socket of the Internet at all;
// one that may gets TCP and UDP, of which the latter is what names are looked up by. Not
// Multipath TCP, for which no port is forbidden, and no io_uring, which makes sockets
// that nobody looks at; nor TCP Fast Open, by which a connection begins with what is sent.
//
// To Landlock, the thread of the core that starts a process and waits for its end is one of
// the process's own kind: what would reach the core by that thread is refused here.

// machines whose system calls are told apart here.
var machines = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64,
}

// foreignCall marks system calls of x32, which are others under the same machine.
const foreignCall = 0x40000000

// Where the kernel shows what a filter reads.
const (
	dataCall    = 0
	dataMachine = 4
	dataFamily  = 16
	dataSpeaks  = 32
	dataFirst   = 16 // arguments, the lower half of each
	dataSecond  = 24
	dataThird   = 32
	dataFourth  = 40
)

// What x/sys does not name.
const (
	fiosetown     = 0x8901
	siocspgrp     = 0x8902
	ioprioProcess = 1 // IOPRIO_WHO_PROCESS
)

// filterCalls is for good, for this thread and what it starts.
func filterCalls(internet bool) error {
	machine, ok := machines[runtime.GOARCH]
	if !ok {
		return nil // lacks says so
	}
	return install(callFilter(machine, internet))
}

// filterNumbers keeps this thread and what it starts, for good, from the core, where they
// have no name space of processes of their own, and so find it by its number and those of
// its threads. In one of their own the same numbers are theirs.
func filterNumbers(core, thread int) error {
	if _, ok := machines[runtime.GOARCH]; !ok {
		return nil // lacks says so
	}
	return install(numberFilter(uint32(core), uint32(thread)))
}

func install(f filter) error {
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	runtime.KeepAlive(f)
	return nil
}

// filter is a program that the kernel runs for each system call; of several the sternest
// answer counts.
type filter []unix.SockFilter

const refused = uint32(unix.EPERM)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func answer(errno uint32) unix.SockFilter {
	if errno == 0 {
		return unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}
	}
	return unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | errno}
}

// Each test skips the answer after it, or gives it.

func is(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: value}
}

func isNot(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: value}
}

func has(bits uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: bits}
}

func (f *filter) add(parts ...unix.SockFilter) { *f = append(*f, parts...) }

func (f *filter) when(value, errno uint32) { f.add(is(value), answer(errno)) }

func (f *filter) unless(value, errno uint32) { f.add(isNot(value), answer(errno)) }

// argument refuses a call one of whose arguments is so. After it the call's number is
// loaded again.
func (f *filter) argument(call, offset uint32, test unix.SockFilter) {
	f.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 4, K: call},
		load(offset), test, answer(refused), load(dataCall))
}

func callFilter(machine uint32, internet bool) filter {
	var f filter
	f.add(load(dataMachine))
	f.unless(machine, uint32(unix.ENOSYS))
	f.add(load(dataCall),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: foreignCall}, answer(uint32(unix.ENOSYS)))
	for _, call := range []uint32{unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL} {
		f.when(call, refused)
	}
	// Its own limits are set while it is traced, and let go, by this thread.
	f.argument(unix.SYS_PTRACE, dataFirst, is(unix.PTRACE_ATTACH))
	f.argument(unix.SYS_PTRACE, dataFirst, is(unix.PTRACE_SEIZE))
	f.argument(unix.SYS_SENDTO, dataFourth, has(unix.MSG_FASTOPEN))
	f.argument(unix.SYS_SENDMSG, dataThird, has(unix.MSG_FASTOPEN))
	f.argument(unix.SYS_SENDMMSG, dataFourth, has(unix.MSG_FASTOPEN))
	f.when(unix.SYS_IO_URING_SETUP, uint32(unix.ENOSYS))
	f.unless(unix.SYS_SOCKET, 0)
	f.add(load(dataFamily))
	f.when(unix.AF_UNIX, 0)
	f.when(unix.AF_NETLINK, 0)
	if !internet {
		f.when(unix.AF_INET, uint32(unix.EACCES))
		f.when(unix.AF_INET6, uint32(unix.EACCES))
		f.add(answer(uint32(unix.EAFNOSUPPORT)))
		return f
	}
	f.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: unix.AF_INET})
	f.unless(unix.AF_INET6, uint32(unix.EAFNOSUPPORT))
	f.add(load(dataSpeaks))
	for _, protocol := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		f.when(protocol, 0)
	}
	f.add(answer(uint32(unix.EPROTONOSUPPORT)))
	return f
}

// numberFilter comes after a callFilter, which has looked at the machine.
func numberFilter(core, thread uint32) filter {
	var f filter
	f.add(load(dataCall))
	// Landlock refuses signals to all other threads of the core's.
	for _, call := range []uint32{unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO} {
		f.argument(call, dataFirst, is(thread))
	}
	for _, call := range []uint32{unix.SYS_TGKILL, unix.SYS_RT_TGSIGQUEUEINFO} {
		f.argument(call, dataFirst, is(core))
	}
	// Who owns a file gets a signal from it, which may be one that ends him. Some of these
	// calls point to his number, which a filter can't read.
	for _, command := range []uint32{unix.F_SETOWN, unix.F_SETOWN_EX} {
		f.argument(unix.SYS_FCNTL, dataSecond, is(command))
	}
	for _, command := range []uint32{fiosetown, siocspgrp} {
		f.argument(unix.SYS_IOCTL, dataSecond, is(command))
	}
	// The kernel lets processes of one account set each other's limits and paces. Here they
	// set them for 0, which is themselves, and for nobody by a number.
	for _, call := range []uint32{unix.SYS_PRLIMIT64, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR} {
		f.argument(call, dataFirst, isNot(0))
	}
	for _, c := range []struct{ call, process uint32 }{{unix.SYS_SETPRIORITY, unix.PRIO_PROCESS}, {unix.SYS_IOPRIO_SET, ioprioProcess}} {
		f.argument(c.call, dataFirst, isNot(c.process))
		f.argument(c.call, dataSecond, isNot(0))
	}
	f.add(answer(0))
	return f
}
