package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOneProcessHasTheLog(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, small(dir))
	if _, err := Open(t.Context(), small(dir)); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, small(dir))
}

func TestOpenMakesAPrivateFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "log")
	mustOpen(t, small(dir))
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode = %v, %v, want 0700", st.Mode(), err)
	}
}

func TestSettingsRefused(t *testing.T) {
	for name, set := range map[string]Settings{
		"no folder":         {},
		"unknown sync":      {Dir: "x", Sync: "never"},
		"negative size":     {Dir: "x", EventsBytes: -1},
		"negative reserve":  {Dir: "x", Reserve: -1},
		"negative interval": {Dir: "x", SyncInterval: -time.Second},
		"negative keep":     {Dir: "x", Keep: -time.Second},
	} {
		if _, err := Open(t.Context(), set); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if err := (Settings{Dir: "x"}).Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

func TestOpenTellsWhyTheServerDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := Open(t.Context(), small(dir))
	if err == nil || !strings.Contains(err.Error(), "storage directory") {
		t.Errorf("err = %v", err)
	}
	if took := time.Since(start); took > startTimeout/4 {
		t.Errorf("it took %v", took)
	}
	if err := os.Remove(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, small(dir)) // the folder is not left locked
}

func TestOpenSaysThatIntervalRisksLoss(t *testing.T) {
	for sync, want := range map[string]bool{SyncAlways: false, SyncInterval: true} {
		var out bytes.Buffer
		set := small(t.TempDir())
		set.Sync, set.Logger = sync, slog.New(slog.NewTextHandler(&out, nil))
		mustOpen(t, set)
		if got := strings.Contains(out.String(), "power cut"); got != want {
			t.Errorf("sync %s says %q", sync, out.String())
		}
	}
}

func TestFit(t *testing.T) {
	const gib = 1 << 30
	want := sizes{32 * gib, 8 * gib, 2 * gib}
	floor := int64(2 * maxMessage)
	for _, tt := range []struct {
		name    string
		held    sizes
		free    int64
		reserve int64
		want    sizes
	}{
		{"a large disk", sizes{}, 100 * gib, gib, want},
		{"just enough", sizes{}, 43 * gib, gib, want},
		{"half", sizes{}, 22 * gib, gib, sizes{16 * gib, 4 * gib, gib}},
		{"what is there counts", sizes{10 * gib, 0, 0}, 12 * gib, gib, sizes{16 * gib, 4 * gib, gib}},
		{"never below what it holds", sizes{20 * gib, 7 * gib, gib}, 0, gib, sizes{32 * gib * 27 / 42, 7 * gib, 2 * gib * 27 / 42}},
		{"no room at all", sizes{}, 0, gib, sizes{floor, floor, floor}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := fit(want, tt.held, disk{free: tt.free}, tt.reserve)
			near := func(a, b int64) bool { return a-b < gib && b-a < gib }
			if !near(got.events, tt.want.events) || !near(got.inputs, tt.want.inputs) || !near(got.rejected, tt.want.rejected) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got.events < tt.held.events || got.inputs < tt.held.inputs || got.rejected < tt.held.rejected {
				t.Errorf("%+v is less than %+v", got, tt.held)
			}
		})
	}
	if got := fit(sizes{1 << 20, 1 << 20, 1 << 20}, sizes{}, disk{free: gib}, 0); got != (sizes{1 << 20, 1 << 20, 1 << 20}) {
		t.Errorf("small limits became %+v", got)
	}
}

// Limits that were made smaller must not cost what is there.
func TestSmallerLimitsKeepTheMessages(t *testing.T) {
	set := small(t.TempDir())
	l := mustOpen(t, set)
	s := mustSource(t, l, "edr")
	for i := range 20 {
		put(t, s, fmt.Sprint(i), 1, make([]byte, 200<<10))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	set.EventsBytes = 1 << 20
	l = mustOpen(t, set)
	checkTotals(t, l, 20)
	s = mustSource(t, l, "edr")
	if _, err := s.Publish(t.Context(), following(s, "x", 1), make([]byte, 200<<10)); !errors.Is(err, ErrFull) {
		t.Errorf("publish: %v, want ErrFull", err)
	}
}

// streamDir is where the server keeps a stream's files.
func streamDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream)
}

