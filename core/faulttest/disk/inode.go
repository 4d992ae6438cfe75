//go:build linux

package disk

import (
	"syscall"
	"time"
)

// page is what is written, or lost, as one.
const page = 4096

// inode is a file, a folder or a socket. Its disk guards it.
type inode struct {
	ino   uint64
	mode  uint32
	name  string // the last one it had
	times [2]time.Time

	// Of a file: its bytes as they are read, those on the disk, and the pages that were
	// written since they were synced.
	data  []byte
	disk  []byte
	dirty map[int64]bool

	// Of a folder: as it is read, and on the disk.
	entries map[string]*inode
	durable map[string]*inode
}

// change of a folder: remove goes and add comes, at once.
type change struct {
	folder      *inode
	remove, add string
	inode       *inode
}

func (c change) apply(entries map[string]*inode) {
	if c.remove != "" {
		delete(entries, c.remove)
	}
	if c.add != "" {
		entries[c.add] = c.inode
	}
}

func (d *Disk) inode(mode uint32) *inode {
	d.last++
	d.inodes++
	now := time.Now()
	i := &inode{ino: d.last, mode: mode, times: [2]time.Time{now, now}}
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		i.entries, i.durable = map[string]*inode{}, map[string]*inode{}
	case syscall.S_IFREG:
		i.dirty = map[int64]bool{}
	}
	return i
}

func pages(n int) int64 { return (int64(n) + page - 1) / page * page }

// change changes a folder, and remembers it until that is durable.
func (d *Disk) change(c change) {
	c.apply(c.folder.entries)
	if c.inode != nil && c.add != "" {
		c.inode.name = c.add
	}
	c.folder.times[1] = time.Now()
	d.ops = append(d.ops, c)
}

// free gives back what a removed file took.
func (d *Disk) free(i *inode) {
	if i == nil {
		return
	}
	d.used -= pages(len(i.data))
	d.inodes--
}

// write writes at an offset as much as there is room for.
func (d *Disk) write(i *inode, data []byte, off int64) (int, syscall.Errno) {
	end := off + int64(len(data))
	if grow := pages(int(end)) - pages(len(i.data)); grow > 0 {
		room := (d.settings.Bytes - d.filled - d.used) / page * page
		if grow > room {
			end = pages(len(i.data)) + max(room, 0)
			if end <= off {
				return 0, syscall.ENOSPC
			}
			data = data[:end-off]
		}
	}
	if end > int64(len(i.data)) {
		d.resize(i, end)
	}
	copy(i.data[off:], data)
	for p := off / page; p*page < end; p++ {
		i.dirty[p] = true
	}
	i.times[1] = time.Now()
	return len(data), 0
}

func (d *Disk) resize(i *inode, size int64) {
	d.used += pages(int(size)) - pages(len(i.data))
	for p := int64(len(i.data)) / page; p*page < size; p++ {
		i.dirty[p] = true
	}
	if size <= int64(cap(i.data)) {
		was := len(i.data)
		i.data = i.data[:size]
		if int(size) > was {
			clear(i.data[was:])
		}
	} else {
		grown := make([]byte, size, size+size/4)
		copy(grown, i.data)
		i.data = grown
	}
	i.times[1] = time.Now()
}

// sync brings a file or a folder to the disk.
func (d *Disk) sync(i *inode) {
	switch {
	case i.entries != nil && d.settings.Strict:
		d.commit(func(c change) bool { return c.folder == i })
	case !d.settings.Strict:
		d.commit(func(change) bool { return true })
	}
	if i.dirty != nil {
		i.disk = settle(i.disk, i.data, i.dirty, len(i.data))
		clear(i.dirty)
	}
}

// commit makes changes of folders durable.
func (d *Disk) commit(which func(change) bool) {
	kept := d.ops[:0]
	for _, c := range d.ops {
		if which(c) {
			c.apply(c.folder.durable)
		} else {
			kept = append(kept, c)
		}
	}
	clear(d.ops[len(kept):])
	d.ops = kept
}

// settle returns what was on the disk with some pages as they are now.
func settle(disk, data []byte, pages map[int64]bool, size int) []byte {
	if size <= cap(disk) {
		was := len(disk)
		disk = disk[:size]
		if size > was {
			clear(disk[was:])
		}
	} else {
		grown := make([]byte, size, size+size/4)
		copy(grown, disk)
		disk = grown
	}
	for p := range pages {
		from := p * page
		if from >= int64(size) || from >= int64(len(data)) {
			continue
		}
		copy(disk[from:min(from+page, int64(size))], data[from:])
	}
	return disk
}

// forget drops the duty to write a file, as after a failed sync.
func (i *inode) forget() { clear(i.dirty) }
