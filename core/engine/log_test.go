//go:build linux

package engine

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/model"
)

func TestALogShorterThanTheStoreIsRefused(t *testing.T) {
	w := newWorld(t, standard)
	w.feed("feed.json", feed, 0, feed.Events)
	w.once()
	w.check(os.RemoveAll(w.path("data/log")))
	k := w.open()
	err := k.Run(t.Context(), w.options(true))
	if !errors.Is(err, ErrLogShort) || !strings.Contains(err.Error(), w.path("data/log")) {
		t.Errorf("error is %v, want ErrLogShort with the folder", err)
	}
	if err := k.Order(t.Context(), pauseOrder()); !errors.Is(err, ErrLogShort) {
		t.Errorf("an order gives %v, want ErrLogShort", err)
	}
	w.check(k.Close())
}

// With sync "interval" a power cut may take the end of the log. What was decided holds,
// and nothing is done twice.
func TestALogThatAPowerCutHasShortenedGoesOnFromTheStore(t *testing.T) {
	w := newWorld(t, standard)
	w.settings.Sync = eventlog.SyncInterval
	w.feed("feed.json", feed, 0, feed.Events/2)
	w.once()
	// The log's copy of now comes back after more was decided.
	w.check(os.CopyFS(w.path("copy"), os.DirFS(w.path("data/log"))))
	w.feed("feed.json", feed, feed.Events/2, feed.Events/2)
	w.once().want(t, feed)
	w.check(os.RemoveAll(w.path("data/log")))
	w.check(os.Rename(w.path("copy"), w.path("data/log")))

	o := w.once()
	if !strings.Contains(w.log.String(), "the end of the log is lost") {
		t.Error("the start does not say that something was lost")
	}
	if o.counts.Signals != feed.Alerts() || o.calls != feed.Sources || len(o.cases) != feed.Sources {
		t.Errorf("%d signals, %d calls, %d cases; want %d, %d, %d", o.counts.Signals, o.calls, len(o.cases), feed.Alerts(), feed.Sources, feed.Sources)
	}
	again := w.once() // and it starts again after that
	if again.counts.Signals != feed.Alerts() || again.calls != feed.Sources {
		t.Errorf("at the next start %d signals, %d calls", again.counts.Signals, again.calls)
	}
	k := w.open()
	defer k.Close() //nolint:errcheck // nothing was written
	sources, err := k.Store().Sources(t.Context())
	w.check(err)
	if len(sources) != 1 || sources[0].Source != "detector.feed" {
		t.Fatalf("sources are %+v, want detector.feed alone", sources)
	}
	// It counts on from what was decided: what was read again are repeats.
	if s := sources[0]; s.Notes != nil || s.Sum.Received != s.Total || s.Sum.Sum() != s.Total || s.Events.Low != s.Total ||
		s.Total < uint64(feed.Events) || s.Sum.Matched != uint64(feed.Alerts()) {
		t.Errorf("the source does not add up: %+v", s)
	}
	flags, err := k.Store().Flags(t.Context())
	w.check(err)
	if st, err := k.log.Stats(t.Context()); err != nil || flags.Events.Low != st.Events.Last || len(flags.Events.Above) != 0 {
		t.Errorf("decided up to %d and %d (%v), want all of %d", flags.Events.Low, flags.Events.Above, err, st.Events.Last)
	}
}

// TestTrimmingKeepsWhatARestartNeeds lets a run fill streams that are a fraction of what
// comes, and starts again in the middle.
func TestTrimmingKeepsWhatARestartNeeds(t *testing.T) {
	m := faulttest.Model{Events: 60_000, Sources: 6, Every: 2000}
	w := newWorld(t, standard)
	w.settings.EventsBytes, w.settings.InputsBytes = 8<<20, 1<<20
	w.settings.trimEvery = 20 * time.Millisecond
	first := uint64(0)
	for part := range 3 {
		r := w.run()
		w.feed("feed.json", m, part*m.Events/3, m.Events/3)
		r.until("the events", func() bool { return r.counted() == uint64((part+1)*m.Events/3) })
		st, err := r.k.log.Stats(t.Context())
		w.check(err)
		first = st.Events.First
		r.end()
	}
	if first <= 1 {
		t.Fatal("nothing was trimmed")
	}
	w.once().want(t, m)
}

