//go:build linux

package disk

import (
	"context"
	"os"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is an inode as FUSE sees it, during one mount.
type node struct {
	fs.Inode
	d *Disk
	i *inode
}

// handle is an open file; its flags say whether a write waits for the disk.
type handle struct{ sync bool }

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeMknoder   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func (n *node) child(ctx context.Context, i *inode, out *fuse.EntryOut) *fs.Inode {
	i.attr(&out.Attr)
	return n.NewInode(ctx, &node{d: n.d, i: i}, fs.StableAttr{Mode: i.mode & syscall.S_IFMT, Ino: i.ino})
}

func (i *inode) attr(a *fuse.Attr) {
	a.Ino, a.Mode, a.Nlink = i.ino, i.mode, 1
	a.Size, a.Blocks, a.Blksize = uint64(len(i.data)), uint64(pages(len(i.data))/512), page
	a.Uid, a.Gid = uint32(os.Geteuid()), uint32(os.Getegid())
	a.SetTimes(&i.times[0], &i.times[1], &i.times[1])
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.d.enter("", name)
	if errno != 0 {
		return nil, errno
	}
	defer leave()
	i := n.i.entries[name]
	if i == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, i, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	leave, errno := n.d.enter("", n.i.name)
	if errno != 0 {
		return errno
	}
	defer leave()
	n.i.attr(&out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	op := Op("")
	size, resize := in.GetSize()
	if resize {
		op = Write
	}
	leave, errno := n.d.enter(op, n.i.name)
	if errno != 0 {
		return errno
	}
	defer leave()
	if mode, ok := in.GetMode(); ok {
		n.i.mode = n.i.mode&syscall.S_IFMT | mode&0o7777
	}
	if t, ok := in.GetMTime(); ok {
		n.i.times[1] = t
	}
	if resize {
		if pages(int(size))-pages(len(n.i.data)) > n.d.settings.Bytes-n.d.filled-n.d.used && int(size) > len(n.i.data) {
			return syscall.ENOSPC
		}
		n.d.resize(n.i, int64(size))
		if len(n.i.data) == 0 {
			n.i.dirty[0] = true
		}
	}
	n.i.attr(&out.Attr)
	return 0
}

// add puts a new inode into the folder.
func (n *node) add(name string, mode uint32) (*inode, syscall.Errno) {
	if n.i.entries[name] != nil {
		return nil, syscall.EEXIST
	}
	if n.d.inodes >= n.d.settings.Inodes {
		return nil, syscall.ENOSPC
	}
	i := n.d.inode(mode)
	n.d.change(change{folder: n.i, add: name, inode: i})
	return i, 0
}

func (n *node) make(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	leave, errno := n.d.enter(Name, name)
	if errno != 0 {
		return nil, errno
	}
	defer leave()
	i, errno := n.add(name, mode)
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, i, out), 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	i, errno := n.make(ctx, name, mode&0o7777|syscall.S_IFREG, out)
	return i, newHandle(flags), 0, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, mode&0o7777|syscall.S_IFDIR, out)
}

func (n *node) Mknod(ctx context.Context, name string, mode, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, mode, out)
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	leave, errno := n.d.enter(Name, name)
	if errno != 0 {
		return errno
	}
	defer leave()
	n.d.free(n.i.entries[name])
	n.d.change(change{folder: n.i, remove: name})
	return 0
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	leave, errno := n.d.enter(Name, name)
	if errno != 0 {
		return errno
	}
	defer leave()
	if i := n.i.entries[name]; i != nil && len(i.entries) > 0 {
		return syscall.ENOTEMPTY
	}
	n.d.free(n.i.entries[name])
	n.d.change(change{folder: n.i, remove: name})
	return 0
}

// Rename within a folder is one change; across folders the new name comes first.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	leave, errno := n.d.enter(Name, newName)
	if errno != 0 {
		return errno
	}
	defer leave()
	i, folder := n.i.entries[name], to.EmbeddedInode().Operations().(*node).i
	if i == nil {
		return syscall.ENOENT
	}
	if old := folder.entries[newName]; old != i {
		n.d.free(old)
	}
	if folder == n.i {
		n.d.change(change{folder: folder, remove: name, add: newName, inode: i})
		return 0
	}
	n.d.change(change{folder: folder, add: newName, inode: i})
	n.d.change(change{folder: n.i, remove: name})
	return 0
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	leave, errno := n.d.enter("", n.i.name)
	if errno != 0 {
		return nil, errno
	}
	defer leave()
	var all []fuse.DirEntry
	for name, i := range n.i.entries {
		all = append(all, fuse.DirEntry{Name: name, Ino: i.ino, Mode: i.mode & syscall.S_IFMT})
	}
	return fs.NewListDirStream(all), 0
}

func newHandle(flags uint32) *handle {
	return &handle{sync: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0}
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	leave, errno := n.d.enter("", n.i.name)
	if errno != 0 {
		return nil, 0, errno
	}
	defer leave()
	if flags&syscall.O_TRUNC != 0 {
		n.d.resize(n.i, 0)
	}
	return newHandle(flags), 0, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	leave, errno := n.d.enter(Read, n.i.name)
	if errno != 0 {
		return nil, errno
	}
	defer leave()
	if off >= int64(len(n.i.data)) {
		return fuse.ReadResultData(nil), 0
	}
	end := min(off+int64(len(dest)), int64(len(n.i.data)))
	return fuse.ReadResultData(slices.Clone(n.i.data[off:end])), 0
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	leave, errno := n.d.enter(Write, n.Path(nil))
	if errno != 0 {
		return 0, errno
	}
	written, errno := n.d.write(n.i, data, off)
	leave()
	if h, ok := f.(*handle); ok && h.sync && errno == 0 {
		errno = n.Fsync(ctx, f, 0)
	}
	return uint32(written), errno
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	leave, errno := n.d.enter(Sync, n.Path(nil))
	if errno != 0 {
		n.d.mu.Lock()
		n.i.forget()
		n.d.mu.Unlock()
		return errno
	}
	defer leave()
	n.d.sync(n.i)
	return 0
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	leave, errno := n.d.enter("", "")
	if errno != 0 {
		return errno
	}
	defer leave()
	free := max(n.d.settings.Bytes-n.d.filled-n.d.used, 0) / page
	out.Bsize, out.Frsize, out.NameLen = page, page, 255
	out.Blocks, out.Bfree, out.Bavail = uint64(n.d.settings.Bytes/page), uint64(free), uint64(free)
	out.Files, out.Ffree = uint64(n.d.settings.Inodes), uint64(max(n.d.settings.Inodes-n.d.inodes, 0))
	return 0
}
