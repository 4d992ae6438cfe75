package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/shadow"
	"github.com/kelpie-sec/kelpie/core/store"
)

// tried is what is tried beside the standard configuration.
const tried = `
enrichment "table" "names_b" {
  path   = "other.csv"
  takes  = ["ip"]
  shadow = enrichment.names
}

detector "file" "feed_b" {
  path     = "feed_b.json"
  interval = "10ms"
  shadow   = detector.feed
}
`

// newTrial is a world in which feed_b reports what feed does, but for its first alert, and
// one that feed has not.
func newTrial(t *testing.T, text string) *world {
	w := newWorld(t, text)
	w.write("other.csv", "cidr,disposition,score,confidence\n198.51.100.0/30,benign,0,90\n198.51.100.4/32,malicious,80,90\n198.51.100.5/32,malicious,80,90\n198.51.100.6/32,malicious,80,90\n")
	w.feed("feed.json", feed, 0, feed.Events)
	w.feed("feed_b.json", feed, 1, feed.Events-1)
	line := strings.NewReplacer("198.51.100.1", "203.0.113.99").Replace(feed.Line(0))
	reported, err := os.ReadFile(w.path("feed_b.json"))
	w.check(err)
	w.write("feed_b.json", string(reported)+line)
	return w
}

func (w *world) compare(k *Kelpie, window time.Duration) shadow.Report {
	w.t.Helper()
	r, err := k.Shadow(w.t.Context(), shadow.Query{Since: time.Now().Add(-time.Hour), Window: window})
	w.check(err)
	return r
}

// wantTrial looks at a report on the trial.
func wantTrial(t *testing.T, r shadow.Report) {
	t.Helper()
	if len(r.Enrichments) != 1 || len(r.Detectors) != 1 {
		t.Fatalf("%d enrichments, %d detectors", len(r.Enrichments), len(r.Detectors))
	}
	e := r.Enrichments[0]
	if e.First != "enrichment.names" || e.Shadow != "enrichment.names_b" || e.Questions != uint64(feed.Sources) || e.Asked != e.Questions {
		t.Errorf("%+v", e)
	}
	if e.Sides.First.Calls == 0 || e.Sides.Shadow.Calls == 0 || e.Sides.First.P99 == 0 || e.Sides.Shadow.P50 == 0 {
		t.Errorf("sides %+v", e.Sides)
	}
	words := []shadow.Words{{First: shadow.Malicious, Shadow: shadow.Malicious, Count: 3}, {First: shadow.Malicious, Shadow: shadow.Clean, Count: 3}}
	if diff := cmp.Diff(words, e.Words); diff != "" || e.Same != 3 || e.Observables != 6 || e.Failed+e.Waiting != 0 {
		t.Errorf("%+v %s", e, diff)
	}
	if len(e.Disagreements) != 3 || e.Disagreements[0].Observable.Value != "198.51.100.1" {
		t.Errorf("disagreements %+v", e.Disagreements)
	}
	c := e.Cases
	if c.Had != feed.Sources || c.Computed != c.Had || c.Same != 3 || len(c.NotComputed) != 0 || len(c.Furthest) != 3 || c.Furthest[0].Score <= c.Furthest[0].Shadow {
		t.Errorf("cases %+v", c)
	}
	d := r.Detectors[0]
	first, other := d.Sides.First, d.Sides.Shadow
	if first.Read != feed.Events || first.Held != feed.Events-feed.Alerts() || first.Both != feed.Alerts()-1 || first.Only != 1 {
		t.Errorf("first %+v", first)
	}
	if other.Read != feed.Events || other.Both != feed.Alerts()-1 || other.Only != 1 || other.OnlyTitles[0].Title != "alert of 203.0.113.99" {
		t.Errorf("shadow %+v", other)
	}
}

