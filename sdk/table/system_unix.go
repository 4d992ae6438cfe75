//go:build unix

package table

import (
	"io/fs"
	"syscall"
)

// openFlags keep a pipe in the place of a file from being waited for.
const openFlags = syscall.O_NONBLOCK

// inode is a file's number; 0: the system has none.
func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}
