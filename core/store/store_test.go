package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestCommitTwice: the same changes again change nothing, in whatever state they find
// the rows.
func TestCommitTwice(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	c := changes(0, 20)
	c.Aliases = []decide.Alias{{ID: "c-old", Case: c.Cases[0].ID}}
	c.Flags = &decide.Flags{Config: "x", Events: decide.Spans{Low: 3, Above: []decide.Span{{From: 5, To: 5}}}}
	mustCommit(t, s, c)
	before := dumpOf(t, s)
	mustCommit(t, s, c)
	if diff := cmp.Diff(before, dumpOf(t, s)); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(before, "\n"); n != 4+20+20+20+20+1+40+20+1+1 {
		t.Errorf("the dump has %d lines:\n%.2000s", n, before)
	}
	if at, err := s.Position(t.Context()); err != nil || at != c.Position {
		t.Errorf("position %v, %v", at, err)
	}
	counts, err := s.Counts(t.Context())
	want := Counts{
		Signals: 20, SignalsWaiting: 20, Cases: 20, AsksPending: 20, IntentsPending: 20,
		Intents: map[model.IntentState]uint64{model.IntentPending: 20},
	}
	if diff := cmp.Diff(want, counts); diff != "" || err != nil {
		t.Errorf("counts %v, %s", err, diff)
	}
	mustCommit(t, s, decide.Changes{Position: c.Position, At: c.At, Aliases: []decide.Alias{{ID: "c-old"}}})
	if strings.Contains(dumpOf(t, s), "c-old") {
		t.Error("the alias is still there")
	}
}

// TestGroupsDoNotShow: the same rows in other transactions give the same dump.
func TestGroupsDoNotShow(t *testing.T) {
	one, many := mustOpen(t, t.TempDir()), mustOpen(t, t.TempDir())
	var last decide.Changes
	for first := 0; first < 60; first += 20 {
		c := changes(first, 20)
		c.Position.Seq = uint64(first) + 20
		mustCommit(t, one, c)
		for i := range c.Signals {
			part := decide.Changes{
				Position: decide.Position{Seq: uint64(first + i + 1)}, At: c.At, Signals: c.Signals[i : i+1], Cases: c.Cases[i : i+1],
				Members: c.Members[i : i+1], Asks: c.Asks[2*i : 2*i+2], Answers: c.Answers[i : i+1], Intents: c.Intents[i : i+1],
			}
			if i == len(c.Signals)-1 {
				part.Ledger, part.Sources, part.Sums = c.Ledger, c.Sources, c.Sums
			}
			mustCommit(t, many, part)
		}
		last = c
	}
	if diff := cmp.Diff(dumpOf(t, one), dumpOf(t, many)); diff != "" {
		t.Error(diff)
	}
	mustCommit(t, one, decide.Changes{Position: last.Position, At: last.At, Cases: []model.Case{{ID: last.Cases[0].ID, State: model.CaseClosed}}})
	if dumpOf(t, one) == dumpOf(t, many) {
		t.Error("a row has changed, and the dump has not")
	}
}

func TestCommitIsAllOrNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	mustCommit(t, s, changes(0, 3))
	before := dumpOf(t, s)
	bad := changes(3, 3)
	bad.Answers[2].Answers[0].Details = []byte("{") // no JSON
	if err := s.Commit(t.Context(), bad); err == nil {
		t.Fatal("it was committed")
	}
	if diff := cmp.Diff(before, dumpOf(t, s)); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, changes(3, 3)); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	mustCommit(t, s, changes(3, 3)) // it goes on
}

func TestOpenAgain(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, changes(0, 5))
	want := dumpOf(t, s)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if diff := cmp.Diff(want, dumpOf(t, s)); diff != "" {
		t.Error(diff)
	}
	for i, want := range []int64{1, 2, 3} {
		if got, err := s.NextEpoch(t.Context()); err != nil || got != want {
			t.Errorf("epoch %d = %d, %v", i, got, err)
		}
	}
}

func TestNewerTablesAreRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.transact(t.Context(), func(w *writer) error {
		w.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Settings{Dir: dir})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "its tables have version 999, this one knows version ") {
		t.Errorf("err = %v", err)
	}
}

func TestNoDatabase(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(strings.Repeat("this is no database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Settings{Dir: dir}); err == nil || !strings.Contains(err.Error(), File) || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("err = %v", err)
	}
}

// TestFiles: nobody else reads them, and there are no others.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	old := unix.Umask(0)
	defer unix.Umask(old)
	s := mustOpen(t, dir)
	mustCommit(t, s, changes(0, 50))
	want := map[string]bool{File: true, File + "-wal": true, File + "-shm": true}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !want[f.Name()] || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

// TestFullDisk: what does not fit is refused whole, reading goes on, and writing too
// once there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no file system of our own to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := mustOpen(t, filepath.Join(dir, "data"))
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 600<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	first, full := 0, error(nil)
	var before string
	for ; full == nil && first < 10_000; first += 50 {
		before = dumpOf(t, s)
		full = s.Commit(t.Context(), changes(first, 50))
	}
	if !errors.Is(full, ErrFull) {
		t.Fatalf("err = %v", full)
	}
	for range 3 {
		if err := s.Commit(t.Context(), changes(first-50, 50)); !errors.Is(err, ErrFull) {
			t.Fatalf("err = %v", err)
		}
	}
	if diff := cmp.Diff(before, dumpOf(t, s)); diff != "" {
		t.Error(diff)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, changes(first-50, 50))
	if n, err := s.Counts(t.Context()); err != nil || n.Signals != first {
		t.Errorf("%d signals, want %d (%v)", n.Signals, first, err)
	}
}

// TestReadersAndWriters: a reader sees whole transactions only, while others write.
func TestReadersAndWriters(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	const commits, size = 30, 10
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		for i := range commits {
			if err := s.Commit(context.Background(), changes(i*size, size)); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := s.NextEpoch(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range readers + 2 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := s.Counts(context.Background())
				if err != nil || c.Signals%size != 0 || c.Signals != c.Cases || c.Signals != c.IntentsPending {
					t.Errorf("counts %+v, %v", c, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestBusy: somebody who looks at the database with a tool of their own, and locks it,
// is waited for.
func TestBusy(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	other, err := sql.Open("sqlite", filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() { committed <- s.Commit(context.Background(), changes(0, 5)) }()
	select {
	case err := <-committed:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCommit writes what decide makes of signals that are all new, in groups, to
// tables that hold some already.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{512, 64, 1} {
		b.Run(fmt.Sprintf("signals=%d", size), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			first := 0
			for ; first < 20*size; first += size {
				mustCommit(b, s, changes(first, size))
			}
			n, used := 0, time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				c := changes(first, size)
				first += size
				before := cpu(b)
				b.StartTimer()
				mustCommit(b, s, c)
				used += cpu(b) - before
				n += size
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "signals/s")
			b.ReportMetric(float64(used.Microseconds())/float64(n), "CPU-us/signal")
		})
	}
}

// cpu is what the process has used so far.
func cpu(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestCheckpointsAreTwo(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for _, c := range []decide.Checkpoint{
		{},
		{File: "checkpoint-1", Hash: "a", Seq: 1},
		{File: "checkpoint-9", Hash: "b", Seq: 9, Before: decide.EarlierCheckpoint{File: "checkpoint-1", Hash: "a", Seq: 1}},
		{File: "checkpoint-11", Hash: "c", Seq: 11},
	} {
		if c.File != "" {
			if err := s.SaveCheckpoint(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Checkpoint(t.Context()); err != nil || got != c {
			t.Errorf("checkpoint is %+v, %v; want %+v", got, err, c)
		}
	}
}
