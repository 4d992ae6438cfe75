package engine

import (
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/match"
)

// TestAnEventThatEndsTheProgramIsSetAside starts from what the store holds when the
// program has ended three times in the first batch and then twice at its third event.
func TestAnEventThatEndsTheProgramIsSetAside(t *testing.T) {
	w := newWorld(t, standard)
	w.feed("feed.json", feed, 0, feed.Events)
	k := w.open()
	w.check(k.store.SaveMatching(t.Context(), match.State{
		Running:  true,
		Suspects: map[uint64]match.Suspect{1: {Ends: 4, Matching: true, Event: 3, Blamed: 3}},
	}))
	w.check(k.Close())
	o := w.once()
	if o.received != uint64(feed.Events) || o.rejected != 1 || o.matched != uint64(feed.Alerts()) {
		t.Errorf("%d received, %d set aside, %d matched; want %d, 1, %d", o.received, o.rejected, o.matched, feed.Events, feed.Alerts())
	}
	k = w.open()
	defer k.Close() //nolint:errcheck // nothing was written
	stats, err := k.log.RejectedStats(t.Context(), "detector.feed")
	w.check(err)
	if stats.Events != 1 {
		t.Errorf("REJECTED has %d events, want 1", stats.Events)
	}
	state, err := k.store.Matching(t.Context())
	w.check(err)
	if state.Running || len(state.Suspects) != 0 {
		t.Errorf("after a good end the store has %+v", state)
	}
}

func TestARunThatWasCutOffIsKnown(t *testing.T) {
	w := newWorld(t, standard)
	r := w.run()
	r.until("a run under way", func() bool {
		state, err := r.k.store.Matching(t.Context())
		w.check(err)
		return state.Running
	})
	r.end()
	k := w.open()
	defer k.Close() //nolint:errcheck // nothing was written
	state, err := k.store.Matching(t.Context())
	w.check(err)
	if state.Running {
		t.Error("a run that was stopped counts as cut off")
	}
	if strings.Contains(w.log.String(), "cut off") {
		t.Error("it was logged as cut off")
	}
}
