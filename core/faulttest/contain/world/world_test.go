//go:build unix

package world

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newWorld(t *testing.T) World { return World{Path: filepath.Join(t.TempDir(), "world")} }

func (w World) change(t *testing.T, change func(*State) []Entry) {
	t.Helper()
	if err := w.Change(change); err != nil {
		t.Fatal(err)
	}
}

func (w World) read(t *testing.T) *State {
	t.Helper()
	s, err := w.Read()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func act(op Op, target, key string) func(*State) []Entry {
	return func(s *State) []Entry { return []Entry{s.Act(op, "isolate_host", target, key)} }
}

func TestEffectsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.change(t, act(Execute, "ws-1", "i-1"))
	w.change(t, act(Execute, "ws-1", "i-2"))
	w.change(t, act(Execute, "ws-2", "i-3"))
	w.change(t, act(Undo, "ws-1", "u-1"))
	w.change(t, act(Undo, "ws-1", "u-2"))
	s := w.read(t)
	want := map[Op]map[string]int{Execute: {"i-1": 1, "i-3": 1}, Undo: {"u-1": 1}, Check: {}}
	if diff := cmp.Diff(want, s.Effects); diff != "" {
		t.Error(diff)
	}
	want = map[Op]map[string]int{Execute: {"i-2": 1}, Undo: {"u-2": 1}, Check: {}}
	if diff := cmp.Diff(want, s.Found); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"isolate_host ws-2": "i-3"}, s.Contained); diff != "" {
		t.Error(diff)
	}
}

// TestOnItsWay: what was sent takes effect when its time has come, once, and whoever
// looks first sees to it.
func TestOnItsWay(t *testing.T) {
	w := newWorld(t)
	send := func(after time.Duration, key string) {
		w.change(t, func(*State) []Entry {
			return []Entry{{What: Sent, Op: Execute, Verb: "isolate_host", Target: key, Key: key, Due: Uptime() + after}}
		})
	}
	send(time.Hour, "i-late")
	send(0, "i-now")
	for range 2 {
		s := w.read(t)
		if s.Effects[Execute]["i-now"] != 1 || len(s.Flying) != 1 || s.Flying[0].Key != "i-late" || len(s.Contained) != 1 {
			t.Fatalf("%+v", s)
		}
	}
}

// TestACutLine is what a crash leaves: nothing of it happened.
func TestACutLine(t *testing.T) {
	w := newWorld(t)
	w.change(t, act(Execute, "ws-1", "i-1"))
	whole, err := os.ReadFile(w.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Path, append(whole, whole[:len(whole)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.change(t, act(Execute, "ws-2", "i-2"))
	if s := w.read(t); len(s.Entries) != 2 || len(s.Contained) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestScript(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	text := "# how it goes\n\nexecute ws-1 2 late 1.5s\nundo * 1 crash-after\ncheck * * hang\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadScript(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range s {
		lines = append(lines, l.String())
	}
	if want := "execute ws-1 2 late 1.5s,undo * 1 crash-after,check * * hang"; strings.Join(lines, ",") != want {
		t.Errorf("%q", lines)
	}
	for _, c := range []struct {
		op     Op
		target string
		n      int
		want   Behaviour
	}{
		{Execute, "ws-1", 1, Answers},
		{Execute, "ws-1", 2, Late},
		{Execute, "ws-2", 2, Answers},
		{Undo, "ws-2", 1, CrashesAfter},
		{Undo, "ws-2", 2, Answers},
		{Check, "ws-1", 7, Hangs},
	} {
		if got := s.Of(c.op, c.target, c.n); got.Do != c.want {
			t.Errorf("%s %s %d: %q, want %q", c.op, c.target, c.n, got.Do, c.want)
		}
	}
	for _, wrong := range []string{"execute ws-1 2", "do ws-1 2 lose", "undo ws-1 2 dance", "undo ws-1 0 lose", "undo ws-1 1 late soon", "a b c d e f"} {
		if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadScript(path); err == nil || !strings.Contains(err.Error(), "script:1: ") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if s, err := ReadScript(path + "-none"); err != nil || s != nil {
		t.Errorf("no script: %v, %v", s, err)
	}
}
