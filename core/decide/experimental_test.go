package decide

import (
	"bytes"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestExperimental: a signal of an experimental rule is kept and counted, and nothing else
// comes of it, though it shares its values with a case and is grave enough for every step.
func TestExperimental(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", start, 90, "subject host:ws-17"))
	tried := func(id, revision string) model.Signal {
		s := sig(id, minutes(1), 100, "subject host:ws-17", "subject ip:192.0.2.7")
		s.Revision, s.Experimental = revision, true
		return s
	}
	c := f.signals(tried("s-2", "1"))
	if len(c.Experimental) != 1 || c.Experimental[0].ID != "s-2" || c.Experimental[0].Raw == nil {
		t.Errorf("kept %+v", c.Experimental)
	}
	if n := len(c.Signals) + len(c.Cases) + len(c.Members) + len(c.Asks) + len(c.Intents); n != 0 {
		t.Errorf("%d rows came of it: %+v", n, c)
	}
	if s := c.Sources[0].Sum; s.Signals != 1 || s.Experimental != 1 || s.Matched != 2 || s.Fired["pipeline.ids"] != 2 || s.Sum() != s.Received {
		t.Errorf("counted %+v", s)
	}
	// When the rule is promoted, the event that comes again is a signal as any.
	promoted := tried("s-2", "2")
	promoted.Experimental = false
	if c = f.signals(promoted); len(c.Signals) != 1 || len(c.Members) != 1 || len(c.Asks) == 0 {
		t.Errorf("promoted: %+v", c)
	}
	// And one that was a signal stays one when its rule is put back.
	if c = f.signals(tried("s-2", "3")); len(c.Experimental)+len(c.Signals)+len(c.Cases) != 0 || c.Sources[0].Sum.Repeated != 1 {
		t.Errorf("put back: %+v", c)
	}
}

// TestExperimentalOverSeveral: what a rule reports again as more comes is one signal, in
// whatever state the rule is.
func TestExperimentalOverSeveral(t *testing.T) {
	for _, tried := range []bool{false, true} {
		f := severalFeed(t, Rule{
			Address: "rule.many", Name: "many", Severity: number100(30), Terms: []Term{{Detectors: []string{"detector.ids"}}}, Experimental: tried,
			Watch: correlate.Watch{Rule: "rule.many", Kind: correlate.Count, Terms: 1, Least: 2, Within: time.Hour, Lateness: testLateness},
		})
		for range 6 {
			f.fact("rule.many", 0, f.now)
		}
		s := f.m.counts["detector.ids"].Sum
		if s.Signals+s.Experimental != 1 || s.Fired["rule.many"] != 1 {
			t.Errorf("experimental: %v, counted %+v", tried, s)
		}
	}
}

// TestExperimentalRunsOn: what the end of a run under --once has brought of an experimental
// rule counts once, when the next run reports it as well, and over a restart between them.
func TestExperimentalRunsOn(t *testing.T) {
	absence := correlate.Watch{Rule: "rule.gone", Kind: correlate.Absence, Terms: 2, Within: 20 * time.Minute, Lateness: testLateness}
	f := severalFeed(t,
		Rule{
			Address: "rule.gone", Name: "gone", Experimental: true, Watch: absence,
			Terms: []Term{{Detectors: []string{"detector.ids"}}, {Detectors: []string{"detector.ids"}}},
		},
		Rule{Address: "rule.seen", Name: "seen", Experimental: true, Single: true, Terms: []Term{{
			Detectors: []string{"detector.ids"}, Signals: []string{"pipeline.ids"},
		}}},
	)
	f.config("base", true)
	f.fact("rule.gone", 0, f.now)
	f.signals(sig("s-1", f.now, 50, "subject ip:10.1.2.3"))
	end := func() {
		t.Helper()
		f.apply(model.Input{Ended: &model.Ended{}})
		f.settle()
		for _, rule := range []string{"rule.gone", "rule.seen"} {
			if got := f.m.counts["detector.ids"].Sum.Fired[rule]; got != 1 {
				t.Errorf("%s is counted %d times", rule, got)
			}
		}
	}
	end()
	for range 2 {
		again := New(f.m.compile)
		if err := again.Restore(bytes.NewReader(snapshot(t, f.m))); err != nil {
			t.Fatal(err)
		}
		f.m = again
		f.config("base", true)
		end()
	}
}
