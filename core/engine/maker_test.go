package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// blocking is a configuration whose one alert has its address blocked until a person lets
// it go.
const blocking = `
kelpie {
  actions = "on"
}

detector "north" "count" {
  notes  = "notes"
  events = 1
  every  = 1
}

pipeline "alerts" {
  from    = [detector.count]
  alerts  = true
  respond = [response.block]

  map {
    title      = "alert of ${event.raw.from}"
    time       = event.raw.time
    severity   = 90
    indicators = { ip = event.raw.from }
  }
}

score {
  preset = "balanced"
}

response "block" {
  step "block" {
    do         = action.fence.block_indicator
    targets    = case.indicators
    undo_after = "9h"
  }
}

action "north" "fence" {
  notes = "notes"
}
`

func (r *running) hold() model.Hold {
	r.w.t.Helper()
	holds, err := r.k.Store().Holds(r.w.t.Context(), true)
	r.w.check(err)
	if len(holds) == 0 {
		return model.Hold{}
	}
	return holds[0]
}

// release orders what is held to be let go.
func (r *running) release() {
	r.w.t.Helper()
	r.w.check(r.k.Order(r.w.t.Context(), model.Command{
		Kind: model.ReleaseHold, Hold: r.hold().ID, By: "kim", Because: "it is clean",
	}))
}

// leaving tells for each action that stays why it does.
func (r *running) leaving() []string {
	var all []string
	for _, l := range r.status().Generation.Leaving {
		all = append(all, l.Address+": "+l.Because)
	}
	return all
}

// TestWhoDidItUndoesIt: an action is swapped for another plugin's, changed or removed
// while it holds something, with and without a restart of the core. Its undo goes to who
// did it, by its block as it was, and to nobody else; then that one leaves.
func TestWhoDidItUndoesIt(t *testing.T) {
	fence := "action \"north\" \"fence\" {\n  notes = \"notes\"\n}"
	south := "action \"south\" \"fence\" {\n  notes = \"notes\"\n}"
	elsewhere := "action \"south\" \"elsewhere\" {\n  notes = \"notes\"\n}"
	for name, to := range map[string][]string{
		"another plugin":        {fence, south},
		"another configuration": {fence, strings.Replace(fence, "notes\"\n}", "notes\"\n  mark = \"x\"\n}", 1)},
		"removed":               {fence, elsewhere, "do         = action.fence", "do         = action.elsewhere"},
	} {
		for _, restart := range []string{"by a reload", "by a restart", "by a reload before a restart"} {
			t.Run(name+" "+restart, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, blocking)
				w.ownPlugins()
				w.twin("north", "1.0.0", 1)
				w.twin("south", "1.0.0", 1)
				r := w.live(nil)
				r.until("the hold", func() bool { return r.hold().State == model.HoldInForce })
				w.configure(edit(t, blocking, to...))
				if strings.HasPrefix(restart, "by a reload") {
					if a := r.apply(false); a.Outcome != api.Applied {
						t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
					}
				}
				if strings.HasSuffix(restart, "restart") {
					r.end()
					r = w.live(nil)
				}
				want := []string{"action.fence: it holds block indicator of 198.51.100.1"}
				r.until("who did it", func() bool { return slices.Equal(r.leaving(), want) })
				r.release()
				r.until("the release", func() bool { return r.hold().State == model.HoldReleased })
				r.until("the end of who did it", func() bool { return len(r.leaving()) == 0 })
				r.end()

				key := strings.Fields(w.noted("act")[0])[2]
				if got := w.noted("act"); len(got) != 1 || !strings.HasPrefix(got[0], "north act ") {
					t.Errorf("done: %q", got)
				}
				if got, want := w.noted("undo"), []string{fmt.Sprintf("north undo %s north", key)}; !slices.Equal(got, want) {
					t.Errorf("undone: %q, want %q", got, want)
				}
			})
		}
	}
}

