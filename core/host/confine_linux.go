package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process is confined by the thread that starts it: rights are a thread's own, what it
// starts has no more, and the thread does nothing else and ends with the process. So
// there is no moment in which the process has more, and no stage before it.

// kernel is what this machine's kernel can hold a process to.
type kernel struct {
	landlock int // version; 0: it has none
	// signals to others can be forbidden without harm to the threads of one process.
	signals bool
}

func askKernel() kernel {
	// Go tries once whether it can name processes by descriptors, by starting one. That must
	// not be the first in a name space that is a plugin's: with its end that would end.
	_, _ = os.FindProcess(os.Getpid())
	version, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err != 0 {
		return kernel{}
	}
	k := kernel{landlock: int(version)}
	mended, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	k.signals = k.landlock >= 6 && err == 0 && mended&(1<<1) != 0
	return k
}

// onFirstThread tells whether this thread is the one that stands for the program: rights
// to the program's memory and signals are those of this thread, and it never ends.
func onFirstThread() bool { return unix.Gettid() == unix.Getpid() }

// grants tells whether files are granted one by one.
func (k kernel) grants() bool { return k.landlock > 0 }

// lacks tells what of a confinement does not hold on this machine, and of that what lets a
// plugin reach what is not for it.
func (k kernel) lacks(c *confinement) (all, grave []string) {
	switch {
	case k.landlock == 0:
		grave = append(grave, "files and TCP ports: this kernel has no Landlock, or it is not switched on (lsm=landlock,…)")
	case k.landlock < 4:
		grave = append(grave, "TCP ports: this kernel's Landlock is too old (6.7 has it)")
	}
	if k.landlock > 0 && k.landlock < 3 {
		grave = append(grave, "the ends of files: this kernel's Landlock lets any be cut short that its account may write (6.2 does not)")
	}
	if k.landlock > 0 && !k.signals {
		grave = append(grave, "signals: this kernel's Landlock lets a plugin end other processes of its account, and Kelpie (6.12 does not, with later fixes)")
	}
	if _, ok := machines[runtime.GOARCH]; !ok {
		grave = append(grave, "what a socket speaks, and signals to Kelpie: on this machine system calls are not told apart")
	}
	all = slices.Clone(grave)
	if c.limits.Processes > 0 && c.user == "" && os.Geteuid() == 0 {
		all = append(all, "the number of processes: the kernel does not count those of root; give the plugin a user, or run Kelpie under its own account")
	}
	return all, grave
}

// enter confines this thread for good, and so whatever it starts. exe and own are what the
// process needs besides: its executable, and the folders that are its own. The ground is
// what it was granted of the disk.
func (k kernel) enter(c *confinement, exe *os.File, own []string) (ground, error) {
	var g ground
	if c.off {
		return g, nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return g, fmt.Errorf("no new privileges: %w", err)
	}
	var shared []string
	apart, unshared := c.startsApart(), false
	if os.Geteuid() == 0 && !c.becomes {
		// What this thread starts is the first in a name space of processes, and all that is
		// in it ends with the first.
		unshared = unix.Unshare(unix.CLONE_NEWPID) == nil
		if apart = unshared; !apart {
			shared = []string{"processes that leave the plugin's group: this machine allows no name space of its own for them, in which they end with the plugin"}
		}
	}
	if c.user == "" { // another user has none of them anyway
		if err := dropCapabilities(); err != nil {
			return g, err
		}
	}
	if k.landlock > 0 {
		g = c.survey(true)
		if err := k.landlocked(c, g, exe, own); err != nil {
			return g, err
		}
	}
	// This thread stays one of the core's, and to the kernel it is of the plugin's kind: by it
	// the core's memory could be read.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return g, fmt.Errorf("memory of the core: %w", err)
	}
	g.lacks, g.apart = shared, unshared
	if err := filterCalls(len(c.may.connect)+len(c.may.listen) > 0); err != nil || apart {
		return g, err
	}
	if c.becomes {
		return g, filterNumbers(unix.Getppid(), unix.Getppid())
	}
	return g, filterNumbers(unix.Getpid(), unix.Gettid())
}

// startsApart tells whether the process is started in name spaces of its own, which who is
// not root can make only with it.
func (c *confinement) startsApart() bool {
	return os.Geteuid() != 0 && !c.becomes && c.limits.Processes > 0
}

// kept are what a process of root's may need to read what it is granted, and to listen
// on a port below 1024.
const kept = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_NET_BIND_SERVICE

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	data[0].Permitted &= kept
	data[0].Effective &= kept
	data[0].Inheritable &= kept
	data[1] = unix.CapUserData{}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// as prepares the command for its limits and its user, and gives that user the folders
