package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/faulttest"
)

func TestOnceFinishesAllWorkAndAddsNothingTheSecondTime(t *testing.T) {
	w := newWorld(t, standard)
	w.feed("feed.json", feed, 0, feed.Events)
	first := w.once()
	first.want(t, feed)
	second := w.once()
	second.want(t, feed)
	if first.scores != second.scores {
		t.Errorf("cases are\n%sthe second time, want\n%s", second.scores, first.scores)
	}
}

func TestTwoDetectorsMakeOneCase(t *testing.T) {
	text := strings.Replace(standard, "[detector.feed]", "[detector.feed, detector.other]", 1) + `
detector "file" "other" {
  path = "other.json"
}
`
	w := newWorld(t, text)
	w.feed("feed.json", feed, 0, feed.Events)
	w.feed("other.json", feed, 0, feed.Events)
	o := w.once()
	if o.received != 2*uint64(feed.Events) || o.counts.Signals != 2*feed.Alerts() || o.calls != feed.Sources {
		t.Errorf("%d received, %d signals, %d calls", o.received, o.counts.Signals, o.calls)
	}
	for address, n := range feed.Cases() {
		if o.cases[address] != 2*n {
			t.Errorf("case of %s has %d signals, want %d", address, o.cases[address], 2*n)
		}
	}
}

func TestStopInEveryPhaseLosesNothing(t *testing.T) {
	for name, at := range map[string]func(*running) bool{
		"at once":              func(*running) bool { return true },
		"while plugins start":  func(r *running) bool { return exists(r.w.path("data/plugins")) },
		"when the API is open": func(r *running) bool { return exists(r.w.path("data/kelpie.sock")) },
		"at the first events":  func(r *running) bool { return r.counted() > 0 },
		"while actions run":    func(r *running) bool { return r.w.calls("calls") > 0 },
		"when all is quiet": func(r *running) bool {
			return r.counted() == uint64(feed.Events) && r.w.calls("calls") == feed.Sources
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, standard)
			w.feed("feed.json", feed, 0, feed.Events)
			r := w.run()
			r.until(name, func() bool { return at(r) })
			r.end()
			w.once().want(t, feed)
			if exists(w.path("data/kelpie.sock")) {
				t.Error("the socket is left over")
			}
		})
	}
}

func TestOnceThatIsToldToStopSaysThatItIsNotDone(t *testing.T) {
	w := newWorld(t, strings.Replace(standard, `takes = ["ip"]`, "takes = [\"ip\"]\n  patience = \"10m\"", 1))
	w.breakPlugin("table") // its answers are waited for
	w.feed("feed.json", feed, 0, feed.Events)
	k := w.open()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o := w.options(true)
	o.Progress = func(p Progress) {
		if p.Ended == p.Sources && p.Answers > 0 {
			stop()
		}
	}
	err := k.Run(ctx, o)
	w.check(k.Close())
	if !errors.Is(err, ErrCut) {
		t.Errorf("error is %v, want ErrCut", err)
	}
	w.plugins = built.dir
	w.once().want(t, feed)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestPluginsThatRefuseTheirBlocksEndTheStart(t *testing.T) {
	w := newWorld(t, standard)
	w.check(os.Remove(w.path("names.csv")))
	k := w.open()
	err := k.Run(t.Context(), w.options(false))
	w.check(k.Close())
	var refused *RefusedError
	if !errors.As(err, &refused) || len(refused.Diagnostics) != 1 || refused.Diagnostics[0].Instance != "enrichment.names" {
		t.Errorf("error is %v, want one complaint of enrichment.names", err)
	}
}

func TestAFailedStageEndsTheRunAndIsTold(t *testing.T) {
	w := newWorld(t, standard)
	r := w.run()
	r.until("the API", func() bool { return exists(w.path("data/kelpie.sock")) })
	// Nothing can be committed any more: decide fails at the next input.
	w.check(os.Rename(w.path("data/kelpie.db"), w.path("data/away")))
	w.check(r.k.store.Close())
	w.feed("feed.json", feed, 0, feed.Events)
	err := <-r.done
	r.stop()
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want why nothing could be committed", err)
	}
	if err := r.k.Close(); err != nil {
		t.Error(err)
	}
}

func TestDryRunLeavesNothing(t *testing.T) {
	w := newWorld(t, strings.Replace(standard, `actions = "on"`, `actions = "dry_run"`, 1))
	w.feed("feed.json", feed, 0, feed.Events)
	o := w.once()
	if o.calls != 0 || o.dry != feed.Sources {
		t.Errorf("%d calls, %d asked with dry_run; want 0 and %d", o.calls, o.dry, feed.Sources)
	}
}