// The file that a crash cut off in the middle of a message that was never
// acknowledged: the log ends before it.
func TestTornTailIsNotThere(t *testing.T) {
	dir := t.TempDir()
	kill(t, dir, 20)
	blocks, err := filepath.Glob(filepath.Join(streamDir(dir, events), "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("blocks: %v, %v", blocks, err)
	}
	f, err := os.OpenFile(blocks[len(blocks)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The beginning of a record: its length, and not all of what it announces.
	if _, err := f.Write(append([]byte{200, 20, 0, 0}, bytes.Repeat([]byte{7}, 300)...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, small(dir))
	_, last, err := l.Last(t.Context(), "edr")
	if err != nil || last == 0 {
		t.Fatalf("last = %d, %v", last, err)
	}
	checkTotals(t, l, last)
	if seq := put(t, mustSource(t, l, "edr"), "next", 1, nil); seq != last+1 {
		t.Errorf("next = %d, want %d", seq, last+1)
	}
}

// A power cut can take the tail of the streams and leave what was written after
// them, such as match's position. Nothing that is published later may be taken
// for what was lost.
func TestLostTailIsNoticedAndFilled(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, small(dir))
	s, j := mustSource(t, l, "edr"), mustJoiner(t, l, "match")
	for i := range 10 {
		put(t, s, fmt.Sprint(i), 1, nil)
	}
	appendN(t, j, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "before")
	for _, stream := range []string{events, inputs} {
		if err := os.CopyFS(filepath.Join(before, stream), os.DirFS(filepath.Join(streamDir(dir, stream), "msgs"))); err != nil {
			t.Fatal(err)
		}
	}
	l = mustOpen(t, small(dir))
	s = mustSource(t, l, "edr")
	for i := range 5 {
		put(t, s, fmt.Sprint("lost ", i), 1, nil)
	}
	j2 := mustJoiner(t, l, "match")
	appendN(t, j2, 5)
	ackAll(t, l, 15)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{events, inputs} {
		msgs := filepath.Join(streamDir(dir, stream), "msgs")
		if err := os.RemoveAll(msgs); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(msgs, os.DirFS(filepath.Join(before, stream))); err != nil {
			t.Fatal(err)
		}
	}

	l = mustOpen(t, small(dir))
	if h, seq, err := l.Last(t.Context(), "edr"); err != nil || seq != 10 || h.Total != 10 {
		t.Fatalf("last = %+v at %d, %v: the tail is not gone", h, seq, err)
	}
	var pos *PositionError
	if _, err := l.Inputs(t.Context(), 16); !errors.Is(err, ErrShort) || !errors.As(err, &pos) || pos.Have != 10 {
		t.Fatalf("inputs from 16: %v, want ErrShort", err)
	}
	missing, err := l.Fill(t.Context(), Positions{Events: 15, Inputs: 15})
	if err != nil || missing != (Positions{5, 5}) {
		t.Fatalf("missing = %+v, %v", missing, err)
	}
	mustInputs(t, l, 16)
	if seq := put(t, mustSource(t, l, "edr"), "again", 1, []byte("again")); seq != 16 {
		t.Errorf("next batch has sequence %d, want 16", seq)
	}
	c := mustEvents(t, l)
	for {
		m := mustNext(t, c)
		mustAck(t, m)
		if m.Seq == 16 && string(m.Payload) == "again" {
			break
		}
		if m.Count != 0 {
			t.Errorf("message %d with %d events comes again", m.Seq, m.Count)
		}
	}
}
