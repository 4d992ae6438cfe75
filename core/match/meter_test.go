package match

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/examples/suricata/eve"
)

// TestMeter: of so many events one is measured, and each part of its way is entered.
func TestMeter(t *testing.T) {
	g, err := eve.New(eve.Options{Seed: 1, Kinds: []eve.Kind{eve.Alert}})
	if err != nil {
		t.Fatal(err)
	}
	b := batch()
	for range 10*MeasuredOf + MeasuredOf/2 {
		b.Events = append(b.Events, batch(string(g.Append(nil))).Events...)
	}
	w := NewWorker(suricata(t))
	w.meter = NewMeter()
	w.Match(b, 1)
	uses := w.meter.Uses()
	if len(uses) != 2 || uses[0].Of != "pipeline.ids" || uses[1].Of != "rule.beacon" {
		t.Fatalf("%+v", uses)
	}
	for _, u := range uses {
		if u.Each() <= 0 || u.Each() > time.Second || u.Matched > u.Events {
			t.Errorf("%+v, %s each", u, u.Each())
		}
	}
	// What is ignored comes to no rule.
	if p, r := uses[0], uses[1]; p.Events != 10 || p.Matched == 0 || r.Events != p.Matched {
		t.Errorf("%+v, %+v", p, r)
	}
	if allocs := testing.AllocsPerRun(20, func() { w.lap().begin() }); allocs > 0 {
		t.Errorf("%v allocations to measure", allocs)
	}
}

// TestNoMeter: nothing is measured, and nothing is missed.
func TestNoMeter(t *testing.T) {
	var m *Meter
	if m.Uses() != nil {
		t.Error("a nil meter has measured")
	}
	w := NewWorker(suricata(t))
	for range 2 * MeasuredOf {
		if w.lap() != nil {
			t.Fatal("an event is measured")
		}
	}
}