func TestAnotherConfigurationScoresAgain(t *testing.T) {
	w := newWorld(t, standard)
	w.feed("feed.json", feed, 0, feed.Events)
	before := w.once()
	w.configure(strings.Replace(standard, `preset = "balanced"`, `preset = "balanced"

  factor "threat" {
    weight  = 0.1
    combine = "max"

    evidence "detector" {
      points  = case.severity
      because = "reported at ${case.severity}"
    }
  }`, 1))
	after := w.once()
	after.want(t, feed)
	if before.scores == after.scores {
		t.Errorf("scores are\n%sas before the change", after.scores)
	}
}

func TestAPluginThatIsKilledAgainAndAgainLosesNothing(t *testing.T) {
	m := faulttest.Model{Events: 3000, Sources: 6, Every: 10}
	w := newWorld(t, standard)
	r := w.run()
	killed := map[int]bool{}
	for i := range 3 {
		w.feed("feed.json", m, i*1000, 1000)
		r.until("a plugin to kill", func() bool {
			for _, p := range r.k.Plugins() {
				if p.Plugin == "file" && p.PID > 0 && !killed[p.PID] && r.counted() > uint64(i*1000) {
					killed[p.PID] = true
					process, err := os.FindProcess(p.PID)
					w.check(err)
					return process.Kill() == nil
				}
			}
			return false
		})
	}
	r.until("all events", func() bool { return r.counted() == uint64(m.Events) })
	r.end()
	w.once().want(t, m)
}

// breakPlugin makes the world use plugins of which one is no program.
func (w *world) breakPlugin(name string) {
	w.t.Helper()
	dir := w.path("plugins")
	w.check(os.CopyFS(dir, os.DirFS(built.dir)))
	w.check(os.WriteFile(filepath.Join(dir, name), []byte("no program"), 0o700))
	w.plugins = dir
}

func TestOnceEndsThoughAPluginDoesNotRun(t *testing.T) {
	for name, want := range map[string]func(*testing.T, error, outcome){
		"file": func(t *testing.T, err error, o outcome) {
			if !errors.Is(err, ErrUnread) || !strings.Contains(err.Error(), "detector.feed") {
				t.Errorf("error is %v, want that detector.feed was not read", err)
			}
		},
		"table": func(t *testing.T, err error, o outcome) {
			if err != nil || o.counts.AsksPending != 0 || o.counts.AsksFailed != feed.Sources {
				t.Errorf("%v; %d lookups pending, %d failed; want %d failed", err, o.counts.AsksPending, o.counts.AsksFailed, feed.Sources)
			}
		},
		"counter": func(t *testing.T, err error, o outcome) {
			if err != nil || o.counts.IntentsPending != 0 || o.counts.IntentsFailed != feed.Sources {
				t.Errorf("%v; %d steps pending, %d failed; want %d failed", err, o.counts.IntentsPending, o.counts.IntentsFailed, feed.Sources)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strings.Replace(standard, `takes = ["ip"]`, "takes = [\"ip\"]\n  patience = \"2s\"", 1))
			w.breakPlugin(name)
			w.feed("feed.json", feed, 0, feed.Events)
			k := w.open()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := k.Run(ctx, w.options(true))
			if ctx.Err() != nil {
				t.Errorf("no end within %s", patience)
			}
			want(t, err, w.outcome(k))
			w.check(k.Close())
		})
	}
}

// TestAnEnrichmentThatIsGoneHoldsNothingUp takes it out while lookups are pending.
func TestAnEnrichmentThatIsGoneHoldsNothingUp(t *testing.T) {
	w := newWorld(t, strings.Replace(standard, `takes = ["ip"]`, "takes = [\"ip\"]\n  patience = \"10m\"", 1))
	w.breakPlugin("table")
	w.feed("feed.json", feed, 0, feed.Events)
	r := w.run()
	r.until("the events", func() bool { return r.counted() == uint64(feed.Events) })
	if n := w.outcome(r.k).counts.AsksPending; n != feed.Sources {
		t.Fatalf("%d lookups are pending, want %d", n, feed.Sources)
	}
	r.end()
	without := standard[:strings.Index(standard, `enrichment "table"`)] + standard[strings.Index(standard, "score {"):]
	w.configure(without)
	w.once().want(t, feed)
}
