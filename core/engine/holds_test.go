//go:build unix

package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	vendor "github.com/kelpie-sec/kelpie/core/faulttest/contain/world"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// fenced is a configuration that contains what alerts name, each by the verb that the
// alert names, for a second.
const fenced = `
kelpie {
  actions = "on"
}

detector "file" "feed" {
  path     = "feed.json"
  interval = "10ms"
}

template "alert" {
  map {
    title    = event.raw.host
    time     = event.raw.time
    severity = 90
    subjects = { host = event.raw.host, user = event.raw.user }
  }
}

pipeline "isolate" {
  from    = [detector.feed]
  use     = template.alert
  when    = event.raw.verb == "isolate_host"
  alerts  = true
  respond = [response.isolate]
}

pipeline "disable" {
  from    = [detector.feed]
  use     = template.alert
  when    = event.raw.verb == "disable_account"
  alerts  = true
  respond = [response.disable]
}

pipeline "block" {
  from    = [detector.feed]
  use     = template.alert
  when    = event.raw.verb == "contain.block"
  alerts  = true
  respond = [response.block]
}

enrichment "table" "hosts" {
  internal = true
  path     = "hosts.csv"
  answer   = "asset"
  takes    = ["host"]
}

enrichment "table" "people" {
  internal = true
  path     = "people.csv"
  answer   = "identity"
  takes    = ["user"]
}

score {
  preset = "balanced"
}

response "isolate" {
  step "isolate" {
    do         = action.fence.isolate_host
    targets    = case.hosts
    undo_after = "1s"
  }
}

response "disable" {
  step "disable" {
    do         = action.fence.disable_account
    targets    = case.users
    undo_after = "1s"
  }
}

response "block" {
  step "block" {
    do         = action.fence.contain.block
    targets    = case.hosts
    undo_after = "1s"
  }
}

action "contain" "fence" {
  world   = "fence.world"
  script  = "fence.script"
  timeout = "1s"
}
`

// trouble is a target whose first call goes wrong, and what is to come of it.
type trouble struct {
	op     vendor.Op
	do     string
	verb   string
	intent model.IntentState
	hold   model.HoldState // empty: none
	effect [2]int          // of execute and undo
}

func (c trouble) target() string {
	name := fmt.Sprintf("%s-%s-%s", c.verb, c.op, c.do)
	return strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(name)
}

// fence runs alerts about targets whose calls go wrong until all has come to its end.
func fence(t *testing.T, troubles []trouble) {
	w := newWorld(t, fenced)
	script, hosts, people, feed := "", "name,owner\n", "name,department\n", ""
	for i, c := range troubles {
		script += fmt.Sprintf("%s %s 1 %s\n", c.op, c.target(), c.do)
		if c.do == "" {
			script = strings.TrimSuffix(script, fmt.Sprintf("%s %s 1 \n", c.op, c.target()))
		}
		kind := "host"
		if c.verb == "disable_account" {
			kind = "user"
			people += c.target() + ",finance\n"
		} else {
			hosts += c.target() + ",kim@example.org\n"
		}
		feed += fmt.Sprintf(`{"verb":%q,%q:%q,"time":"2026-11-01T10:00:%02dZ"}`+"\n", c.verb, kind, c.target(), i)
	}
	w.write("fence.script", script)
	w.write("hosts.csv", hosts)
	w.write("people.csv", people)
	w.write("feed.json", feed)
	r := w.run()
	for _, c := range troubles {
		r.until(c.target(), func() bool { return settledAs(r, c) })
	}
	r.end()

	s, err := vendor.World{Path: w.path("fence.world")}.Read()
	w.check(err)
	for _, c := range troubles {
		effects := map[vendor.Op]int{}
		for _, e := range s.Entries {
			if e.Target == c.target() && e.What == vendor.Effect {
				effects[e.Op]++
			}
		}
		if got := [2]int{effects[vendor.Execute], effects[vendor.Undo]}; got != c.effect {
			t.Errorf("%s: %d times contained, %d times undone; want %v", c.target(), got[0], got[1], c.effect)
		}
	}
	for op, keys := range s.Effects {
		for key, n := range keys {
			if n > 1 {
				t.Errorf("%s %s took effect %d times", op, key, n)
			}
		}
	}
	for _, e := range s.Entries {
		// Where nobody can tell what became of a call, and the vendor does not know a
		// key again, there is one call.
		if e.Verb == "contain.block" && e.What == vendor.Called && s.Calls[e.Op][e.Key] > 1 {
			t.Errorf("%s: %s %s was repeated blindly", e.Target, e.Op, e.Key)
		}
	}
}

