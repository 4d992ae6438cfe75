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
	dataThird   = 32
	dataFourth  = 40
)

// filterCalls is for good, for this thread and what it starts. It keeps them from the
// core, and from the thread of it that starts them.
func filterCalls(internet bool, core, thread int) error {
	machine, ok := machines[runtime.GOARCH]
	if !ok {
		return nil // lacks says so
	}
	filter := callFilter(machine, internet, uint32(core), uint32(thread))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	runtime.KeepAlive(filter)
	return nil
}

func callFilter(machine uint32, internet bool, core, thread uint32) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	answer := func(errno uint32) unix.SockFilter {
		if errno == 0 {
			return unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}
		}
		return unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | errno}
	}
	// Each test skips the answer after it, or gives it.
	unless := func(value, errno uint32) []unix.SockFilter {
		return []unix.SockFilter{{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: value}, answer(errno)}
	}
	when := func(value, errno uint32) []unix.SockFilter {
		return []unix.SockFilter{{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: value}, answer(errno)}
	}
	// Of a call, what has such an argument. After it the call's number is loaded again.
	argument := func(call, offset uint32, test unix.SockFilter, errno uint32) []unix.SockFilter {
		return []unix.SockFilter{
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 4, K: call},
			load(offset), test, answer(errno), load(dataCall),
		}
	}
	is := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: value}
	}
	has := func(bits uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: bits}
	}
	const refused = uint32(unix.EPERM)
	var f []unix.SockFilter
	add := func(parts ...[]unix.SockFilter) {
		for _, part := range parts {
			f = append(f, part...)
		}
	}
	add([]unix.SockFilter{load(dataMachine)}, unless(machine, uint32(unix.ENOSYS)))
	f = append(f, load(dataCall),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: foreignCall}, answer(uint32(unix.ENOSYS)))
	for _, call := range []uint32{unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL} {
		add(when(call, refused))
	}
	// Its own limits are set while it is traced, and let go, by this thread.
	add(argument(unix.SYS_PTRACE, dataFirst, is(unix.PTRACE_ATTACH), refused), argument(unix.SYS_PTRACE, dataFirst, is(unix.PTRACE_SEIZE), refused))
	for _, call := range []uint32{unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO} {
		add(argument(call, dataFirst, is(thread), refused))
	}
	for _, call := range []uint32{unix.SYS_TGKILL, unix.SYS_RT_TGSIGQUEUEINFO} {
		add(argument(call, dataFirst, is(core), refused))
	}
	add(argument(unix.SYS_SENDTO, dataFourth, has(unix.MSG_FASTOPEN), refused),
		argument(unix.SYS_SENDMSG, dataThird, has(unix.MSG_FASTOPEN), refused),
		argument(unix.SYS_SENDMMSG, dataFourth, has(unix.MSG_FASTOPEN), refused))
	add(when(unix.SYS_IO_URING_SETUP, uint32(unix.ENOSYS)), unless(unix.SYS_SOCKET, 0))
	f = append(f, load(dataFamily))
	add(when(unix.AF_UNIX, 0), when(unix.AF_NETLINK, 0))
	if !internet {
		add(when(unix.AF_INET, uint32(unix.EACCES)), when(unix.AF_INET6, uint32(unix.EACCES)))
		return append(f, answer(uint32(unix.EAFNOSUPPORT)))
	}
	f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: unix.AF_INET})
	add(unless(unix.AF_INET6, uint32(unix.EAFNOSUPPORT)))
	f = append(f, load(dataSpeaks))
	for _, protocol := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		add(when(protocol, 0))
	}
	return append(f, answer(uint32(unix.EPROTONOSUPPORT)))
}
