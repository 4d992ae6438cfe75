package main

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Properties on files are slow; -rapid.checks asks for more.
	_ = flag.Set("rapid.checks", "25")
	goleak.VerifyTestMain(m)
}

// sent is one Send.
type sent struct {
	events []sdk.Event
	cursor []byte
}

// recorder is a Sender whose core takes everything at once.
type recorder struct {
	sends   []sent
	trouble error
	behind  int64
	fail    error
}

func (r *recorder) Send(_ context.Context, events []sdk.Event, cursor []byte) (sdk.Receipt, error) {
	if r.fail != nil {
		return nil, r.fail
	}
	r.sends = append(r.sends, sent{slices.Clone(events), slices.Clone(cursor)})
	return durable{}, nil
}

func (r *recorder) Status(trouble error, behind int64, _ string) {
	r.trouble, r.behind = trouble, behind
}

type durable struct{}

func (durable) Wait(context.Context) error { return nil }

func (r *recorder) events() []sdk.Event {
	var all []sdk.Event
	for _, s := range r.sends {
		all = append(all, s.events...)
	}
	return all
}

// lines are the payloads, or the problems, of all events.
func (r *recorder) lines() []string {
	var all []string
	for _, e := range r.events() {
		all = append(all, string(e.Raw))
	}
	return all
}

func (r *recorder) cursor() []byte {
	if len(r.sends) == 0 {
		return nil
	}
	return r.sends[len(r.sends)-1].cursor
}

// block is a block's values by the names of its attributes.
type block map[string]any

// configured makes an instance of a block.
func configured(t testing.TB, b block) *file {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{}
	for _, d := range append(sdk.Decode(data, f.Config()), f.Validate()...) {
		if !d.Warning {
			t.Fatal(d)
		}
	}
	if err := f.Open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return f
}

// clockwork is a clock that the test sets.
type clockwork struct{ at time.Time }

func (c *clockwork) now() time.Time { return c.at }

func (c *clockwork) pass(d time.Duration) { c.at = c.at.Add(d) }

// watching begins a session whose rounds the test calls.
func watching(t testing.TB, f *file, cursor []byte) (*watch, *recorder, *clockwork) {
	t.Helper()
	out := &recorder{}
	w, err := f.watch(cursor, out)
	if err != nil {
		t.Fatal(err)
	}
	clock := &clockwork{time.Now()}
	w.now = clock.now
	t.Cleanup(w.close)
	return w, out, clock
}

func round(t testing.TB, w *watch) {
	t.Helper()
	if _, err := w.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// onceOver reads a block's files once from a cursor.
func onceOver(t testing.TB, b block, cursor []byte) *recorder {
	t.Helper()
	out := &recorder{}
	if err := configured(t, b).Detect(t.Context(), sdk.Start{Cursor: cursor, Once: true}, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// failer is a test or a property.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func write(t failer, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t failer, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func temp(t testing.TB, name string) string { return filepath.Join(t.TempDir(), name) }