// TestAFullInputsMakesRoomAtTheStart fills INPUTS with what has no checkpoint above it.
func TestAFullInputsMakesRoomAtTheStart(t *testing.T) {
	w := newWorld(t, standard)
	w.settings.InputsBytes = 1 << 20
	w.settings.trimEvery = 20 * time.Millisecond
	w.feed("feed.json", feed, 0, feed.Events)
	k := w.open()
	j, err := k.log.Joiner(t.Context(), "people")
	w.check(err)
	filler := reporter{joiner: j, now: k.clock.now}
	for err == nil {
		_, err = filler.input(t.Context(), model.Input{Command: &model.Command{
			Kind: model.ResumeActions, By: "kim", Because: strings.Repeat("x", 10_000),
		}})
	}
	if !errors.Is(err, eventlog.ErrFull) {
		t.Fatalf("error is %v, want a full log", err)
	}
	w.check(errors.Join(j.Close(t.Context()), k.Close()))
	w.once().want(t, feed)
}

// TestAFullInputsGivesUpTheOlderCheckpoint: where there is hardly room, what only the older
// one needs goes.
func TestAFullInputsGivesUpTheOlderCheckpoint(t *testing.T) {
	w := newWorld(t, standard)
	w.settings.InputsBytes = 1 << 20
	k := w.open()
	j, err := k.log.Joiner(t.Context(), "people")
	w.check(err)
	filler := reporter{joiner: j, now: k.clock.now}
	first := func() uint64 {
		st, err := k.log.Stats(t.Context())
		w.check(err)
		return st.Inputs.First
	}
	var last uint64
	for err == nil {
		var seq uint64
		seq, err = filler.input(t.Context(), model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "kim", Because: strings.Repeat("x", 10_000)}})
		last = max(last, seq)
		if last == 80 { // of a hundred: three quarters are full, and the older checkpoint needs all of them
			w.check(k.store.Commit(t.Context(), decide.Changes{Position: decide.Position{Seq: 78}}))
			w.check(k.store.SaveCheckpoint(t.Context(), decide.Checkpoint{File: "x", Seq: 77}))
			if k.trim(t.Context()); first() != 1 {
				t.Fatal("what the older checkpoint needs is gone while there is room")
			}
		}
	}
	if !errors.Is(err, eventlog.ErrFull) {
		t.Fatalf("error is %v, want a full log", err)
	}
	if k.trim(t.Context()); first() == 1 || first() > 77 {
		t.Errorf("the first input is %d", first())
	}
	w.check(errors.Join(j.Close(t.Context()), k.Close()))
}

func TestAFullDiskStopsIngestAndNothingElse(t *testing.T) {
	const size, reserve = 192 << 20, 32 << 20
	for name, left := range map[string]int64{
		"below the reserve": reserve / 2,
		"to the last byte":  0,
	} {
		t.Run(name, func(t *testing.T) {
			m := faulttest.Model{Events: 4000, Sources: 6, Every: 10}
			w := newWorld(t, standard)
			disk(t, w.settings.DataDir, size)
			w.settings.Reserve = reserve
			r := w.run()
			w.feed("feed.json", m, 0, m.Events/4)
			r.until("the first events", func() bool { return r.counted() == uint64(m.Events/4) })

			ballast(t, w.path("data/ballast"), left)
			w.feed("feed.json", m, m.Events/4, m.Events/4)
			r.until("a trouble", func() bool {
				st, err := r.k.Status(context.Background())
				w.check(err)
				for _, trouble := range st.Troubles {
					if strings.Contains(trouble.What, "in reserve") || strings.Contains(trouble.What, "can't be written") {
						return true
					}
				}
				return false
			})
			if n := r.counted(); n != uint64(m.Events/4) {
				t.Errorf("%d events counted with a full disk, want %d", n, m.Events/4)
			}
			w.check(os.Remove(w.path("data/ballast")))
			r.until("the events that waited", func() bool { return r.counted() == uint64(m.Events/2) })

			// And stopped while it is full again.
			ballast(t, w.path("data/ballast"), left)
			w.feed("feed.json", m, m.Events/2, m.Events/2)
			began := time.Now()
			r.stop()
			if err := errors.Join(<-r.done, r.k.Close()); err != nil {
				t.Logf("the stop says: %v", err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("the stop took %s", took)
			}
			w.check(os.Remove(w.path("data/ballast")))
			w.once().want(t, m)
		})
	}
}

// disk mounts a file system of its own.
func disk(t *testing.T, dir string, size int64) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+strconv.FormatInt(size, 10)); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// ballast fills a disk until so many bytes are left.
func ballast(t *testing.T, path string, left int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		free := int64(st.Bavail) * st.Bsize
		if free <= left {
			return
		}
		if _, err := f.Write(block[:min(int64(len(block)), free-left)]); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
