package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
)

// known is a configuration whose four alerts are looked up, and have their addresses
// blocked until a person lets them go.
func known(t *testing.T) string {
	return edit(t, blocking, "events = 1\n  every  = 1\n", "events = 40\n  every  = 10\n",
		"from    = [detector.count]", "from    = [detector.count]\n  when    = event.raw.kind == \"alert\" && event.source == \"detector.count\"") + `
enrichment "north" "reputation" {
  notes = "notes"
  takes = ["ip"]
}
`
}

// renamed is the same with another name for everything, to what it was.
func renamed(t *testing.T, text string) string {
	for kind, names := range renames {
		was, is := kind+"."+names[0], kind+"."+names[1]
		text = strings.ReplaceAll(text, was, is)
		for _, label := range []string{kind + " \"north\" ", kind + " "} {
			text = strings.Replace(text, label+`"`+names[0]+`" {`, label+`"`+names[1]+`" {`, 1)
		}
		text += fmt.Sprintf("\nmoved {\n  from = %s\n  to   = %s\n}\n", was, is)
	}
	return text
}

var renames = map[string][2]string{
	"detector": {"count", "edge"}, "pipeline": {"alerts", "edge_alerts"}, "enrichment": {"reputation", "opinion"},
	"action": {"fence", "wall"}, "response": {"block", "stop"},
}

// get asks the API as the commands do.
func (r *running) get(path string) string {
	r.w.t.Helper()
	answer := httptest.NewRecorder()
	r.k.Handler().ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	if answer.Code != 200 {
		r.w.t.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func (r *running) inForce() int {
	n, err := r.k.Store().HoldCounts(r.w.t.Context())
	r.w.check(err)
	return n[model.HoldInForce]
}

// TestRenamed: everything gets another name while it is in use. Nothing is read, asked,
// counted or done again; an alert that grows later is the one that it was, what was held
// is let go by the new name, and everything is shown under that.
func TestRenamed(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "by a reload", true: "by a restart"}[restart], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, known(t))
			w.ownPlugins()
			w.twin("north", "1.0.0", 1)
			r := w.live(nil)
			r.until("the holds", func() bool { return r.inForce() == 4 && r.counted() == 40 })
			detected := w.noted("detect")

			text := renamed(t, known(t))
			w.configure(text)
			a := r.apply(true)
			var moved []string
			for _, c := range a.Instances {
				if c.What != config.Moved {
					t.Errorf("%s is %s: %s", c.Address, c.What, c.Because)
				}
				moved = append(moved, c.From+" "+c.Address)
			}
			if diff := cmp.Diff([]string{"action.fence action.wall", "detector.count detector.edge", "enrichment.reputation enrichment.opinion"}, moved); diff != "" {
				t.Error("moved:", diff)
			}
			for _, p := range a.Parts {
				if p.What == config.Added || p.What == config.Removed {
					t.Errorf("%s is %s", p.Address, p.What)
				}
			}
			if restart {
				r.end()
				r = w.live(nil)
			} else if a := r.apply(false); a.Outcome != api.Applied {
				t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
			}
			if got := w.noted("detect"); !restart && !slices.Equal(got, detected) {
				t.Errorf("sessions: %q, were %q", got, detected)
			}
			// Shown under the new names, and under no other.
			for path, want := range map[string]string{
				"/v1/status": "detector.edge", "/v1/holds": "action.wall", "/v1/intents": "response.stop",
				"/v1/ledger": "detector.edge", "/v1/ledger?source=detector.edge": `"source":"detector.edge"`,
				"/v1/cases/" + r.hold().Owners[0].Case: "pipeline.edge_alerts",
			} {
				got := r.get(path)
				if !strings.Contains(got, want) {
					t.Errorf("%s does not name %s:\n%s", path, want, got)
				}
				for kind, names := range renames {
					if old := kind + "." + names[0]; strings.Contains(got, `"`+old+`"`) {
						t.Errorf("%s names %s:\n%s", path, old, got)
					}
				}
			}

			// It goes on where it was.
			w.configure(edit(t, text, "events = 40", "events = 50"))
			if a := r.apply(false); a.Outcome != api.Applied {
				t.Fatalf("%s: %s", a.Outcome, a.Error)
			}
			r.until("what is new", func() bool { return r.inForce() == 5 && r.counted() == 50 })
			if got := w.noted("detect"); got[len(got)-1] != "north detect north:40" {
				t.Errorf("sessions: %q", got)
			}
			// Every alert grows.
			w.configure(edit(t, text, "events = 40", "events = 50\n  again  = true"))
			if a := r.apply(false); a.Outcome != api.Applied {
				t.Fatalf("%s: %s", a.Outcome, a.Error)
			}
			r.until("what has grown", func() bool { return r.counted() == 100 })
			holds, err := r.k.Store().Holds(t.Context(), false)
			w.check(err)
			for _, h := range holds {
				w.check(r.k.Order(t.Context(), model.Command{Kind: model.ReleaseHold, Hold: h.ID, By: "kim", Because: "it is clean"}))
			}
			r.until("the releases", func() bool { return len(w.noted("undo")) == 5 && r.inForce() == 0 })
			signals, err := r.k.Store().CaseSignals(t.Context(), holds[0].Owners[0].Case, true)
			w.check(err)
			if len(signals) != 1 || !strings.Contains(string(signals[0].Raw), "grown") {
				t.Errorf("the case has %d signals: %s", len(signals), signals[0].Raw)
			}
			o := w.outcome(r.k)
			if o.counts.Signals != 5 || len(o.cases) != 5 || o.matched != 10 {
				t.Errorf("%d signals, %d cases, %d matched", o.counts.Signals, len(o.cases), o.matched)
			}
			r.end()
			if acts, asks := len(w.noted("act")), len(w.noted("enrich")); acts != 5 || asks != 5 {
				t.Errorf("%d effects and %d questions, want 5 of each", acts, asks)
			}
			if got := w.noted("open"); slices.ContainsFunc(got[3:], func(line string) bool { return !strings.HasSuffix(line, " north") }) {
				t.Errorf("a folder is not the one that it was: %q", got)
			}
		})
	}
}

