package match

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestTraceIsWhatMatchDoes: whatever comes, the steps that are told lead to the signals
// and the reason that Match gives.
func TestTraceIsWhatMatchDoes(t *testing.T) {
	s := suricata(t)
	second := s.Sources[0].Pipelines[0]
	second.Address, second.Alerts, second.When = "pipeline.all", false, nil
	second.Rules = append(second.Rules,
		Rule{Address: "rule.quiet", When: program(t, `event.severity < 5 || event.stopped`, false), Title: program(t, `upper(event.title)`, false)},
		Rule{Address: "rule.every"})
	second.Feeds = []Feed{
		{Rule: "rule.several", When: program(t, `event.severity > 5`, false), Group: model.Grouping{Kinds: []string{"ip"}}},
		{Rule: "rule.several", Term: 1, Value: program(t, `event.raw.alert.severity`, false), Numeric: true},
	}
	s.Sources[0].Pipelines = append(s.Sources[0].Pipelines, second)
	s.Sources = append(s.Sources, Source{Detector: "detector.shadow", Shadow: "detector.eve"})
	w, again := NewWorker(s), NewWorker(s)
	rapid.Check(t, func(t *rapid.T) {
		pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		raws := make([]string, rapid.IntRange(1, 4).Draw(t, "events"))
		for i := range raws {
			raws[i] = fmt.Sprintf(`{"event_type":%s,"timestamp":%s,"src_ip":%s,"alert":{"severity":%s,"signature":%s,"action":%s}%s`,
				pick("type", `"alert"`, `"dns"`, `null`, `7`), pick("time", `"2026-11-01T11:00:00Z"`, `"whenever"`, `"2199-01-01T00:00:00Z"`, `17e8`),
				pick("src", `"10.9.0.7"`, `"10.1.1.1"`, `"nobody"`, `null`, `["10.9.0.7","::1"]`), pick("severity", `1`, `2`, `3`, `"1"`, `1e300`),
				pick("signature", `"ET Beacon"`, `"scan"`, `null`, `{}`), pick("action", `"blocked"`, `"allowed"`, `null`), pick("end", `}`, `}`, `}`, ``, `,"event_type":1}`, ` ]`))
		}
		b := batch(raws...)
		b.Source = rapid.SampledFrom([]string{"detector.eve", "detector.eve", "detector.eve", "detector.shadow", "detector.nosuch"}).Draw(t, "source")
		b.Received = received.Add(time.Duration(rapid.SampledFrom([]int{0, 2}).Draw(t, "hours")) * time.Hour) // an ignore ends between
		res, rejected := w.Match(b, 7)
		reasons := map[int]string{}
		for _, r := range rejected {
			reasons[r.Index] = r.Reason
		}
		var signals []model.Signal
		var facts []model.Fact
		for i := range b.Events {
			got := again.Trace(b, i, 7, nil)
			if got.Reason != reasons[i] {
				t.Fatalf("%s: set aside for %q, and Match says %q", raws[i], got.Reason, reasons[i])
			}
			signals, facts = append(signals, got.Signals...), append(facts, got.Facts...)
			checkSteps(t, &got)
		}
		if diff := cmp.Diff(res.Signals, signals); diff != "" {
			t.Fatalf("%v: %s", raws, diff)
		}
		if diff := cmp.Diff(res.Facts, facts); diff != "" {
			t.Fatalf("%v: %s", raws, diff)
		}
	})
}

// checkSteps: what the steps report are the signals, in their order.
func checkSteps(t *rapid.T, got *Trace) {
	var want, told []string
	for _, g := range got.Signals {
		want = append(want, g.ID)
	}
	for _, f := range got.Pipelines {
		if f.Signal != "" {
			told = append(told, f.Signal)
		}
		for _, r := range f.Rules {
			if r.Signal != "" {
				told = append(told, r.Signal)
			}
		}
	}
	fed := 0
	for _, f := range got.Pipelines {
		for _, feed := range f.Feeds {
			fed += feed.Facts
		}
	}
	if fed != len(got.Facts) {
		t.Fatalf("the steps tell of %d facts, and there are %d", fed, len(got.Facts))
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Fatalf("the steps tell of other signals: %s", diff)
	}
}