// TestShadowsChangeNothing: cases, scores and steps are those of a run without them; the
// report says how they compare, the ledger adds up and tells their events apart, and a
// replay decides the same.
func TestShadowsChangeNothing(t *testing.T) {
	without := newTrial(t, standard)
	want := without.once()

	w := newTrial(t, standard+tried)
	got := w.once()
	if got.scores != want.scores || got.calls != want.calls || got.received != 2*want.received || got.matched != want.matched || got.passed != want.passed {
		t.Errorf("with a shadow it is %+v, without %+v", got, want)
	}
	k := w.open()
	defer func() { w.check(k.Close()) }()
	wantTrial(t, w.compare(k, 0)) // of one time, to the millisecond

	rec := httptest.NewRecorder()
	k.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/v1/ledger", nil))
	var l api.Ledger
	w.check(json.Unmarshal(rec.Body.Bytes(), &l))
	for _, s := range l.Sources {
		shadow := map[string]map[string]int{"detector.feed_b": {"detector.feed": feed.Events}}[s.Source]
		if diff := cmp.Diff(shadow, s.Shadow); diff != "" || shadow != nil && (s.Matched+s.Passed+s.Fact > 0 || len(s.Ignored)+len(s.Rejected) > 0) {
			t.Errorf("%+v %s", s, diff)
		}
	}
	if !l.AddsUp || len(l.Sources) != 2 {
		t.Errorf("the ledger of %d sources does not add up: %v", len(l.Sources), l.Faults)
	}

	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Settings{Dir: dir})
	w.check(err)
	defer s.Close()
	at, err := k.store.Position(t.Context())
	w.check(err)
	replayWith(t, k, s, dir, at, 0, config.Compile)
	if diff := cmp.Diff(replayDump(t, k.store), replayDump(t, s)); diff != "" {
		t.Errorf("replayed it is another:\n%.2000s", diff)
	}
}

// TestAShadowThatBreaks in every call leaves everything else as it is, and is told.
func TestAShadowThatBreaks(t *testing.T) {
	for _, how := range []string{"hang", "exit"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newTrial(t, standard+`
enrichment "witness" "broken" {
  notes    = "notes"
  takes    = ["ip"]
  ask      = "`+how+`"
  timeout  = "200ms"
  patience = "300ms"
  shadow   = enrichment.names
}
`)
			r := w.run()
			r.until("the steps", func() bool { return w.outcome(r.k).counts.IntentsDone == feed.Sources })
			r.until("that it fails", func() bool {
				rep := w.compare(r.k, 0)
				return rep.Enrichments[0].Failed == feed.Sources && len(rep.Enrichments[0].Failures) > 0
			})
			w.outcome(r.k).want(t, feed)
			rep := w.compare(r.k, 0).Enrichments[0]
			if rep.Cases.Computed != feed.Sources || rep.Cases.Same != 0 {
				t.Errorf("cases %+v: what failed counts nothing", rep.Cases)
			}
			for _, tr := range r.status().Troubles {
				if strings.Contains(tr.What, "enrichment.names:") {
					t.Errorf("the first has trouble: %+v", tr)
				}
			}
			r.end()
		})
	}
}

// TestARenamedShadowIsReportedOn by its name of now, and by that of what it is compared with.
func TestARenamedShadowIsReportedOn(t *testing.T) {
	w := newTrial(t, standard+tried)
	k := w.open()
	defer func() { w.check(k.Close()) }()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	w.check(k.Run(ctx, w.options(true)))
	w.configure(edit(t, standard+tried, `"table" "names_b"`, `"table" "opinion"`, `"table" "names"`, `"table" "reputation"`,
		"enrichment.names\n", "enrichment.reputation\n") + `
moved {
  from = enrichment.names_b
  to   = enrichment.opinion
}

moved {
  from = enrichment.names
  to   = enrichment.reputation
}
`)
	w.check(k.Run(ctx, w.options(true)))
	for name, want := range map[string]error{
		"opinion": nil, "enrichment.opinion": nil, "reputation": nil, "names_b": shadow.ErrNoShadow, "enrichment.names": shadow.ErrNoShadow,
	} {
		r, err := k.Shadow(t.Context(), shadow.Query{Name: name, Since: time.Now().Add(-time.Hour)})
		if !errors.Is(err, want) || want == nil && (len(r.Enrichments) != 1 || r.Enrichments[0].Questions == 0) {
			t.Errorf("%s: %v, %d enrichments", name, err, len(r.Enrichments))
		}
	}
}

