package host

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
