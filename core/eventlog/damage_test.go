package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	damageBatches = 100       // of two sources in turn, one event each
	damageSize    = 200 << 10 // 20 batches to a block
)

// damagedLog writes batches of two sources and inputs, and returns the folder as a good
// close leaves it, or as kill -9 does.
func damagedLog(t *testing.T, clean bool) string {
	t.Helper()
	set := small(t.TempDir())
	set.Sync = SyncAlways
	l, err := open(t.Context(), set, dialInProcess)
	if err != nil {
		t.Fatal(err)
	}
	l.timeout = publishTimeout * 10
	a, b := mustSource(t, l, "detector.a"), mustSource(t, l, "detector.b")
	payload := make([]byte, damageSize)
	for i := range damageBatches {
		put(t, []*Source{a, b}[i%2], fmt.Sprint(i), 1, payload)
	}
	j := mustJoiner(t, l, "match")
	appendN(t, j, 10)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if !clean {
		if err := os.CopyFS(dir, os.DirFS(set.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if clean {
		return set.Dir
	}
	return dir
}

func block(dir, stream string, n int) string {
	return filepath.Join(blockDir(dir, stream), fmt.Sprint(n)+blockSuffix)
}

// flip turns one bit; an offset below 0 counts from the end.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += int64(len(data))
	}
	data[at] ^= 4
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// tree is a folder's files with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == markName || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDamageOfAcknowledgedMessagesIsRefused: each damage is named with its sequences and
// sources, nothing is touched, and the same log opens once the loss is accepted, with all
// that is not lost.
func TestDamageOfAcknowledgedMessagesIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   []string // what is told; none: it opens
		lost   uint64   // events
	}{
		{"nothing", func(*testing.T, string) {}, nil, 0},
		{"a bit in an old block", func(t *testing.T, dir string) { flip(t, block(dir, events, 2), 3<<19) }, []string{
			"EVENTS 28 of detector.b (1 events): a record's checksum is wrong (EVENTS/2.blk, byte N)",
		}, 1},
		{"a bit in a record's length", func(t *testing.T, dir string) { flip(t, block(dir, events, 2), 2) }, []string{
			"EVENTS 21 of detector.a (1 events): a record's checksum is wrong (EVENTS/2.blk, byte N)",
		}, 1},
		{"a bit in a record's length that makes it too long", func(t *testing.T, dir string) { flip(t, block(dir, events, 2), 3) }, []string{
			"EVENTS 21 of detector.a (1 events): a record's length is wrong (EVENTS/2.blk, byte N)",
		}, 1},
		{"an old block gone", func(t *testing.T, dir string) { remove(t, block(dir, events, 2)) }, []string{
			"EVENTS 21 to 40 of detector.a (10 events), detector.b (10 events): missing",
		}, 20},
		{"the first block gone", func(t *testing.T, dir string) { remove(t, block(dir, events, 1)) }, []string{
			"EVENTS 1 to 20 of unknown sources: missing",
		}, 20},
		{"the last block gone", func(t *testing.T, dir string) { remove(t, block(dir, events, 5)) }, []string{
			"EVENTS 81 to 100 of detector.a (10 events), detector.b (10 events): missing",
		}, 20},
		{"the end cut off", func(t *testing.T, dir string) { cut(t, block(dir, events, 5), 1000) }, []string{
			"EVENTS 100 of detector.b (1 events): the file ends in a record (EVENTS/5.blk, byte N)",
		}, 1},
		{"a bit at the end", func(t *testing.T, dir string) { flip(t, block(dir, events, 5), -1000) }, []string{
			"EVENTS 100 of detector.b (1 events): a record's checksum is wrong (EVENTS/5.blk, byte N)",
		}, 1},
		{"a bit in INPUTS", func(t *testing.T, dir string) { flip(t, block(dir, inputs, 1), -3) }, []string{
			"INPUTS 10 of match: a record's checksum is wrong (INPUTS/1.blk, byte N)",
		}, 0},
		{"the index gone", func(t *testing.T, dir string) { remove(t, filepath.Join(blockDir(dir, events), "index.db")) }, nil, 0},
		{"the index empty", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(blockDir(dir, events), "index.db"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, 0},
		{"zeros behind the end", func(t *testing.T, dir string) {
			f, err := os.OpenFile(block(dir, events, 5), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(make([]byte, 4096)); errors.Join(err, f.Close()) != nil {
				t.Fatal(err)
			}
		}, nil, 0},
		{"the whole log gone but the record", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
				t.Fatal(err)
			}
		}, []string{
			"EVENTS 1 to 100 of detector.a, detector.b: missing",
			"INPUTS 1 to 10 of match: missing",
		}, 100},
	}
	for _, clean := range []bool{true, false} {
		dir := damagedLog(t, clean)
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, closed well: %v", tt.name, clean), func(t *testing.T) {
				set := small(t.TempDir())
				set.Sync = SyncAlways
				if err := os.CopyFS(set.Dir, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				tt.damage(t, set.Dir)
				if len(tt.want) > 0 {
					before := tree(t, set.Dir)
					wantRefused(t, set, tt.want)
					for path, data := range tree(t, set.Dir) {
						if before[path] != data {
							t.Errorf("%s was changed", path)
						}
					}
				}
				set.AcceptLoss = true
				l := mustOpen(t, set)
				wantEvents(t, l, damageBatches-tt.lost)
				if n := len(l.Lost()); n != len(tt.want) {
					t.Errorf("%d losses are told, want %d: %v", n, len(tt.want), l.Lost())
				}
				put(t, mustSource(t, l, "detector.b"), "more", 1, nil)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				set.AcceptLoss = false
				wantEvents(t, mustOpen(t, set), damageBatches-tt.lost+1)
			})
		}
	}
}

