package match

import (
	"testing"

	"github.com/kelpie-sec/kelpie/examples/suricata/eve"
)

func TestExplain(t *testing.T) {
	s := &suricata(t).Sources[0]
	c := Explain(s, nil)
	if c.Source != "detector.eve" || c.Paths != 9 || c.Pass != 0 || len(c.Expressions) != 10 {
		t.Errorf("without a sample: %+v", c)
	}
	g, err := eve.New(eve.Options{Seed: 1, Kinds: []eve.Kind{eve.Alert}})
	if err != nil {
		t.Fatal(err)
	}
	sample := [][]byte{[]byte(`{"a": 1, "a": 2}`), []byte("no JSON")}
	for range 20 {
		sample = append(sample, g.Append(nil))
	}
	c = Explain(s, sample)
	if c.Unread != 2 || c.Pass <= 0 {
		t.Errorf("%d unread, want 2; a pass takes %s", c.Unread, c.Pass)
	}
	want := []string{
		"pipeline.ids when", "pipeline.ids when", "pipeline.ids map.title", "pipeline.ids map.severity", "pipeline.ids map.time", "pipeline.ids map.stopped",
		"pipeline.ids map.subjects", "pipeline.ids map.indicators", "ignore.scanner when", "rule.beacon when",
	}
	for i, e := range c.Expressions {
		if e.Of+" "+e.What != want[i] || e.Each <= 0 {
			t.Errorf("%d: %s %s takes %s, want %s", i, e.Of, e.What, e.Each, want[i])
		}
	}
}

func TestMatchAllocatesNothingForWhatPasses(t *testing.T) {
	g, err := eve.New(eve.Options{Seed: 1, AlertRatio: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	b := batch()
	for range 256 {
		raw := g.Append(nil)
		b.Events = append(b.Events, batch(string(raw)).Events...)
	}
	s := suricata(t)
	s.Sources[0].Pipelines[0].When = append(s.Sources[0].Pipelines[0].When, program(t, `event.raw.alert.severity == 0`, false))
	w := NewWorker(s)
	allocs := testing.AllocsPerRun(20, func() {
		if res, rejected := w.Match(b, 1); res.Counts.Passed != len(b.Events) || len(rejected) > 0 {
			t.Fatalf("%+v", res.Counts)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for %d events that pass, want none", allocs, len(b.Events))
	}
}
