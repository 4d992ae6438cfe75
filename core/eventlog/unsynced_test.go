//go:build linux

package eventlog

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	faultdisk "github.com/kelpie-sec/kelpie/core/faulttest/disk"
)

// TestWhatWasNotSyncedIsNotAcknowledged: the server has a message in memory whose sync
// has failed, and gives it to who looks for it. A power cut takes it, so it must not have
// been acknowledged: the log opens afterwards.
func TestWhatWasNotSyncedIsNotAcknowledged(t *testing.T) {
	dir, d := t.TempDir(), faultdisk.New(faultdisk.Settings{})
	if err := d.Mount(dir); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = d.Unmount() })
	set := small(filepath.Join(dir, "log"))
	set.Sync = SyncAlways
	l := mustOpen(t, set)
	j := mustJoiner(t, l, "match")
	appendN(t, j, 1)
	d.Fail(faultdisk.Sync, syscall.EIO, func(path string) bool { return strings.Contains(path, "/INPUTS/msgs/") })
	if seq, err := j.Append(t.Context(), []byte("x")); err == nil {
		t.Fatalf("input %d is acknowledged, and its sync has failed", seq)
	}
	// The mark is carried over the power cut, as if it alone had reached the disk.
	mark, err := os.ReadFile(filepath.Join(set.Dir, markName))
	if err != nil {
		t.Fatal(err)
	}
	d.Heal()
	_ = l.Close() // it is sick, and may say so
	d.PowerOff()
	if _, err := d.PowerOn(1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(set.Dir, markName), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, set)
}
