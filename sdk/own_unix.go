//go:build unix

package sdk

import (
	"io/fs"
	"os"
	"syscall"
)

// ownFile tells whether a file belongs to the user of this process.
func ownFile(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Geteuid()
}