// TestWhatIsNotMoved: what can't be moved is refused, and what begins anew is warned of.
func TestWhatIsNotMoved(t *testing.T) {
	w := newWorld(t, blocking)
	w.ownPlugins()
	w.twin("north", "1.0.0", 1)
	w.twin("south", "1.0.0", 1)
	r := w.live(nil)
	r.until("the hold", func() bool { return r.inForce() == 1 })
	move := "\nmoved {\n  from = detector.count\n  to   = detector.edge\n}\n"
	edge := edit(t, blocking, `"north" "count"`, `"north" "edge"`, "[detector.count]", "[detector.edge]")
	w.configure(edit(t, edge, `"north" "edge"`, `"south" "edge"`) + move)
	a := r.apply(false)
	if a.Outcome != api.Refused || !strings.Contains(string(a.Diagnostics), "Moved to another plugin") {
		t.Errorf("another plugin: %s %s", a.Outcome, a.Diagnostics)
	}
	w.configure(edge + move)
	if a = r.apply(false); a.Outcome != api.Applied {
		t.Fatalf("moved: %s %s", a.Outcome, a.Error)
	}
	w.configure(edge)
	a = r.apply(false)
	var warned []config.Message
	w.check(json.Unmarshal(a.Diagnostics, &warned))
	if a.Outcome != api.Applied || !slices.ContainsFunc(warned, func(m config.Message) bool { return m.Summary == "Starts anew" && m.Severity == "warning" }) {
		t.Errorf("without the block: %s %s", a.Outcome, a.Diagnostics)
	}
	r.until("all again", func() bool { return r.counted() == 2 })
	r.end()
	if got := w.noted("detect"); !slices.Equal(got, []string{"north detect", "north detect"}) {
		t.Errorf("sessions: %q", got)
	}
	// A start tells it in the log.
	w.configure(edge + move)
	hash := w.options(false).Config.Hash
	r = w.live(nil)
	r.until("the configuration", func() bool { return r.status().Config == hash })
	r.end()
	if strings.Contains(w.log.String(), "Starts anew") {
		t.Error("the log warns of what is as it was")
	}
	w.configure(edge)
	r = w.live(nil)
	r.until("the warning", func() bool { return strings.Contains(w.log.String(), "Starts anew") })
	r.end()
}

// TestAChainThatIsCut: the first of two moved blocks is gone. The block would lose what it
// was, and all be read again: neither a reload nor a start takes that.
func TestAChainThatIsCut(t *testing.T) {
	named := func(name string, moves ...string) string {
		text := edit(t, blocking, `"north" "count"`, `"north" "`+name+`"`, "[detector.count]", "[detector."+name+"]")
		for _, from := range moves {
			text += fmt.Sprintf("\nmoved {\n  from = detector.%s\n  to   = detector.%s\n}\n", from, name)
		}
		return text
	}
	w := newWorld(t, named("count"))
	w.ownPlugins()
	w.twin("north", "1.0.0", 1)
	r := w.live(nil)
	r.until("the hold", func() bool { return r.inForce() == 1 })
	w.configure(named("edge", "count"))
	if a := r.apply(false); a.Outcome != api.Applied {
		t.Fatalf("moved: %s %s", a.Outcome, a.Error)
	}
	w.configure(named("rim", "edge"))
	if a := r.apply(false); a.Outcome != api.Refused || !strings.Contains(string(a.Diagnostics), "from detector.count to detector.rim") {
		t.Errorf("cut: %s %s", a.Outcome, a.Diagnostics)
	}
	r.end()
	k := w.open()
	var refused *RefusedError
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := k.Run(ctx, w.options(false)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "Moved on") {
		t.Errorf("a start: %v", err)
	}
	w.check(k.Close())
	w.configure(named("rim", "count"))
	r = w.live(nil)
	r.until("the session", func() bool { return len(w.noted("detect")) == 2 })
	r.end()
	if got := w.noted("detect"); !slices.Equal(got, []string{"north detect", "north detect north:1"}) {
		t.Errorf("sessions: %q", got)
	}
}
