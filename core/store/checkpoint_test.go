package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kelpie-sec/kelpie/core/decide"
)

// TestTheWriteAheadLogStaysSmall: what is committed goes into the database meanwhile,
// also while a reader looks at an old state, and nothing of it is lost.
func TestTheWriteAheadLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	const commits = 60
	written := int64(0)
	for i := range commits {
		c := changes(i*40, 40)
		c.Position = decide.Position{Seq: uint64(i + 1)}
		for n := range c.Signals {
			c.Signals[n].Raw = make([]byte, 32<<10)
			written += 32 << 10
		}
		mustCommit(t, s, c)
	}
	// The log is begun anew by the first commit after all of it is in the database.
	for seq := uint64(commits + 1); s.checkpoints.frames() >= 2*checkpointFrames; seq++ {
		mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: seq}, At: epoch0})
	}
	info, err := os.Stat(filepath.Join(dir, File+"-wal"))
	if err != nil || info.Size() > written {
		t.Errorf("the log has %d bytes of %d written, %v", info.Size(), written, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if c, err := s.Counts(t.Context()); err != nil || c.Signals != commits*40 {
		t.Errorf("%d signals, %v; want %d", c.Signals, err, commits*40)
	}
}
