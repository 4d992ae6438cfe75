//go:build unix

package release

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFIFO: a folder may be somebody else's, and no file of it blocks who looks.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, IndexName)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := source(t, dir).Versions(t.Context(), "acme")
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "it is not a regular file") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it blocks")
		f, err := os.OpenFile(path, os.O_RDWR, 0) // lets it go on
		if err != nil {
			t.Fatal(err)
		}
		<-failed
		f.Close()
	}
}
