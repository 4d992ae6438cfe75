package engine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/faulttest"
)

// killed runs some of the feed and keeps the data folder as kill -9 leaves it.
func killed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, standard)
	r := w.run()
	half := feed.Events / 2
	for n := 0; n < half; n += 30 { // so that there are many messages
		w.feed("feed.json", feed, n, 30)
		r.until("the events", func() bool { return r.counted() == uint64(n+30) })
	}
	w.check(faulttest.CopyData(w.path("killed"), w.settings.DataDir))
	r.end()
	w.check(os.RemoveAll(w.settings.DataDir))
	w.check(os.Rename(w.path("killed"), w.settings.DataDir))
	w.feed("feed.json", feed, half, feed.Events-half)
	return w
}

// TestADamagedLogIsRefusedUntilItsLossIsAccepted: what is lost and what to do is said;
// what was decided stays, and nothing is done twice.
func TestADamagedLogIsRefusedUntilItsLossIsAccepted(t *testing.T) {
	for name, tt := range map[string]struct {
		stream string
		at     float64 // where the bit is, as a share of the file
		want   string
	}{
		"an input":         {"INPUTS", 0.6, "INPUTS "},
		"a batch":          {"EVENTS", 0.4, "of detector.feed (30 events)"},
		"the last of them": {"EVENTS", 0.99, "of detector.feed (30 events)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := killed(t)
			blocks, err := faulttest.Blocks(w.settings.DataDir, tt.stream)
			w.check(err)
			w.check(faulttest.Flip(blocks[0], tt.at))

			k, err := Open(t.Context(), w.settings)
			if err == nil {
				k.Close()
				t.Fatal("the damaged log opens")
			}
			for _, want := range []string{tt.want, "--accept-loss", "What was decided stays"} {
				if !errors.Is(err, eventlog.ErrLost) || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want one with %q", err, want)
				}
			}
			t.Log(err)
			w.settings.AcceptLoss = true
			o := w.once()
			w.settings.AcceptLoss = false
			again := w.once()
			// A batch that was the last takes the cursor with it, and is read again.
			if o.calls != feed.Sources || again.calls != feed.Sources || o.counts.Signals != feed.Alerts() {
				t.Errorf("%d signals, %d calls, then %d, want %d and %d", o.counts.Signals, o.calls, again.calls, feed.Alerts(), feed.Sources)
			}
		})
	}
}