// TestShadowsComeAndGo with a change of the configuration: what counts keeps its process,
// and the questions from then on are compared.
func TestShadowsComeAndGo(t *testing.T) {
	w := newTrial(t, standard)
	r := w.live(nil)
	r.until("the calls", func() bool { return w.calls("calls") == feed.Sources })
	before := r.pids()
	w.configure(standard + tried)
	if a := r.apply(false); a.Outcome != api.Applied {
		t.Fatalf("%+v", a)
	}
	r.until("the shadow's events", func() bool { return r.counted() == 2*uint64(feed.Events) })
	if rep := w.compare(r.k, 0); rep.Enrichments[0].Questions != 0 || rep.Detectors[0].Sides.Shadow.Both != feed.Alerts()-1 {
		t.Errorf("%+v", rep)
	}
	more := faulttest.Model{Events: 1000, Sources: 9, Every: 10}
	w.feed("feed.json", more, 600, 400)
	r.until("questions about what is new", func() bool {
		rep := w.compare(r.k, 0).Enrichments[0]
		return rep.Asked >= 3 && rep.Observables == int(rep.Asked)
	})
	now := r.pids()
	for _, plugin := range []string{"file", "table"} {
		if len(before[plugin]) != 1 || len(now[plugin]) != 2 || now[plugin][0] != before[plugin][0] && now[plugin][1] != before[plugin][0] {
			t.Errorf("%s: processes %v, then %v", plugin, before[plugin], now[plugin])
		}
	}
	w.configure(standard)
	if a := r.apply(false); a.Outcome != api.Applied {
		t.Fatalf("%+v", a)
	}
	r.until("the end of the trial's processes", func() bool { return cmp.Equal(r.pids(), before) })
	if rep := w.compare(r.k, 0); len(rep.Enrichments)+len(rep.Detectors) != 0 {
		t.Errorf("%+v", rep)
	}
	r.end()
}

// TestRolesChange while events wait to be matched: what a detector reported as what counts
// becomes signals after it has come to be a shadow too, and what it reported as a shadow
// becomes none when it counts again.
func TestRolesChange(t *testing.T) {
	w := newWorld(t, standard)
	w.write("feed.json", "")
	w.write("feed_b.json", "")
	w.write("other.csv", "cidr,disposition\n")
	changed := edit(t, standard+tried, "from    = [detector.feed]", "from    = [detector.feed_b]",
		`"10ms"`+"\n}\n\npipeline", `"10ms"`+"\n  shadow   = detector.feed_b\n}\n\npipeline",
		"  shadow   = detector.feed\n", "")
	r := w.live(nil)
	// More messages than the matchers can have taken before they are held up.
	const part, parts = 10, matchWorkers + 4
	for round, text := range []string{changed, standard} {
		r.k.running.lead.add(maxLead)
		for n := range parts {
			from := (round*parts + n) * part
			w.feed("feed.json", feed, from, part)
			r.until("what is reported", func() bool {
				last, _, err := r.k.log.Last(t.Context(), "detector.feed")
				w.check(err)
				return last.Total == uint64(from+part)
			})
		}
		w.configure(text)
		if a := r.apply(false); a.Outcome != api.Applied {
			t.Fatalf("%+v", a)
		}
		r.k.running.lead.drop(maxLead)
		r.until("all events", func() bool { return r.counted() == uint64((round+1)*parts*part) })
		if o := w.outcome(r.k); o.matched != parts || o.passed != parts*(part-1) {
			t.Errorf("round %d: %d matched, %d passed; want %d and %d", round, o.matched, o.passed, parts, parts*(part-1))
		}
	}
	w.feed("feed.json", feed, 2*parts*part, part) // it counts again
	r.until("an alert", func() bool { return w.outcome(r.k).matched == parts+1 })
	r.end()
}
