package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The server syncs a block's bytes before it answers, but not the folder that a new
// block's name is in, and POSIX promises a name only when its folder was synced. So we
// look at the folder's time before we pass an answer on, and sync it when it changed.

// names is the folder of a stream's blocks. It is safe for concurrent use.
type names struct {
	mu    sync.Mutex
	f     *os.File
	mtime unix.Timespec
	seen  time.Time // when the folder had this time first
	sure  bool      // it was synced, and nothing can have changed since without another time
}

// tick is longer than the unit in which file systems note times.
const tick = 20 * time.Millisecond

// errUnnamed says that a folder could not be synced: a message is in its block, which a
// power cut may take.
var errUnnamed = errors.New("the folder of the log's blocks can't be synced")

func openNames(dir string) (*names, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &names{f: f}, nil
}

// settle brings the names of all blocks to the disk, which costs no more than a look if
// none is new.
func (n *names) settle() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(int(n.f.Fd()), &st); err != nil {
		return fmt.Errorf("%w: %w", errUnnamed, err)
	}
	if st.Mtim == n.mtime && n.sure {
		return nil
	}
	now := time.Now()
	if st.Mtim != n.mtime {
		n.mtime, n.seen = st.Mtim, now
	}
	n.sure = false
	if err := n.f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errUnnamed, err)
	}
	n.sure = now.Sub(n.seen) > tick
	return nil
}

func (n *names) close() error { return n.f.Close() }

// syncFolders syncs a folder, all below it, and the one that it is in.
func syncFolders(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // a temporary file of the server's
		}
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(path)
	})
	return errors.Join(err, syncDir(filepath.Dir(dir)))
}

// rewrite writes the last blocks of all streams once more, as they are read. After a
// write or a sync that failed, what is read may be in memory alone, and the system may
// have forgotten that it must be written: only what is written again is.
func rewrite(dir string) error {
	for _, stream := range []string{events, inputs, rejected} {
		all, err := blocks(blockDir(dir, stream))
		if err != nil {
			return err
		}
		for _, b := range all[max(len(all)-2, 0):] {
			if err := rewriteFile(b.path); err != nil {
				return err
			}
		}
	}
	return nil
}

func rewriteFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	data, err := readInto(nil, path)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}
