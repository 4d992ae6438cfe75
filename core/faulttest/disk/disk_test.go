//go:build linux

package disk

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func mount(t *testing.T, s Settings) (*Disk, string) {
	t.Helper()
	d, dir := New(s), t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, dir
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file, and syncs what it is told to.
func put(t *testing.T, path string, data []byte, file, folder bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	check(t, err)
	_, err = f.Write(data)
	check(t, err)
	if file {
		check(t, f.Sync())
	}
	check(t, f.Close())
	if folder {
		syncPath(t, filepath.Dir(path))
	}
}

func syncPath(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	check(t, errors.Join(f.Sync(), f.Close()))
}

func cut(t *testing.T, d *Disk, seed uint64) Lost {
	t.Helper()
	d.PowerOff()
	lost, err := d.PowerOn(seed)
	check(t, err)
	return lost
}

// TestWhatWasSyncedStays and what was not may go, whatever the seed.
func TestWhatWasSyncedStays(t *testing.T) {
	for _, strict := range []bool{false, true} {
		d, dir := mount(t, Settings{Strict: strict})
		synced, lost, half := bytes.Repeat([]byte("synced "), 3000), 0, 0
		for seed := range uint64(40) {
			path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			put(t, path, synced, true, true)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			check(t, err)
			_, err = f.WriteAt(bytes.Repeat([]byte("x"), len(synced)), int64(len(synced)))
			check(t, errors.Join(err, f.Close()))
			put(t, other, synced, false, false)
			l := cut(t, d, seed)
			lost += l.Pages
			data, err := os.ReadFile(path)
			check(t, err)
			if !bytes.HasPrefix(data, synced) {
				t.Fatalf("seed %d: what was synced is lost", seed)
			}
			if len(data) > len(synced) && len(data) < 2*len(synced) {
				half++
			}
			if err := os.Remove(other); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if lost == 0 || half == 0 {
			t.Errorf("strict %v: %d pages lost, %d files half kept; want some of each", strict, lost, half)
		}
	}
}

// TestNames: a strict disk keeps a file's name only when its folder was synced.
func TestNames(t *testing.T) {
	for _, strict := range []bool{false, true} {
		d, dir := mount(t, Settings{Strict: strict})
		gone := 0
		for seed := range uint64(40) {
			path := filepath.Join(dir, "new")
			put(t, path, []byte("x"), true, false)
			cut(t, d, seed)
			if _, err := os.Stat(path); err != nil {
				gone++
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			syncPath(t, dir)
		}
		if strict != (gone > 0) || gone == 40 {
			t.Errorf("strict %v: the name was gone %d times of 40", strict, gone)
		}
		// A rename is done or not, never half.
		for seed := range uint64(20) {
			put(t, filepath.Join(dir, "to"), []byte("old"), true, true)
			put(t, filepath.Join(dir, "from"), []byte("new"), true, true)
			check(t, os.Rename(filepath.Join(dir, "from"), filepath.Join(dir, "to")))
			cut(t, d, seed)
			data, err := os.ReadFile(filepath.Join(dir, "to"))
			check(t, err)
			_, err = os.Stat(filepath.Join(dir, "from"))
			if renamed := string(data) == "new"; renamed != errors.Is(err, os.ErrNotExist) {
				t.Errorf("seed %d: %q, and from: %v", seed, data, err)
			}
		}
	}
}

func TestMapsLocksAndSockets(t *testing.T) {
	_, dir := mount(t, Settings{})
	put(t, filepath.Join(dir, "shm"), make([]byte, 32<<10), false, false)
	f, err := os.OpenFile(filepath.Join(dir, "shm"), os.O_RDWR, 0)
	check(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, 32<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	copy(m, "hello")
	check(t, unix.Msync(m, unix.MS_SYNC))
	check(t, unix.Munmap(m))
	check(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	check(t, f.Close())
	if data, err := os.ReadFile(filepath.Join(dir, "shm")); err != nil || !bytes.HasPrefix(data, []byte("hello")) {
		t.Errorf("%q, %v", data[:5], err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	check(t, err)
	defer l.Close()
	c, err := net.Dial("unix", filepath.Join(dir, "s"))
	check(t, err)
	check(t, c.Close())
}

func TestRoomInodesAndFaults(t *testing.T) {
	d, dir := mount(t, Settings{Bytes: 1 << 20})
	path := filepath.Join(dir, "f")
	put(t, path, make([]byte, 100<<10), true, true)
	d.Fill(page)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	check(t, err)
	defer f.Close()
	if n, err := f.Write(make([]byte, 3*page)); !errors.Is(err, syscall.ENOSPC) || n > page {
		t.Errorf("a full disk takes %d bytes, %v", n, err)
	}
	d.Fill(-1)
	_, err = f.Write(make([]byte, 3*page))
	check(t, err)
	d.TakeInodes(0)
	if err := os.WriteFile(filepath.Join(dir, "g"), nil, 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without inodes: %v", err)
	}
	d.TakeInodes(-1)
	check(t, os.WriteFile(filepath.Join(dir, "g"), nil, 0o600))

	// Bytes whose sync failed are read, and are not on the disk, whatever a later sync says.
	_, err = f.WriteAt([]byte("unsynced"), 0)
	if err == nil {
		t.Fatal("a file opened to append takes writes elsewhere")
	}
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer h.Close()
	_, err = h.WriteAt([]byte("unsynced"), 0)
	check(t, err)
	d.Fail(Sync, syscall.EIO, nil)
	if err := h.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	d.Heal()
	check(t, h.Sync())
	f.Close()
	h.Close()
	cut(t, d, 1)
	data, err := os.ReadFile(path)
	check(t, err)
	if bytes.HasPrefix(data, []byte("unsynced")) {
		t.Error("what could not be synced is there after the power cut")
	}
}
