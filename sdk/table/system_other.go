//go:build !unix

package table

import "io/fs"

const openFlags = 0

// inode is a file's number; 0: the system has none.
func inode(fs.FileInfo) uint64 { return 0 }
