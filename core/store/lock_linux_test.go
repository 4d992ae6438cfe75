package store

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLocksAreKept: whoever else opens the database, to look into it or to copy it, sees
// that it is in use. Otherwise it would begin the log's index anew under the running
// Kelpie, which could write nothing any more.
func TestLocksAreKept(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for i := range 3 {
		mustCommit(t, s, changes(i*3, 3))
		s.checkpoints.frames()
	}
	if _, err := s.Position(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := create(filepath.Join(dir, File)); err != nil { // as an Open does
		t.Fatal(err)
	}
	// https://sqlite.org/walformat.html, 2.2.1: a lock on byte 128 of the index, as long as
	// it is in use; https://sqlite.org/lockingv3.html: one on 510 bytes from 2^30+2 of the
	// database.
	for file, bytes := range map[string]string{File + "-shm": "128 128", File: "1073741826 1073742335"} {
		if held := locksOf(t, filepath.Join(dir, file)); !strings.Contains(held, "READ "+bytes) {
			t.Errorf("%s: locked are %q, want %s for reading", file, held, bytes)
		}
	}
}

// locksOf this process on a file, from /proc/locks.
func locksOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var held []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 5: POSIX  ADVISORY  READ 15299 fe:00:9978341 128 128
		w := strings.Fields(lines.Text())
		if len(w) == 8 && w[4] == fmt.Sprint(os.Getpid()) && strings.HasSuffix(w[5], fmt.Sprintf(":%d", info.Sys().(*syscall.Stat_t).Ino)) {
			held = append(held, w[3]+" "+w[6]+" "+w[7])
		}
	}
	return strings.Join(held, ", ")
}
