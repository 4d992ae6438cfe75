package decide

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Checkpoint is a snapshot in a file. It holds whole messages.
type Checkpoint struct {
	// File is its name in the folder of checkpoints.
	File string
	// Hash is the hexadecimal SHA-256 of the file.
	Hash string
	// Seq is the last message of INPUTS in it.
	Seq uint64
	// Before is the one before it, which is kept too, in case this one is damaged: what
	// is above it must stay in INPUTS. Its File is empty if there is none.
	Before EarlierCheckpoint
}

// EarlierCheckpoint is a Checkpoint without the one before it.
type EarlierCheckpoint struct {
	File, Hash string
	Seq        uint64
}

// earlier is c as the one before the next.
func (c Checkpoint) earlier() EarlierCheckpoint { return EarlierCheckpoint{c.File, c.Hash, c.Seq} }

const (
	checkpointPrefix = "checkpoint-"
	// recordTimeout bounds the wait for the store to take note of a checkpoint.
	recordTimeout = 30 * time.Second
)

var errBusy = errors.New("the last checkpoint is still being written")

// restore fills a new machine from a checkpoint whose hash agrees.
func restore(dir string, c EarlierCheckpoint, m *Machine) error {
	f, err := os.Open(filepath.Join(dir, filepath.Base(c.File)))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != c.Hash {
		return fmt.Errorf("%s: its hash is %s, and should be %s", c.File, got, c.Hash)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := m.Restore(f); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return nil
}

// saver writes checkpoints, one after the other. A snapshot is taken at once, since
// the machine may not change meanwhile; what waits for the disk is done aside.
type saver struct {
	dir   string
	store Store
	log   *slog.Logger

	last  EarlierCheckpoint // that is good; the next one's Before
	taken Position          // of the last snapshot
	parts int               // inputs since then
	bytes int64             // of these
	size  int64             // of the last snapshot
	at    time.Time         // decide's time then
	busy  chan struct{}     // closed when the one under way is done; nil: none was begun
}

// due tells whether it is time for the next one. A snapshot that is larger than the
// bytes that call for one waits for as many as it has itself, or most.
func (s *saver) due(m *Machine, inputs int, bytes, most int64, interval time.Duration) bool {
	if s.dir == "" || !m.Position().After(s.taken) {
		return false
	}
	if inputs == 0 {
		inputs = DefaultCheckpointInputs
	}
	if interval == 0 {
		interval = DefaultCheckpointInterval
	}
	if s.at.IsZero() {
		s.at = m.At()
	}
	if bytes = max(bytes, s.size); most > 0 {
		bytes = min(bytes, most)
	}
	return s.parts >= inputs || bytes > 0 && s.bytes >= bytes || m.At().Sub(s.at) >= interval
}

// writing tells whether one is under way.
func (s *saver) writing() bool {
	if s.busy == nil {
		return false
	}
	select {
	case <-s.busy:
		return false
	default:
		return true
	}
}

// wait until the one under way is done.
func (s *saver) wait() {
	if s.busy != nil {
		<-s.busy
	}
}

// save takes a snapshot, and has it brought to the disk and recorded.
func (s *saver) save(m *Machine) error {
	if s.writing() {
		return errBusy
	}
	name := fmt.Sprintf("%s%d", checkpointPrefix, m.Position().Seq)
	f, sum, err := write(filepath.Join(s.dir, name+".tmp"), m)
	if err != nil {
		return err
	}
	if at, err := f.Seek(0, io.SeekCurrent); err == nil {
		s.size = at
	}
	s.taken, s.parts, s.bytes, s.at = m.Position(), 0, 0, m.At()
	c := Checkpoint{File: name, Hash: sum, Seq: m.Position().Seq, Before: s.last}
	s.last = c.earlier()
	busy := make(chan struct{})
	s.busy = busy
	go func() {
		defer close(busy)
		if err := s.record(f, c); err != nil {
			s.last = c.Before // read when busy is closed
			s.log.Warn("no checkpoint was written", "error", err)
		}
	}()
	return nil
}

// write writes a snapshot and returns its hash.
func write(path string, m *Machine) (*os.File, string, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	if err := m.Snapshot(io.MultiWriter(f, sum)); err != nil {
		return nil, "", errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, hex.EncodeToString(sum.Sum(nil)), nil
}

// record makes the file durable under its name before the store names it, and
// then removes older ones.
func (s *saver) record(f *os.File, c Checkpoint) error {
	path := filepath.Join(s.dir, c.File)
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	if err := s.store.SaveCheckpoint(ctx, c); err != nil {
		return err
	}
	old, err := os.ReadDir(s.dir)
	for _, o := range old {
		if strings.HasPrefix(o.Name(), checkpointPrefix) && o.Name() != c.File && o.Name() != c.Before.File {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, o.Name())))
		}
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