// settledAs tells whether the intent and the hold are as they are to be.
func settledAs(r *running, c trouble) bool {
	all, err := r.k.Store().Intents(r.w.t.Context(), store.IntentQuery{State: c.intent})
	r.w.check(err)
	for _, in := range all {
		if in.Target.Value != c.target() || in.Undoes != "" {
			continue
		}
		h, err := r.k.Store().Hold(r.w.t.Context(), in.Hold)
		return err == nil && h.State == c.hold || err != nil && c.hold == ""
	}
	return false
}

// TestContainmentThatGoesWrong: whatever becomes of calls and their answers, each effect
// is once, and what was done is undone, or a person is asked.
func TestContainmentThatGoesWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what calls may still do")
	}
	undone := func(op vendor.Op, do, verb string) trouble {
		return trouble{op, do, verb, model.IntentUndone, model.HoldReleased, [2]int{1, 1}}
	}
	var all []trouble
	for _, verb := range []string{"isolate_host", "disable_account"} {
		all = append(all, undone(vendor.Execute, "", verb))
		for _, op := range []vendor.Op{vendor.Execute, vendor.Undo} {
			for _, do := range []string{"lose", "late 300ms", "late 1400ms", "slow 300ms", "hang", "hang-after", "fail"} {
				all = append(all, undone(op, do, verb))
			}
		}
	}
	const block = "contain.block"
	all = append(all,
		undone(vendor.Execute, "", block),
		trouble{vendor.Execute, "lose", block, model.IntentUnknown, "", [2]int{1, 0}},
		trouble{vendor.Execute, "hang", block, model.IntentUnknown, "", [2]int{0, 0}},
		trouble{vendor.Execute, "late 300ms", block, model.IntentUnknown, "", [2]int{1, 0}},
		trouble{vendor.Execute, "refuse", block, model.IntentRefused, "", [2]int{0, 0}},
		trouble{vendor.Undo, "lose", block, model.IntentDone, model.HoldUnknown, [2]int{1, 1}},
		trouble{vendor.Undo, "hang", block, model.IntentDone, model.HoldUnknown, [2]int{1, 0}},
		trouble{vendor.Undo, "late 900ms", block, model.IntentDone, model.HoldUnknown, [2]int{1, 1}},
		trouble{vendor.Undo, "refuse", block, model.IntentDone, model.HoldStuck, [2]int{1, 0}},
	)
	fence(t, all)
}

// TestContainmentWhosePluginCrashes: before the effect, after it, and while it is on its
// way.
func TestContainmentWhosePluginCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what calls may still do")
	}
	for _, op := range []vendor.Op{vendor.Execute, vendor.Undo} {
		for _, do := range []string{"crash", "crash-after", "crash-late 500ms"} {
			t.Run(string(op)+" "+do, func(t *testing.T) {
				fence(t, []trouble{{op, do, "isolate_host", model.IntentUndone, model.HoldReleased, [2]int{1, 1}}})
			})
		}
	}
}

// TestAHoldEndsInTime: not before, and within seconds.
func TestAHoldEndsInTime(t *testing.T) {
	w := newWorld(t, fenced)
	w.write("hosts.csv", "name,owner\nws-1,kim@example.org\n")
	w.write("people.csv", "name,department\n")
	w.write("feed.json", `{"verb":"isolate_host","host":"ws-1","time":"2026-11-01T10:00:00Z"}`+"\n")
	r := w.run()
	c := trouble{intent: model.IntentUndone, hold: model.HoldReleased}
	r.until("the release", func() bool {
		all, err := r.k.Store().Intents(t.Context(), store.IntentQuery{State: c.intent})
		w.check(err)
		return len(all) == 1
	})
	r.end()
	s, err := vendor.World{Path: w.path("fence.world")}.Read()
	w.check(err)
	var at []time.Duration
	for _, e := range s.Entries {
		if e.What == vendor.Effect {
			at = append(at, e.At)
		}
	}
	if len(at) != 2 || at[1]-at[0] < time.Second || at[1]-at[0] > 10*time.Second {
		t.Errorf("effects at %v: want a second between, and not much more", at)
	}
}
