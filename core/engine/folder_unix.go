//go:build unix

package engine

import (
	"fmt"
	"os"
	"syscall"
)

// closeFolder sees to it that a data folder is ours alone: who could write in it could
// have us write elsewhere, and who could read it knows all alerts. Another user's is
// refused, root included, whose files its owner could not use afterwards.
func closeFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, and this is user %d: run kelpie as its owner", dir, owner.Uid, os.Geteuid())
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		return fmt.Errorf("%s may be written by others than its owner: see what is in it, then run \"chmod 700 %s\"", dir, dir)
	case mode&0o066 != 0: // others may pass through it, to plugins' own folders
		return os.Chmod(dir, 0o700)
	}
	return nil
}
