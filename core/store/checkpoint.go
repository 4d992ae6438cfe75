package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
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
	db *sql.DB
	// index is the file of the log's index. It stays open for as long as SQLite has it:
	// to close it would give up all that this process has locked in it (fcntl(2)), and
	// whoever opens the database then would take it for unused and begin a new one.
	index   *os.File
	changed chan struct{}
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func (s *Store) startCheckpointer(path, level string) error {
	db, err := open(path, 1, "synchronous("+level+")", sideCache)
	if err != nil {
		return err
	}
	index, err := os.Open(path + "-shm")
	if err != nil {
		return errors.Join(err, db.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &checkpointer{db: db, index: index, changed: make(chan struct{}, 1), stop: stop}
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

// closeIndex comes when no connection is open any more.
func (c *checkpointer) closeIndex() error {
	if c == nil {
		return nil
	}
	return c.index.Close()
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
	var n [4]byte
	if _, err := c.index.ReadAt(n[:], frameCount); err != nil {
		return 0
	}
	return int(binary.NativeEndian.Uint32(n[:]))
}
