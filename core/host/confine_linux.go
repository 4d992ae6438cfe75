package host

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process is confined by the thread that starts it: rights are a thread's own, what it
// starts has no more, and the thread does nothing else and ends with the process. So
// there is no moment in which the process has more, and no stage before it.

// Rights to files, by the version of Landlock that knows them.
const (
	readRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// What is written can't be run.
	writeRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	// fileRights are those that a file itself can have.
	fileRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	firstRights = unix.LANDLOCK_ACCESS_FS_REFER - 1 // all of version 1
)

// rulePort is the kernel's LANDLOCK_RULE_NET_PORT and what goes with it.
const rulePort = 2

type portRule struct{ rights, port uint64 }

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

func (k kernel) files() uint64 {
	rights := uint64(firstRights)
	for _, r := range []struct {
		since int
		right uint64
	}{
		{2, unix.LANDLOCK_ACCESS_FS_REFER}, {3, unix.LANDLOCK_ACCESS_FS_TRUNCATE}, {5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	} {
		if k.landlock >= r.since {
			rights |= r.right
		}
	}
	return rights
}

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

func (k kernel) landlocked(c *confinement, g ground, exe *os.File, own []string) error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: k.files()}
	if k.landlock >= 4 {
		if !slices.Contains(c.may.connect, anyPort) {
			attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
		if !slices.Contains(c.may.listen, anyPort) {
			attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_BIND_TCP
		}
	}
	if k.landlock >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		if k.signals {
			attr.Scoped |= unix.LANDLOCK_SCOPE_SIGNAL
		}
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	rules := ruleset{kernel: k, fd: int(fd)}
	defer unix.Close(rules.fd)
	if err := rules.fill(c, g, attr.Handled_access_net, exe, own); err != nil {
		return err
	}
	flags := uintptr(0)
	if k.landlock >= 7 { // the kernel's audit tells what the plugin was refused
		flags = unix.LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, flags, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

type ruleset struct {
	kernel kernel
	fd     int
}

func (r ruleset) fill(c *confinement, g ground, network uint64, exe *os.File, own []string) error {
	for _, group := range []struct {
		rights uint64
		paths  []string
	}{
		{readRights, baseline()},
		{writeRights, devices()},
		{readRights, g.folders},
		{unix.LANDLOCK_ACCESS_FS_READ_DIR, g.listed},
		{readRights, g.files},
		{writeRights, g.writable},
		{writeRights, g.written},
		{writeRights, own},
		{writeRights, c.may.state},
	} {
		for _, path := range group.paths {
			if err := r.path(path, group.rights); err != nil {
				return err
			}
		}
	}
	if err := r.file(int(exe.Fd()), readRights&fileRights); err != nil {
		return fmt.Errorf("landlock: %s: %w", exe.Name(), err)
	}
	if network&unix.LANDLOCK_ACCESS_NET_CONNECT_TCP != 0 {
		connect := c.may.connect
		if len(connect) > 0 {
			connect = append(slices.Clone(connect), "53") // answers of DNS that are too large for UDP
		}
		if err := r.ports(connect, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP); err != nil {
			return err
		}
	}
	if network&unix.LANDLOCK_ACCESS_NET_BIND_TCP != 0 {
		return r.ports(c.may.listen, unix.LANDLOCK_ACCESS_NET_BIND_TCP)
	}
	return nil
}

// path grants rights to a file or a folder; to one that is not there, nothing.
func (r ruleset) path(path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // what can't be opened is not granted
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	if err := r.file(fd, rights); err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	return nil
}

func (r ruleset) file(fd int, rights uint64) error {
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & r.kernel.files(), Parent_fd: int32(fd)}
	return r.add(unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule))
}

func (r ruleset) ports(ports []string, right uint64) error {
	for _, text := range ports {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("landlock: port %s: %w", text, err)
		}
		rule := portRule{right, port}
		if err := r.add(rulePort, unsafe.Pointer(&rule)); err != nil {
			return fmt.Errorf("landlock: port %s: %w", text, err)
		}
	}
	return nil
}

func (r ruleset) add(kind uintptr, rule unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), kind, uintptr(rule), 0, 0, 0); errno != 0 {
		return errno
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

// handOver gives a folder, with what is in it from another user's time, to the user of a
// process. The folder itself is the last, so that what was cut short is done again.
// Nothing outside of it is reached, whatever links the other user makes meanwhile.
func handOver(folder string, to *syscall.Credential) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid == to.Uid && owner.Gid == to.Gid {
		return nil
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		return root.Lchown(path, int(to.Uid), int(to.Gid))
	})
	if err != nil {
		return err
	}
	return root.Chown(".", int(to.Uid), int(to.Gid))
}

// give hands a file to the user of the process.
func (c *confinement) give(file *os.File) {
	if credential, err := credentialOf(c.user); c.user != "" && err == nil {
		_ = file.Chown(int(credential.Uid), int(credential.Gid))
	}
}

// closed gives the folder above a path through which the process's user may not pass;
// empty: there is none.
func (c *confinement) closed(path string) string {
	credential, err := credentialOf(c.user)
	if c.user == "" || err != nil {
		return ""
	}
	closed := ""
	for path != filepath.Dir(path) {
		path = filepath.Dir(path)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		pass := fs.FileMode(0o001)
		switch {
		case !ok:
			continue
		case owner.Uid == credential.Uid:
			pass = 0o100
		case owner.Gid == credential.Gid || slices.Contains(credential.Groups, owner.Gid):
			pass = 0o010
		}
		if info.Mode().Perm()&pass == 0 {
			closed = path
		}
	}
	return closed
}

// letPass lets other users through folders of the core's, to what is theirs; they see
// nothing of what else is there.
func letPass(folder string, depth int) error {
	for range depth {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if ok && int(owner.Uid) == os.Geteuid() && info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(folder, info.Mode().Perm()|0o001); err != nil {
				return err
			}
		}
		folder = filepath.Dir(folder)
	}
	return nil
}

// credentialOf a user by name or number.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if n, wrong := strconv.ParseUint(name, 10, 32); wrong == nil {
			if u, err = user.LookupId(name); err != nil {
				return &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}, nil
			}
		} else {
			return nil, fmt.Errorf("it is to run as user %q, and there is none of that name", name)
		}
	}
	var c syscall.Credential
	for _, id := range []struct {
		text string
		to   *uint32
	}{{u.Uid, &c.Uid}, {u.Gid, &c.Gid}} {
		n, err := strconv.ParseUint(id.text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
		*id.to = uint32(n)
	}
	groups, _ := u.GroupIds()
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return &c, nil
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
