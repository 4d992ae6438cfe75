//go:build linux

// Package disk is a file system in memory with a power switch, for tests. It keeps
// what was written apart from what was brought to the disk by fsync: when the power
// goes, what was not synced is lost, as a whole, in part, or torn. It can be full, out
// of inodes, or fail.
//
// A Disk is mounted by FUSE, which takes /dev/fuse and the right to mount.
package disk

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Settings of a disk.
type Settings struct {
	// Bytes and Inodes bound what it holds; 0: 1 GiB and 100,000.
	Bytes, Inodes int64
	// Strict: a name lasts only once its folder was synced, which is all that POSIX
	// promises. Otherwise names last in their order, and any fsync keeps all that were
	// there before it, as ext4, XFS and Btrfs do.
	Strict bool
}

// Op is what can be made to fail.
type Op string

// The operations. Read and Write are of a file's bytes, Sync of a file or a folder,
// and Name is every change of a folder.
const (
	Read  Op = "read"
	Write Op = "write"
	Sync  Op = "sync"
	Name  Op = "name"
)

// Disk is the file system. It is safe for concurrent use.
type Disk struct {
	settings Settings

	mu     sync.Mutex
	root   *inode
	last   uint64 // inode number
	used   int64  // pages of files
	inodes int64
	filled int64         // bytes that somebody else has taken
	fails  map[Op]fault  // what fails now
	off    chan struct{} // not nil while the power is off; closed when it is back
	ops    []change      // of folders, not durable yet, in their order
	counts map[Op]int    // operations since it was made
	failed map[Op]int    // of these, those that were made to fail
	server *fuse.Server
	dir    string
}

type fault struct {
	errno syscall.Errno
	match func(path string) bool
}

// New makes an empty disk.
func New(s Settings) *Disk {
	if s.Bytes == 0 {
		s.Bytes = 1 << 30
	}
	if s.Inodes == 0 {
		s.Inodes = 100_000
	}
	d := &Disk{settings: s, fails: map[Op]fault{}, counts: map[Op]int{}, failed: map[Op]int{}}
	d.root = d.inode(syscall.S_IFDIR | 0o700)
	return d
}

// ErrNoMount says that nothing can be mounted here.
var ErrNoMount = errors.New("no file system can be mounted here")

// Mount mounts it at a folder, which is there and empty. It fails with ErrNoMount where
// that is not allowed.
func (d *Disk) Mount(dir string) error {
	none := time.Duration(0)
	long := time.Minute
	server, err := fs.Mount(dir, &node{d: d, i: d.root}, &fs.Options{
		AttrTimeout: &long, EntryTimeout: &none, NegativeTimeout: &none,
		RootStableAttr:  &fs.StableAttr{Ino: d.root.ino},
		NullPermissions: true,
		MountOptions: fuse.MountOptions{
			FsName: "kelpie-test", Name: "disk", DirectMount: true, DisableXAttrs: true, MaxWrite: 1 << 20,
		},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	d.mu.Lock()
	d.server, d.dir = server, dir
	d.mu.Unlock()
	return nil
}

// Unmount ends the mount. Nobody may use it; it waits a little for those who just died.
func (d *Disk) Unmount() error {
	d.mu.Lock()
	server, dir := d.server, d.dir
	d.server = nil
	d.mu.Unlock()
	if server == nil {
		return nil
	}
	var err error
	for range 200 {
		if err = server.Unmount(); err == nil {
			server.Wait()
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	if detach := syscall.Unmount(dir, syscall.MNT_DETACH); detach != nil {
		return errors.Join(err, detach)
	}
	return fmt.Errorf("%s was still in use: %w", dir, err)
}

// PowerOff stops the disk: whoever uses it waits. Kill them, and call PowerOn.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off == nil {
		d.off = make(chan struct{})
	}
}

// PowerOn brings the disk back as it was found after the power came again, and mounts
// it where it was. Those who used it must be dead or dying. It returns what was lost.
func (d *Disk) PowerOn(seed uint64) (Lost, error) {
	d.mu.Lock()
	lost := d.cut(seed)
	if d.off != nil {
		close(d.off)
		d.off = nil
	}
	dir := d.dir
	// What is still under way belongs to the dead, and fails.
	d.fails = map[Op]fault{Read: {errno: syscall.EIO}, Write: {errno: syscall.EIO}, Sync: {errno: syscall.EIO}, Name: {errno: syscall.EIO}}
	d.mu.Unlock()
	err := d.Unmount()
	d.Heal()
	if err != nil {
		return lost, err
	}
	return lost, d.Mount(dir)
}

// Fail makes operations fail until Heal. A failing Sync leaves the bytes readable and
// forgets that they must be written, as Linux does: a later Sync that succeeds has not
// brought them to the disk. match chooses by the path of a file that is written or
// synced, by the name of what is read or changed in a folder; nil: all.
func (d *Disk) Fail(op Op, errno syscall.Errno, match func(name string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[op] = fault{errno, match}
}

// Heal ends what Fail began.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = map[Op]fault{}
}

// Fill has somebody else take all room but so many bytes; a negative number gives it
// back.
func (d *Disk) Fill(left int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filled = 0
	if left >= 0 {
		d.filled = max(d.settings.Bytes-d.used-left, 0)
	}
}

// TakeInodes leaves so many; a negative number gives them back.
func (d *Disk) TakeInodes(left int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Inodes = 100_000
	if left >= 0 {
		d.settings.Inodes = d.inodes + left
	}
}

// Counts tells how many operations there were, and how many of them were made to fail.
func (d *Disk) Counts(op Op) (all, failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[op], d.failed[op]
}

// enter begins an operation, and returns how to end it; unless it fails.
func (d *Disk) enter(op Op, name string) (leave func(), errno syscall.Errno) {
	d.mu.Lock()
	if off := d.off; off != nil {
		d.mu.Unlock()
		<-off
		return nil, syscall.EIO
	}
	if op != "" {
		d.counts[op]++
	}
	if f, ok := d.fails[op]; ok && (f.match == nil || f.match(name)) {
		d.failed[op]++
		d.mu.Unlock()
		return nil, f.errno
	}
	return d.mu.Unlock, 0
}

// Available says whether a disk can be mounted here.
func Available() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	return f.Close()
}

// Live returns a file as it is read, also while the power is off.
func (d *Disk) Live(path string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.root
	for _, name := range strings.Split(path, "/") {
		if i = i.entries[name]; i == nil {
			return nil, false
		}
	}
	return slices.Clone(i.data), true
}
