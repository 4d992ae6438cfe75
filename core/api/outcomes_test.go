package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/model"
)

// someOutcomes are six cases: of a rule with a forecast, of one without, and of both.
func someOutcomes(w *world) {
	precision, loss, p, week := 0.75, 1000.0, 0.5, 14.0
	w.engine.rules = []measure.Rule{
		{Address: "rule.a", Author: "ann", Forecast: &measure.Forecast{PerWeek: &week, Precision: &precision, Loss: &loss, P: &p}},
		{Address: "rule.b", Author: "ann"},
		{Address: "rule.c"},
	}
	ended := func(id string, kind model.FindingKind, rules ...string) model.Case {
		k := someCase(id, 100)
		k.Rules = rules
		if kind != "" {
			k.State, k.Finding = model.CaseClosed, &model.Finding{Kind: kind, By: "kim", At: noon.Add(time.Hour), Loss: 10}
		}
		return k
	}
	w.commit(decide.Changes{
		Position: decide.Position{Seq: 9}, At: noon,
		Cases: []model.Case{
			ended("c-1", model.TruePositive, "rule.a"), ended("c-2", model.TruePositive, "rule.a", "rule.b"), ended("c-3", model.Benign, "rule.a"),
			ended("c-4", model.FalsePositive, "rule.a"), ended("c-5", "", "rule.b"), ended("c-6", "", "rule.gone"),
		},
		Ledger: []decide.Ledger{{Source: "detector.x", Hour: noon.Add(-7 * 24 * time.Hour), Tally: decide.Tally{
			Fired: map[string]int{"rule.a": 21, "rule.b": 2}, Asked: map[string]int{"rule.a": 3},
		}}},
	})
}

func TestRuleOutcomes(t *testing.T) {
	w := newWorld(t)
	someOutcomes(w)
	short := func(path string) (all []string) {
		var r OutcomesReport
		w.get(path, &r)
		for _, o := range r.Outcomes {
			text, err := json.Marshal([]any{o.Rule, o.Author, o.Cases, o.None, o.TruePositive, o.Benign, o.FalsePositive, o.Signals, o.Repeats, o.Lookups})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
		return all
	}
	since := noon.Add(-8 * 24 * time.Hour).Format(time.RFC3339)
	for path, want := range map[string][]string{
		"/v1/rules/outcomes?since=" + since: {
			`["rule.a","ann",4,0,2,1,1,21,17,3]`, `["rule.b","ann",2,1,1,0,0,2,0,0]`, `["rule.c","",0,0,0,0,0,0,0,0]`, `["rule.gone","",1,1,0,0,0,0,0,0]`,
		},
		"/v1/rules/outcomes?by=author&since=" + since: {
			`["","",1,1,0,0,0,0,0,0]`, `["","ann",6,1,3,1,1,23,17,3]`,
		},
		"/v1/rules/outcomes?rule=b&since=" + since: {`["rule.b","ann",2,1,1,0,0,2,0,0]`},
		"/v1/rules/outcomes?rule=rule.a&since=" + noon.Add(24*time.Hour).Format(time.RFC3339): {
			`["rule.a","ann",0,0,0,0,0,0,0,0]`,
		},
	} {
		if diff := cmp.Diff(want, short(path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	for path, want := range map[string]string{
		"/v1/rules/outcomes?rule=nobody":  "there is no rule nobody",
		"/v1/rules/outcomes?by=colour":    "by must be one of rule, author",
		"/v1/rules/outcomes?since=monday": "since must be a time",
		"/v1/rules/forecast?since=monday": "since must be a time",
	} {
		if code, body := w.do(http.MethodGet, path, nil); code < 400 || code >= 500 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestRuleForecast(t *testing.T) {
	w := newWorld(t)
	someOutcomes(w)
	var r ForecastReport
	w.get("/v1/rules/forecast", &r)
	if len(r.Rules) != 1 {
		t.Fatalf("%+v", r)
	}
	a := r.Rules[0]
	// 2 of 4 were right, and 0.75 was forecast: (2·0.25² + 2·0.75²)/4.
	if a.Span != 7*24*time.Hour || a.PerWeek != 21 || a.Brier == nil || *a.Brier != 0.3125 || *a.Known != 0.25 || !a.Attack || a.Loss != 40 {
		t.Errorf("%+v", a)
	}
	if want := measure.Within(0.5, a.Span) * 1000; a.Expected == nil || *a.Expected != want || len(r.Bins) != 1 || r.Bins[0].Observed.Of != 4 {
		t.Errorf("%+v, %+v", a, r.Bins)
	}
}

func TestEndOrders(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"c-aa11/end", `{"by":"ann","outcome":"bad luck"}`, 400, "a case ends as"},
		{"c-aa11/end", `{"outcome":"benign"}`, 400, "by whom"},
		{"c-aa11/end", `{"by":"ann","outcome":"benign","minutes":-1}`, 400, "minutes are"},
		{"c-aa11/end", `{"by":"ann","outcome":"benign","loss":-1}`, 400, "a loss is"},
		{"c-aa11/end", `{"by":"ann","outcome":"benign","because":"x"}`, 400, "no because"},
		{"c-aa11/end", `{"by":"ann","outcome":"benign","notes":"` + strings.Repeat("x", 5000) + `"}`, 400, "notes 4096"},
		{"c-aa11/end", `{"by":"ann","outcome":"benign","at":"2026-01-01"}`, 400, "unknown field"},
		{"c-nope/end", `{"by":"ann","outcome":"benign"}`, 404, "there is no case"},
		{"c-aa11/reopen", `{"by":"ann"}`, 400, "says why"},
		{"c-aa11/reopen", `{"by":"ann","because":"x","outcome":"benign"}`, 400, "has no outcome"},
		{"c-aa11/reopen", `{"by":"ann","because":"x"}`, 409, "nobody has ended it"},
		{"c-cc44/end", `{"by":"ann","outcome":"benign","notes":"n","minutes":3,"loss":4}`, 409, "has changed meanwhile"}, // this engine decides nothing
	} {
		code, body := w.do(http.MethodPost, "/v1/cases/"+c.path, strings.NewReader(c.body))
		if code != c.code || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %.80s: %d %s, want %d %s", c.path, c.body, code, body, c.code, c.want)
		}
	}
	want := []model.Command{{
		Kind: model.EndCase, By: "ann", Case: "c-aa11",
		Finding: &model.Finding{Kind: model.Benign, By: "ann", Notes: "n", Minutes: 3, Loss: 4},
	}}
	if diff := cmp.Diff(want, w.engine.orders); diff != "" {
		t.Error(diff)
	}
}
