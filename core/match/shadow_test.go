package match

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestAShadowIsOnlyCounted: whatever its events are, nothing is set aside, ignored or
// reported.
func TestAShadowIsOnlyCounted(t *testing.T) {
	s := &Settings{Version: "v", Sources: []Source{{
		Detector: "detector.b", Shadow: "detector.a", Pipelines: []Pipeline{{Address: "pipeline.p", Alerts: true}},
	}}}
	b := &model.Batch{Source: "detector.b", Events: []model.Event{
		{ID: "1", Raw: []byte(`{}`)}, {ID: "2", Raw: []byte(`no JSON`)}, {ID: "3", Problem: "not read"},
	}}
	res, rejected := NewWorker(s).Match(b, 7)
	want := model.MatchResult{Seq: 7, Source: "detector.b", Config: "v", Counts: model.Counts{Shadow: map[string]int{"detector.a": 3}}}
	if diff := cmp.Diff(want, res); diff != "" || len(rejected) > 0 {
		t.Errorf("%s\nrejected %v", diff, rejected)
	}
	s.Sources[0].Shadow = ""
	if res, rejected := NewWorker(s).Match(b, 7); res.Counts.Matched != 1 || len(rejected) != 2 {
		t.Errorf("no shadow: %+v, %d rejected", res.Counts, len(rejected))
	}
}
