package eventlog

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNamesAreSyncedWhenTheyChange: whatever is new in a folder makes it be synced again.
func TestNamesAreSyncedWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	n, err := openNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close() //nolint:errcheck // it was only read
	settled := func() {
		t.Helper()
		until(t, "the folder is settled", func() bool {
			if err := n.settle(); err != nil {
				t.Fatal(err)
			}
			return n.sure
		})
	}
	settled()
	for i := range 5 {
		before := n.mtime
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.settle(); err != nil || n.mtime == before || n.sure {
			t.Errorf("after a new name: time changed %v, taken for settled %v, %v", n.mtime != before, n.sure, err)
		}
		settled()
	}
}

func BenchmarkNames(b *testing.B) {
	n, err := openNames(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer n.close() //nolint:errcheck // it was only read
	for deadline := time.Now().Add(time.Second); !n.sure && time.Now().Before(deadline); {
		if err := n.settle(); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	b.ReportAllocs()
	for range b.N {
		if err := n.settle(); err != nil {
			b.Fatal(err)
		}
	}
}
