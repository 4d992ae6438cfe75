package match

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
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

// TestReader: of the pipelines that let an event through the first names it, and a shadow
// is read by its connector's mapping, or as the first is.
func TestReader(t *testing.T) {
	pipeline := func(when, title, field string) Pipeline {
		return Pipeline{When: []*expr.Program{program(t, when, false)}, Map: Mapping{
			Title: program(t, `"`+title+`"`, false), Indicators: program(t, `{ ip = event.raw.`+field+` }`, false),
		}}
	}
	first := Source{Detector: "detector.a", Pipelines: []Pipeline{
		pipeline(`event.raw.n > 1`, "one", "a"), pipeline(`event.raw.n > 2`, "two", "b"),
	}}
	own := Source{Detector: "detector.b", Shadow: "detector.a", Mapping: Mapping{Title: program(t, `"own"`, false)}}
	alike := own
	alike.Alike = true
	for _, c := range []struct {
		source Source
		raw    string
		want   string
	}{
		{first, `{"n":1,"a":"192.0.2.1"}`, "1  []"},
		{first, `{"n":2,"a":"192.0.2.1","b":"192.0.2.2"}`, "0 one [192.0.2.1]"},
		{first, `{"n":3,"a":"192.0.2.1","b":"192.0.2.2"}`, "0 one [192.0.2.1 192.0.2.2]"},
		{first, `no JSON`, "2  []"},
		{own, `{"n":1,"a":"192.0.2.1"}`, "0 own [198.51.100.7]"},
		{alike, `{"n":2,"a":"192.0.2.1"}`, "0 one [192.0.2.1]"},
		{Source{Detector: "detector.gone"}, `{}`, "1  []"},
	} {
		e := model.Event{Raw: []byte(c.raw), Observables: []sdk.Observable{{Kind: sdk.IP, Value: "198.51.100.7", Role: sdk.Indicator}}}
		m, how := NewReader(c.source, first).Read(&model.Batch{Source: c.source.Detector}, &e)
		var values []string
		for _, o := range m.Observables {
			values = append(values, o.Value)
		}
		if got := fmt.Sprint(int(how), " ", m.Title, " ", values); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.raw, c.source.Detector, got, c.want)
		}
	}
}
