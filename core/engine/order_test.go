package engine

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
)

func pauseOrder() model.Command {
	return model.Command{Kind: model.PauseActions, By: "kim", Because: "a change"}
}

func resumeOrder() model.Command { return model.Command{Kind: model.ResumeActions, By: "kim"} }

func TestAnOrderHoldsWhetherKelpieRunsOrNot(t *testing.T) {
	w := newWorld(t, standard)
	w.feed("feed.json", feed, 0, feed.Events)
	k := w.open()
	w.check(k.Order(t.Context(), pauseOrder()))
	flags, err := k.Store().Flags(t.Context())
	w.check(err)
	if !flags.Paused || flags.PausedBy != "kim" {
		t.Fatalf("flags are %+v, want paused by kim", flags)
	}
	w.check(k.Close())

	if o := w.once(); o.calls != 0 || o.counts.IntentsPending != feed.Sources {
		t.Errorf("paused: %d calls, %d steps wait; want 0 and %d", o.calls, o.counts.IntentsPending, feed.Sources)
	}

	r := w.run()
	r.until("the API", func() bool { return exists(w.path("data/kelpie.sock")) })
	w.check(r.k.Order(t.Context(), resumeOrder()))
	r.until("the calls", func() bool { return w.calls("calls") == feed.Sources })
	w.check(r.k.Order(t.Context(), pauseOrder()))
	st, err := r.k.Status(t.Context())
	w.check(err)
	if st.Paused == nil || !st.Running {
		t.Errorf("status says running %v, paused %v", st.Running, st.Paused)
	}
	r.end()
	k = w.open()
	w.check(k.Order(t.Context(), resumeOrder()))
	w.check(k.Close())
	w.once().want(t, feed)
}

func TestTheDataIsItsOwnersAlone(t *testing.T) {
	w := newWorld(t, standard)
	r := w.run()
	r.until("the API", func() bool { return exists(w.path("data/kelpie.sock")) })
	for name, want := range map[string]os.FileMode{
		"data": 0o700, "data/kelpie.sock": 0o600, "data/kelpie.key": 0o600, "data/kelpie.db": 0o600, "data/log": 0o700,
		"data/checkpoints": 0o700, "data/lock": 0o600,
	} {
		info, err := os.Stat(w.path(name))
		w.check(err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	// Who reaches the socket, as plugins do, and cannot read the key, is told the figures.
	plain := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.path("data/kelpie.sock"))
	}}
	defer plain.CloseIdleConnections()
	for _, c := range []struct {
		via  http.RoundTripper
		path string
		want int
	}{
		{plain, "/v1/status", http.StatusUnauthorized},
		{plain, "/metrics", http.StatusOK},
		{WithKey(w.path("data"), plain), "/v1/status", http.StatusOK},
	} {
		res, err := (&http.Client{Transport: c.via}).Get("http://kelpie" + c.path)
		w.check(err)
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.path, res.Status, c.want)
		}
	}
	if _, err := Open(t.Context(), w.settings); err == nil {
		t.Error("a second kelpie has opened the folder")
	}
	r.end()
}
