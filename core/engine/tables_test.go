package engine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/store"
)

// tabled is the standard configuration in which match and decide read a table.
var tabled = strings.NewReplacer(
	`when    = event.raw.kind == "alert"`, `when    = event.raw.kind == "alert" && table.known[event.raw.from].owner != "kim"`,
	`when = case.score.total >= 10`, `when = case.score.total >= 10 && table.known[case.indicators[0].value].owner == "lee"`,
).Replace(standard) + `
table "known" {
  path = "known.csv"
  key  = "ip"
}
`

// table puts another file in the place of the table's, which is not young any more.
func (w *world) table(rows string) {
	w.t.Helper()
	w.write("known.new", "ip,owner\n"+rows)
	at := time.Now().Add(-time.Hour)
	w.check(errors.Join(os.Chtimes(w.path("known.new"), at, at), os.Rename(w.path("known.new"), w.path("known.csv"))))
}

// alerts appends alerts of addresses to the feed.
func (w *world) alerts(addresses ...string) {
	w.t.Helper()
	var b strings.Builder
	for _, address := range addresses {
		fmt.Fprintf(&b, "{\"time\":\"2026-11-01T10:00:00Z\",\"kind\":\"alert\",\"from\":%q}\n", address)
	}
	f, err := os.OpenFile(w.path("feed.json"), os.O_APPEND|os.O_WRONLY, 0o600)
	w.check(err)
	_, err = f.WriteString(b.String())
	w.check(errors.Join(err, f.Close()))
}

// TestTablesChange: a table's file is taken while Kelpie runs, each event and each case
// is decided by the version of its time, a broken file changes nothing and is told, and
// what was decided can be decided again.
func TestTablesChange(t *testing.T) {
	w := newWorld(t, tabled)
	w.table("198.51.100.9,kim\n")
	r := w.live(nil)
	version := func() string { return r.status().Config }
	settled := func(events uint64) {
		t.Helper()
		r.until("an account of all events", func() bool { return r.counted() == events })
	}
	r.until("a configuration", func() bool { return version() != "" })
	first := version()
	w.alerts("198.51.100.9", "198.51.100.8")
	settled(2)

	w.table("198.51.100.9,lee\n198.51.100.8,ann\n")
	r.until("another version", func() bool { return version() != first })
	second := version()
	w.alerts("198.51.100.9")
	settled(3)
	r.until("a step", func() bool { return w.calls("calls") == 1 })

	w.table("nonsense,lee\n")
	r.until("a trouble", func() bool {
		for _, trouble := range r.status().Troubles {
			if strings.Contains(trouble.What, `table.known: known.csv:2: column "ip"`) {
				return true
			}
		}
		return false
	})
	w.alerts("198.51.100.7")
	settled(4)
	if version() != second {
		t.Error("a broken file came into force")
	}
	if g := r.status().Generation; g == nil || g.Number != 1 {
		t.Errorf("generation %+v: a table is no other configuration of the operator's", g)
	}
	w.table("198.51.100.9,lee\n198.51.100.8,ann\n")
	r.until("its end", func() bool { return len(r.status().Troubles) == 0 })
	r.end()

	w.table("198.51.100.7,lee\n")
	r = w.live(nil)
	r.until("a step by the version that was there at the start", func() bool { return w.calls("calls") == 2 })
	r.end()

	k := w.open()
	defer func() { w.check(k.Close()) }()
	o := w.outcome(k)
	if o.received != 4 || o.matched != 3 || o.passed != 1 {
		t.Errorf("%d received, %d matched, %d passed", o.received, o.matched, o.passed)
	}
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Settings{Dir: dir})
	w.check(err)
	defer s.Close()
	at, err := k.store.Position(t.Context())
	w.check(err)
	replayWith(t, k, s, dir, at, 0, config.Compiler(k.tables.kept()))
	if diff := cmp.Diff(replayDump(t, k.store), replayDump(t, s)); diff != "" {
		t.Errorf("replayed it is another:\n%.2000s", diff)
	}
}

func TestShelf(t *testing.T) {
	s := &shelf{dir: t.TempDir() + "/tables"}
	if err := s.keep(nil); err != nil {
		t.Error(err)
	}
	one, two := config.HashOf([]byte("one")), config.HashOf([]byte("two"))
	contents := map[string][]byte{one: []byte("one"), two: []byte("two")}
	for range 2 {
		if err := s.keepAll(contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.keep(map[string]bool{two: true}); err != nil {
		t.Fatal(err)
	}
	if content, err := s.get(two); err != nil || string(content) != "two" {
		t.Errorf("%q, %v", content, err)
	}
	for _, hash := range []string{one, "../lock", ""} {
		if content, err := s.get(hash); err == nil {
			t.Errorf("get(%q) = %q", hash, content)
		}
	}
}
