package engine

import (
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/api"
)

func (r *running) troubles() []api.Trouble {
	r.w.t.Helper()
	st, err := r.k.Status(r.w.t.Context())
	r.w.check(err)
	return st.Troubles
}

func TestStatusNamesWhatIsBrokenAndWhatWaits(t *testing.T) {
	w := newWorld(t, standard)
	w.breakPlugin("counter")
	w.feed("feed.json", feed, 0, feed.Events)
	r := w.run()
	for _, want := range []struct{ what, waits string }{
		{"plugin counter ", "action.sink"},
		{"action.sink: ", "6 steps"},
	} {
		r.until("a trouble "+want.what, func() bool {
			for _, trouble := range r.troubles() {
				if strings.HasPrefix(trouble.What, want.what) && trouble.Waits == want.waits && !trouble.Since.IsZero() && trouble.Do != "" {
					return true
				}
			}
			return false
		})
	}
	r.end()

	w.plugins = built.dir
	r = w.run()
	r.until("the calls", func() bool { return w.calls("calls") == feed.Sources })
	r.until("no trouble", func() bool { return len(r.troubles()) == 0 })
	r.end()
}

func TestASocketsPathThatIsTooLongStartsNothing(t *testing.T) {
	w := newWorld(t, standard)
	w.settings.DataDir = w.path(strings.Repeat("x", maxSocket))
	k := w.open()
	err := k.Run(t.Context(), w.options(false))
	w.check(k.Close())
	if err == nil || !strings.Contains(err.Error(), "choose a shorter data_dir") || exists(w.path(strings.Repeat("x", maxSocket)+"/plugins")) {
		t.Errorf("error is %v, want what to do, and no plugin started", err)
	}
}
