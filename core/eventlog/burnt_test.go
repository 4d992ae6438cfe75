package eventlog

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheFirstWriteMayFail: the server does not give its sequence again, and nothing is
// lost by that.
func TestTheFirstWriteMayFail(t *testing.T) {
	dir := tmpfs(t, 24)
	set := small(filepath.Join(dir, "log"))
	set.Sync, set.EventsBytes, set.InputsBytes, set.RejectedBytes = SyncAlways, 4<<20, 4<<20, 1<<20
	l := mustOpen(t, set)
	l.timeout = publishTimeout
	j := mustJoiner(t, l, "match")
	s := mustSource(t, l, "edr")
	r := mustInputs(t, l, 1)

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	if _, err := j.Append(t.Context(), make([]byte, 1<<20)); err == nil {
		t.Fatal("a full disk takes an input")
	}
	if _, err := s.Publish(t.Context(), following(s, "1", 1), make([]byte, 1<<20)); err == nil {
		t.Fatal("a full disk takes a batch")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	seq, err := j.Append(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		in, err := r.Next(within(t, publishTimeout*10))
		if err != nil {
			t.Fatal(err)
		}
		if in.Seq == seq {
			break
		}
	}
	put(t, mustSource(t, l, "edr"), "1", 1, nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, set)
	if h, _, err := l.Last(t.Context(), "edr"); err != nil || h.Total != 1 {
		t.Errorf("total %d, %v", h.Total, err)
	}
}

// fill writes a file until the disk has no byte left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Bavail == 0 {
			return
		}
		_, err = f.Write(make([]byte, 4096))
	}
}
