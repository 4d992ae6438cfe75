package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// twin puts a build of testdata/twin into the plugin folder, under a name and with a
// version of its cursors, and locks it.
func (w *world) twin(name, version string, cursors int) {
	w.t.Helper()
	path := filepath.Join(w.plugins, name)
	from, err := builtTwin(name, version, cursors)
	w.check(err)
	w.check(os.Link(from, path+".new"))
	w.check(os.Rename(path+".new", path))
	plugin, sum, err := host.Inspect(w.t.Context(), path)
	w.check(err)
	if w.known == nil {
		w.known = slices.Clone(built.all)
	}
	w.known = append(slices.DeleteFunc(w.known, func(p model.Plugin) bool { return p.Name == name }), plugin)
	w.lock = host.Lock{Plugins: append(
		slices.DeleteFunc(slices.Clone(w.lock.Plugins), func(p host.LockedPlugin) bool { return p.Name == name }),
		host.LockedPlugin{Name: name, Version: plugin.Version, SHA256: map[string]string{host.Platform(): sum}},
	)}
	w.check(config.WriteSchemas(w.dir, w.known))
	w.check(config.WriteLock(w.dir, w.lock))
}

// builtTwin builds each twin once.
func builtTwin(name, version string, cursors int) (string, error) {
	built.twins.Lock()
	defer built.twins.Unlock()
	path := filepath.Join(built.dir, fmt.Sprintf("twin-%s-%s-%d", name, version, cursors))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	flags := fmt.Sprintf("-s -w -X main.name=%s -X main.version=%s -X main.cursors=%d", name, version, cursors)
	if out, err := exec.Command("go", "build", "-ldflags="+flags, "-o", path, "./testdata/twin").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// counting is a configuration of a twin's detector, whose alerts are told to nobody.
const counting = `
kelpie {
  actions = "on"
}

detector "north" "count" {
  notes  = "notes"
  events = 300
  every  = 10
}

pipeline "alerts" {
  from    = [detector.count]
  when    = event.raw.kind == "alert"
  alerts  = true
  respond = [response.tell]

  map {
    title      = "alert of ${event.raw.from}"
    time       = event.raw.time
    severity   = 70
    indicators = { ip = event.raw.from }
  }
}

score {
  preset = "balanced"
}

response "tell" {
  when = case.score.total >= 10

  step "note" {
    do = action.sink.notify
    to = "soc@example.org"
  }
}

action "counter" "sink" {
  file = "calls"
}
`

// noted are the lines that twins have written.
func (w *world) noted(word string) []string {
	var all []string
	for line := range strings.Lines(w.readFile("notes")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == word {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// TestAnotherPluginsCursorIsNotUsed: a vendor is swapped by changing the label, while
// Kelpie runs and while it does not. The new one begins at its source's beginning, in a
// folder of its own, and that is said; the old one's cursor is nobody else's.
func TestAnotherPluginsCursorIsNotUsed(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "by a reload", true: "by a restart"}[restart], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, counting)
			w.ownPlugins()
			w.twin("north", "1.0.0", 1)
			w.twin("south", "1.0.0", 1)
			r := w.live(nil)
			r.until("all of north's events", func() bool { return r.counted() == 300 })

			south := edit(t, counting, `detector "north"`, `detector "south"`, "events = 300", "events = 500")
			w.configure(south)
			why := "starts from the beginning: the cursor is plugin north's"
			if restart {
				r.end()
				r = w.live(nil)
			} else {
				a := r.apply(false)
				i := slices.IndexFunc(a.Instances, func(c api.InstanceChange) bool { return c.Address == "detector.count" })
				if a.Outcome != api.Applied || i < 0 || a.Instances[i].What != host.Replaced || !strings.Contains(a.Instances[i].Because, why) {
					t.Fatalf("%s: %s %+v", a.Outcome, a.Error, a.Instances)
				}
				left := r.k.running.changes.left
				if len(left) != 1 || left[0].source.Maker != "north" || left[0].source.Version != a.Before || left[0].until == 0 {
					t.Errorf("what north has reported is matched by %+v", left)
				}
			}
			r.until("all of south's events", func() bool { return r.counted() == 800 })
			r.end()
			if !strings.Contains(w.log.String(), why) {
				t.Error("the log does not say so")
			}
			// The same plugin, whatever happens to it, goes on where it was.
			w.configure(edit(t, south, "events = 500", "events = 600"))
			r = w.live(nil)
			r.until("what south has more", func() bool { return r.counted() == 900 })
			r.end()

			if diff := cmp.Diff([]string{"north detect", "south detect", "south detect south:500"}, w.noted("detect")); diff != "" {
				t.Error("the sessions:", diff)
			}
			// A folder that another plugin has used is never given to one.
			if diff := cmp.Diff([]string{"north open 1.0.0", "south open 1.0.0", "south open 1.0.0 south"}, w.noted("open")); diff != "" {
				t.Error("the folders:", diff)
			}
		})
	}
}

// TestASessionIsForItsOwnConnector: while a vendor is swapped a session of before may be
// tried again, with the cursor of before. It does not begin at who has the address by then.
func TestASessionIsForItsOwnConnector(t *testing.T) {
	w := newWorld(t, counting)
	w.ownPlugins()
	w.twin("north", "1.0.0", 1)
	r := w.live(nil)
	r.until("all events", func() bool { return r.counted() == 300 })
	for _, before := range []eventlog.Maker{
		{Plugin: "south", CursorVersion: 1}, {Plugin: "north", Connector: "other", CursorVersion: 1}, {Plugin: "north", CursorVersion: 2},
	} {
		in := detect.Instance{Address: "detector.count", Maker: before}
		s, err := (detectors{r.k.running.host}).Open(t.Context(), in, []byte(before.Plugin+":7"), false)
		if !errors.Is(err, errSwapped) {
			t.Errorf("of %+v: %v", before, err)
		}
		if err == nil {
			s.Close()
		}
	}
	r.end()
	if got := w.noted("detect"); len(got) != 1 {
		t.Errorf("sessions: %q", got)
	}
}

// TestACursorOfANewerBuildIsRefused: an older build would misread it. A reload is refused,
// and a start goes on without that detector and says why.
func TestACursorOfANewerBuildIsRefused(t *testing.T) {
	w := newWorld(t, counting)
	w.ownPlugins()
	w.twin("north", "2.0.0", 2)
	r := w.live(nil)
	r.until("all events", func() bool { return r.counted() == 300 })

	w.twin("north", "1.0.0", 1)
	a := r.apply(false)
	const why = "the cursor is of a newer build of plugin north: it has version 2, and this build knows up to 1"
	if a.Outcome != api.Refused || !strings.Contains(strings.ToLower(string(a.Diagnostics)), why) {
		t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
	}
	r.end()
	r = w.live(nil)
	r.until("the refusal", func() bool {
		d := r.status().Detectors[0]
		return d.State == "troubled" && strings.Contains(d.Message, why)
	})
	r.end()

	// The newer build goes on, and so does one that is newer still.
	w.twin("north", "3.0.0", 3)
	w.configure(edit(t, counting, "events = 300", "events = 400"))
	r = w.live(nil)
	r.until("the rest", func() bool { return r.counted() == 400 })
	r.end()
	if diff := cmp.Diff([]string{"north detect", "north detect north:300"}, w.noted("detect")); diff != "" {
		t.Error("the sessions:", diff)
	}
}
