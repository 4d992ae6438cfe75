package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"os"
	"sync"
	"time"
)

const (
	// checkpointFrames is how many pages of the write-ahead log (16 MiB) call for their
	// being written into the database itself.
	checkpointFrames = 4000
	// checkpointEvery bounds how often it is looked.
	checkpointEvery = 50 * time.Millisecond
	// frameCount is where the log's index, as SQLite keeps it beside the database, says
	// how many valid frames there are (https://sqlite.org/walformat.html, 2.1).
	frameCount = 16
)

// checkpointer writes the write-ahead log into the database beside the transactions, so
// that no commit waits for it.
type checkpointer struct {
	db      *sql.DB
	index   string // file of the log's index
	changed chan struct{}
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func (s *Store) startCheckpointer(path, level string) error {
	db, err := open(path, 1, "synchronous("+level+")", sideCache)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &checkpointer{db: db, index: path + "-shm", changed: make(chan struct{}, 1), stop: stop}
	s.checkpoints = c
	c.done.Go(func() { s.checkpoint(ctx, c) })
	return nil
}

// wrote tells the checkpointer that there was a commit.
func (c *checkpointer) wrote() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *checkpointer) close() error {
	if c == nil {
		return nil
	}
	c.stop()
	c.done.Wait()
	return c.db.Close()
}

func (s *Store) checkpoint(ctx context.Context, c *checkpointer) {
	t := time.NewTicker(checkpointEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		}
		if c.frames() >= checkpointFrames {
			s.checkpointOnce(ctx, c)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// checkpointOnce writes most of the log while transactions go on, and the little that
// has come since while none runs: only then is the log begun anew. What fails, as on a
// full disk, is tried again after the next commit.
func (s *Store) checkpointOnce(ctx context.Context, c *checkpointer) {
	if err := c.run(ctx); err != nil {
		return
	}
	select {
	case t := <-s.turn:
		_ = c.run(ctx)
		s.turn <- t
	case <-ctx.Done():
	}
}

func (c *checkpointer) run(ctx context.Context) error {
	_, err := c.db.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	return err
}

// frames in the log; 0 if that can't be read.
func (c *checkpointer) frames() int {
	f, err := os.Open(c.index)
	if err != nil {
		return 0
	}
	defer f.Close()
	var n [4]byte
	if _, err := f.ReadAt(n[:], frameCount); err != nil {
		return 0
	}
	return int(binary.NativeEndian.Uint32(n[:]))
}