// that are the process's own.
func (c *confinement) as(cmd *exec.Cmd, own []string) error {
	if c.off {
		return nil
	}
	// It stops before its first instruction, until it has its limits.
	cmd.SysProcAttr.Ptrace = true
	if c.user == "" {
		if c.startsApart() {
			// Processes are counted by account, and Kelpie's are not the plugin's to use up:
			// in a name space of its own they are counted by themselves.
			cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID
		}
		return nil
	}
	credential, err := credentialOf(c.user)
	if err != nil {
		return &permanentError{err}
	}
	switch own := os.Geteuid(); {
	case int(credential.Uid) == own:
		return &permanentError{fmt.Errorf("it is to run as user %q, which is Kelpie's own: leave \"user\" out, or give it another", c.user)}
	case own != 0:
		return &permanentError{fmt.Errorf("it is to run as user %q, and only root may start it so: Kelpie runs as another", c.user)}
	}
	cmd.SysProcAttr.Credential = credential
	for _, folder := range slices.Concat(own, c.may.state) {
		if err := handOver(folder, credential); err != nil {
			return err
		}
	}
	// Above its own folders are the host's, the base of these, and the data folder.
	for _, folder := range own {
		if err := letPass(filepath.Dir(folder), 3); err != nil {
			return err
		}
	}
	for _, folder := range c.may.state {
		if err := letPass(filepath.Dir(folder), 2); err != nil {
			return err
		}
	}
	return nil
}

// loosen prepares another attempt, after the kernel refused one: without what may be
// forbidden on a machine. It tells what does not hold then. An error is that there is
// nothing left.
func loosen(a *syscall.SysProcAttr, refusal error) (lack string, err error) {
	errno := syscall.Errno(0)
	if e, ok := refusal.(*os.PathError); ok {
		errno, _ = e.Err.(syscall.Errno)
	}
	if !slices.Contains([]syscall.Errno{unix.EPERM, unix.EINVAL, unix.ENOSPC, unix.EUSERS, unix.ENOSYS}, errno) {
		return "", refusal
	}
	switch {
	case a.Cloneflags&unix.CLONE_NEWUSER != 0:
		a.Cloneflags &^= unix.CLONE_NEWUSER | unix.CLONE_NEWPID
		return "the number of processes, and those that leave its group: this machine allows no user name spaces, in which the plugin's would be counted by themselves, and end with it", filterNumbers(unix.Getpid(), unix.Gettid())
	case a.Ptrace:
		a.Ptrace = false
		return "the limits in the first moment after its start: this machine allows no tracing", nil
	}
	return "", refusal
}

// limit sets a started process's limits, and lets one that waits for them go on.
func (c *confinement) limit(pid int, how *syscall.SysProcAttr) error {
	if c.off {
		return nil
	}
	if how.Ptrace {
		if !awaitTrap(pid) {
			return nil // it is gone, and who waits for it learns it
		}
		defer unix.PtraceDetach(pid)
	}
	set := make(chan error, 1)
	// This thread sets limits for nobody but itself: it is held to what the plugin is.
	go onThreadOfItsOwn(func() { set <- c.setLimits(pid, how) })
	return <-set
}

// setLimits needs a thread that is not confined, and that ends: it takes the user's name.
func (c *confinement) setLimits(pid int, how *syscall.SysProcAttr) error {
	if credential := how.Credential; credential != nil {
		// Whose limits they are may set them, and so may who can do everything.
		for _, call := range []struct{ number, id uintptr }{{unix.SYS_SETRESGID, uintptr(credential.Gid)}, {unix.SYS_SETRESUID, uintptr(credential.Uid)}} {
			if _, _, errno := unix.RawSyscall(call.number, call.id, ^uintptr(0), ^uintptr(0)); errno != 0 {
				return fmt.Errorf("limits: %w", errno)
			}
		}
	}
	set := func(resource int, most uint64) error {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil && err != unix.ESRCH {
			return fmt.Errorf("limits: %w", err)
		}
		return nil
	}
	if err := set(unix.RLIMIT_CORE, 0); err != nil { // its memory holds secrets
		return err
	}
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, uint64(c.limits.Memory)},
		{unix.RLIMIT_NPROC, uint64(c.limits.Processes)},
		{unix.RLIMIT_NOFILE, uint64(c.limits.Files)},
		{unix.RLIMIT_CPU, uint64(c.limits.CPU.Seconds())},
	} {
		if l.resource == unix.RLIMIT_NPROC && c.user == "" && how.Cloneflags&unix.CLONE_NEWUSER == 0 {
			continue // they would be counted with all others of Kelpie's account
		}
		if l.most == 0 {
			continue
		}
		if err := set(l.resource, l.most); err != nil {
			return err
		}
	}
	return nil
}

// awaitTrap waits until a traced process has stopped at its first instruction; false: it
// has ended.
func awaitTrap(pid int) bool {
	const trapped = 4 // CLD_TRAPPED
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Code == trapped
		}
	}
}
