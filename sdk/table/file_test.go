package table

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func write(t *testing.T, path, text string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// replace puts a new file in the place of the old one, as who follows it is best told:
// a file that is cut short and written again can be seen with its old time while that
// happens.
func replace(t *testing.T, path, text string, age time.Duration) {
	t.Helper()
	write(t, path+".new", text, age)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, text string) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.csv")
	write(t, path, text, time.Hour)
	file, err := Open(path, Options{Keys: Columns(Key{"ip", sdk.IP})})
	if err != nil {
		t.Fatal(err)
	}
	return file, path
}

func TestReload(t *testing.T) {
	file, path := open(t, "ip\n10.0.0.1\n")
	first := file.Table()
	if changed, err := file.Reload(); changed || err != nil || file.Table() != first {
		t.Errorf("Reload of an unchanged file = %v, %v", changed, err)
	}

	write(t, path, "ip\n10.0.0.2\n", 30*time.Minute)
	if changed, err := file.Reload(); !changed || err != nil {
		t.Errorf("Reload of a changed file = %v, %v", changed, err)
	}
	second := file.Table()
	if _, ok := second.Lookup(sdk.IP, "10.0.0.2"); !ok || second.Version() == first.Version() {
		t.Error("the new table is not there")
	}
	if _, ok := first.Lookup(sdk.IP, "10.0.0.1"); !ok {
		t.Error("the old table changed")
	}

	write(t, path, "ip\nnonsense\n", 20*time.Minute)
	for range 2 {
		var complaint *Error
		if changed, err := file.Reload(); changed || !errors.As(err, &complaint) || complaint.Line != 2 || file.Table() != second {
			t.Errorf("Reload of a broken file = %v, %v", changed, err)
		}
	}

	write(t, path, "ip\n10.0.0.2\n", 10*time.Minute)
	if changed, err := file.Reload(); changed || err != nil || file.Table() != second {
		t.Errorf("Reload of the file restored = %v, %v", changed, err)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if changed, err := file.Reload(); changed || !errors.Is(err, os.ErrNotExist) || file.Table() != second {
		t.Errorf("Reload of a removed file = %v, %v", changed, err)
	}
}

// TestReloadSeesAChangeWithinOneTick changes a file without changing its size or
// its time, as two writes within one tick of the file system's clock do.
func TestReloadSeesAChangeWithinOneTick(t *testing.T) {
	file, path := open(t, "ip\n10.0.0.1\n")
	at := time.Now()
	for _, text := range []string{"ip\n10.0.0.2\n", "ip\n10.0.0.3\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		if changed, err := file.Reload(); !changed || err != nil {
			t.Errorf("Reload = %v, %v; want a change", changed, err)
		}
	}
}

// TestFileThatChangesWhileItIsRead grows the file in the middle of a reading, once with
// its old time.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	for _, keepTime := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "t.csv")
		write(t, path, "ip\n10.0.0.1\n", time.Hour)
		old, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		grown := false
		_, err = Open(path, Options{Keys: func([]string) ([]Key, error) {
			if !grown {
				grown = true
				if err := os.WriteFile(path, []byte("ip\n10.0.0.1\n10.0.0.2\n"), 0o600); err != nil {
					t.Error(err)
				}
				if keepTime {
					if err := os.Chtimes(path, old.ModTime(), old.ModTime()); err != nil {
						t.Error(err)
					}
				}
			}
			return []Key{{"ip", sdk.IP}}, nil
		}})
		if !errors.Is(err, ErrChanging) {
			t.Errorf("Open of a file that grows, its time kept: %v: %v", keepTime, err)
		}
	}
}

func TestOpenComplaints(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.csv")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "t.xlsx"):     "tells no format",
		filepath.Join(dir, "absent.csv"): "no such file",
		pipe:                             "is not a regular file",
	} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want %q", filepath.Base(path), err, want)
		}
	}
}

func TestTabSeparated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.tsv")
	write(t, path, "ip\tnote\n10.0.0.1\ta, b\n", 0)
	file, err := Open(path, Options{Keys: Columns(Key{"ip", sdk.IP})})
	if err != nil {
		t.Fatal(err)
	}
	if match, ok := file.Table().Lookup(sdk.IP, "10.0.0.1"); !ok || match.Rows[0].Text("note") != "a, b" {
		t.Errorf("Lookup = %v, %v", match, ok)
	}
}

func TestFollow(t *testing.T) {
	file, path := open(t, "ip\n10.0.0.1\n")
	ctx, cancel := context.WithCancel(t.Context())
	reports := make(chan error)
	var wg sync.WaitGroup
	wg.Go(func() { file.Follow(ctx, time.Millisecond, func(err error) { reports <- err }) })

	replace(t, path, "ip\nnonsense\n", 30*time.Minute)
	if err := <-reports; err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("report of a broken file = %v", err)
	}
	replace(t, path, "ip\n10.0.0.1\n", 20*time.Minute)
	if err := <-reports; err != nil {
		t.Errorf("report of the file restored = %v", err)
	}
	replace(t, path, "ip\n10.0.0.2\n", 10*time.Minute)
	if err := <-reports; err != nil {
		t.Errorf("report of a changed file = %v", err)
	}
	if _, ok := file.Table().Lookup(sdk.IP, "10.0.0.2"); !ok {
		t.Error("the new table is not there")
	}
	cancel()
	wg.Wait()
}
