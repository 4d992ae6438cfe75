package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/store"
)

// unwritable tells whether something failed since the disk takes nothing: the same may
// be tried again as it is.
func unwritable(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrDisk) ||
		errors.Is(err, eventlog.ErrFull) || errors.Is(err, eventlog.ErrSick)
}

// patiently does something again while the disk takes nothing; it tells so once.
func (f *flow) patiently(ctx context.Context, do func() error) error {
	return f.k.patiently(ctx, f.logger, do)
}

func (k *Kelpie) patiently(ctx context.Context, logger *slog.Logger, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if err == nil || !unwritable(err) {
			return err
		}
		if !told {
			logger.Error("the disk takes nothing; the start waits until it does", "error", err)
		}
		if !pause(ctx, healthInterval) {
			return context.Cause(ctx)
		}
	}
}

// unwritten is since when and why decide can't write; zero while it can. It is safe for
// concurrent use.
type unwritten struct {
	mu    sync.Mutex
	since time.Time
	err   error
}

func (u *unwritten) set(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.since = time.Now()
	}
	u.err = err
}

func (u *unwritten) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = nil
}

func (u *unwritten) troubles() []api.Trouble {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		return nil
	}
	return []api.Trouble{{
		What: "the database can't be written: " + u.err.Error(), Since: u.since,
		Waits: "every decision", Do: "make room on the disk, or look at the disk; it is tried again by itself",
	}}
}

// syncParent sees to it that a folder that was just made is there after a power cut.
// Where the folder that it is in may not be read, its owner has made it.
func syncParent(dir string) {
	if d, err := os.Open(filepath.Dir(filepath.Clean(dir))); err == nil {
		_ = errors.Join(d.Sync(), d.Close())
	}
}