// TestSwappedDuringACall: what an action does while it is swapped is held by it as well,
// and it stays until that is undone.
func TestSwappedDuringACall(t *testing.T) {
	w := newWorld(t, edit(t, blocking, "action \"north\" \"fence\" {", "action \"north\" \"fence\" {\n  after = \"answer\""))
	w.ownPlugins()
	w.twin("north", "1.0.0", 1)
	w.twin("south", "1.0.0", 1)
	r := w.live(nil)
	r.until("the call", func() bool { return len(w.noted("act")) == 1 })
	w.configure(edit(t, blocking, `action "north"`, `action "south"`))
	if a := r.apply(false); a.Outcome != api.Applied {
		t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
	}
	want := []string{"action.fence: steps wait for what became of them"}
	r.until("who is called", func() bool { return slices.Equal(r.leaving(), want) })
	w.write("answer", "")
	want = []string{"action.fence: it holds block indicator of 198.51.100.1"}
	r.until("who did it", func() bool { return slices.Equal(r.leaving(), want) })
	r.release()
	r.until("the release", func() bool { return r.hold().State == model.HoldReleased })
	r.until("the end of who did it", func() bool { return len(r.leaving()) == 0 })
	r.end()
	if got := w.noted("undo"); len(got) != 1 || !strings.HasPrefix(got[0], "north undo ") || !strings.HasSuffix(got[0], " north") {
		t.Errorf("undone: %q", got)
	}
}

// TestSwappedAndRemoved: an action holds something, is swapped for another, and that one is
// removed: who did it still undoes it, also where it had to be brought back.
func TestSwappedAndRemoved(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "by reloads", true: "by a restart and a reload"}[restart], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, blocking)
			w.ownPlugins()
			w.twin("north", "1.0.0", 1)
			w.twin("south", "1.0.0", 1)
			r := w.live(nil)
			r.until("the hold", func() bool { return r.hold().State == model.HoldInForce })
			w.configure(edit(t, blocking, `action "north"`, `action "south"`))
			if restart {
				r.end()
				r = w.live(nil)
			} else if a := r.apply(false); a.Outcome != api.Applied {
				t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
			}
			w.configure(edit(t, blocking, `action "north" "fence"`, `action "south" "elsewhere"`, "action.fence", "action.elsewhere"))
			if a := r.apply(false); a.Outcome != api.Applied {
				t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
			}
			want := []string{"action.fence: it holds block indicator of 198.51.100.1"}
			r.until("who did it, alone", func() bool { return slices.Equal(r.leaving(), want) })
			r.release()
			r.until("the end of the order", func() bool {
				s := r.hold().State
				return s == model.HoldReleased || s == model.HoldStuck
			})
			if h := r.hold(); h.State != model.HoldReleased {
				t.Errorf("it is %s: %s", h.State, h.Message)
			}
			r.end()
			if got := w.noted("undo"); len(got) != 1 || !strings.HasPrefix(got[0], "north undo ") {
				t.Errorf("undone: %q", got)
			}
		})
	}
}

// TestWhoDidItCantBeBroughtBack: then its undo is nobody else's, and comes before a person.
func TestWhoDidItCantBeBroughtBack(t *testing.T) {
	south := edit(t, blocking, `action "north"`, `action "south"`, `detector "north"`, `detector "south"`)
	for name, c := range map[string]struct {
		first string // the configuration in which it was done
		lose  func(w *world)
		why   string
	}{
		"its plugin is not locked any more": {
			first: blocking,
			lose: func(w *world) {
				i := slices.IndexFunc(w.lock.Plugins, func(p host.LockedPlugin) bool { return p.Name == "north" })
				w.lock.Plugins = slices.Delete(slices.Clone(w.lock.Plugins), i, i+1)
			},
			why: `its plugin "north" is not locked any more`,
		},
		"its secret is gone": {
			first: edit(t, blocking, "action \"north\" \"fence\" {", "action \"north\" \"fence\" {\n  token = secret(\"north\")"),
			lose:  func(w *world) { w.check(os.Remove(w.path("north"))) },
			why:   "Secret not found",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.first)
			w.ownPlugins()
			w.twin("north", "1.0.0", 1)
			w.twin("south", "1.0.0", 1)
			w.write("north", "hunter2")
			r := w.live(nil)
			r.until("the hold", func() bool { return r.hold().State == model.HoldInForce })
			r.end()
			w.configure(south)
			c.lose(w)
			r = w.live(nil)
			r.until("the trouble", func() bool {
				return slices.ContainsFunc(r.status().Troubles, func(t api.Trouble) bool {
					return strings.Contains(t.What, "action.fence holds something") && strings.Contains(t.What, c.why)
				})
			})
			r.release()
			r.until("a person's turn", func() bool { return r.hold().State == model.HoldStuck })
			if h := r.hold(); !strings.Contains(h.Message, errGone.Error()) {
				t.Errorf("it says: %q", h.Message)
			}
			r.end()
			if got := w.noted("undo"); len(got) > 0 {
				t.Errorf("undone: %q", got)
			}
			if got := w.readFile(filepath.Base(w.path("notes"))); strings.Contains(got, "hunter2") {
				t.Error("a secret is written down")
			}
		})
	}
}