var offset = regexp.MustCompile(`byte \d+\)`)

func wantRefused(t *testing.T, set Settings, want []string) {
	t.Helper()
	l, err := open(t.Context(), set, dialInProcess)
	if err == nil {
		l.Close()
		t.Fatal("the log opens")
	}
	var refused *DamageError
	if !errors.As(err, &refused) || !errors.Is(err, ErrLost) {
		t.Fatalf("err = %v, want a DamageError", err)
	}
	var got []string
	for _, d := range refused.Damages {
		got = append(got, offset.ReplaceAllString(d.String(), "byte N)"))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantEvents counts the batches that a consumer and a list of the log come to.
func wantEvents(t *testing.T, l *Log, want uint64) {
	t.Helper()
	page, err := l.ListEvents(t.Context(), Query{Limit: 2 * damageBatches})
	if err != nil || uint64(len(page.Records)) != want {
		t.Errorf("%d batches are listed, %v; want %d", len(page.Records), err, want)
	}
}

// What nobody was told of may go, and the sequence is given again.
func TestATornTailThatNobodyWasToldOfIsNoLoss(t *testing.T) {
	for _, tear := range []struct {
		name string
		do   func(t *testing.T, path string)
	}{
		{"cut off", func(t *testing.T, path string) { cut(t, path, 100) }},
		{"garbled", func(t *testing.T, path string) { flip(t, path, -100) }},
	} {
		t.Run(tear.name, func(t *testing.T) {
			set := small(t.TempDir())
			set.Sync = SyncAlways
			l := mustOpen(t, set)
			s := mustSource(t, l, "detector.a")
			put(t, s, "1", 1, nil)
			// Written, and killed before anybody hears of it.
			body := frame{id: "2", total: 2, count: 1, payload: bytes.Repeat([]byte("x"), 500)}.append(nil)
			if _, err := l.srv.publish(t.Context(), s.w.subject, s.w.seq, body); err != nil {
				t.Fatal(err)
			}
			killed := t.TempDir()
			if err := os.CopyFS(killed, os.DirFS(set.Dir)); err != nil {
				t.Fatal(err)
			}
			tear.do(t, block(killed, events, 1))
			set.Dir = killed
			l = mustOpen(t, set)
			if h, seq, err := l.Last(t.Context(), "detector.a"); err != nil || seq != 1 || h.Total != 1 {
				t.Errorf("last = %d, %+v, %v", seq, h, err)
			}
			if seq := put(t, mustSource(t, l, "detector.a"), "2", 1, nil); seq != 2 {
				t.Errorf("the next batch has sequence %d", seq)
			}
		})
	}
}

// BenchmarkAcknowledged is what remembering costs each publish.
func BenchmarkAcknowledged(b *testing.B) {
	for _, interval := range []time.Duration{0, DefaultSyncInterval} {
		b.Run(fmt.Sprintf("interval=%v", interval), func(b *testing.B) {
			m, err := openMark(b.TempDir(), interval, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer m.close(true) //nolint:errcheck // nothing depends on it
			s := m.slot("EVENTS.detector=2eeve")
			b.ReportAllocs()
			for i := range b.N {
				s.acknowledged(uint64(i+1), uint64(i+1)*256)
			}
		})
	}
}
