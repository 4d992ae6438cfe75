package match

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// feeds are pipelines that report nothing themselves.
func feeds(t testing.TB) *Settings {
	return &Settings{Version: "v1", Sources: []Source{{Detector: "detector.eve", Pipelines: []Pipeline{{
		Address: "pipeline.failed",
		When:    []*expr.Program{program(t, `event.raw.ok == false`, false)},
		Map:     Mapping{Subjects: program(t, `{ user = event.raw.user }`, false), Indicators: program(t, `{ ip = event.raw.from }`, false)},
		Ignores: []Ignore{{Address: "ignore.test", When: program(t, `event.raw.user == "test"`, true), Expires: received.AddDate(1, 0, 0)}},
		Feeds: []Feed{
			{Rule: "rule.many", Group: model.Grouping{Kinds: []string{"ip"}}, When: program(t, `event.raw.user != "kim"`, false)},
			{Rule: "rule.spread", Term: 1, Group: model.Grouping{Names: []string{"port"}}, Keys: []*expr.Program{program(t, `event.raw.port`, false)}, Value: program(t, `event.raw.names`, false)},
			{Rule: "rule.bytes", Value: program(t, `event.raw.bytes`, false), Numeric: true},
			{Rule: "rule.users", Kind: "user"},
		},
	}}}}}
}

func TestFacts(t *testing.T) {
	b := batch(
		`{"ok":false,"user":"bob","from":"203.0.113.7","port":22,"names":["a","b","a"],"bytes":1.5}`,
		`{"ok":false,"user":["kim","lee"],"from":"203.0.113.7"}`,
		`{"ok":false,"user":"kim"}`,
		`{"ok":false,"user":"test","bytes":3}`,
		`{"ok":true,"bytes":3}`,
		`{"ok":false,"bytes":1e30}`,
	)
	res, rejected := NewWorker(feeds(t)).Match(b, 7)
	if len(rejected) != 0 || len(res.Signals) != 0 {
		t.Fatalf("rejected %v, signals %v", rejected, res.Signals)
	}
	want := model.Counts{Fact: 3, Passed: 2, Ignored: map[string]int{"ignore.test": 1}}
	if diff := cmp.Diff(want, res.Counts); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, f := range res.Facts {
		n := "abcdef"[f.Position.Index : f.Position.Index+1]
		if id := model.FactID("detector.eve", "", n); !strings.HasPrefix(f.ID, id) {
			t.Errorf("event %s has the id %s, not %s", n, f.ID, id)
		}
		got = append(got, strings.Join([]string{n + f.ID[22:], f.Rule, f.Key, f.Value, expr.Int(f.Number).Text()}, " "))
	}
	if diff := cmp.Diff([]string{
		"a rule.many ip:203.0.113.7  1000",
		"a rule.spread port:22 a 0",
		"a/2 rule.spread port:22 b 0",
		"a rule.bytes   1500",
		"a rule.users  bob 0",
		"b rule.many ip:203.0.113.7  1000",
		"b rule.users  kim 0",
		"b/2 rule.users  lee 0",
		"c rule.users  kim 0",
	}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// TestFactsAreSetAside: what makes a result too large goes with its event, and is counted.
func TestFactsAreSetAside(t *testing.T) {
	many := make([]string, 3)
	for i := range many {
		many[i] = `{"ok":false,"user":"bob","from":"203.0.113.7"}`
	}
	b := batch(many...)
	w := NewWorker(feeds(t))
	res, _ := w.Match(b, 7)
	data := model.AppendBatch(nil, b)
	m := &Matcher{Settings: feeds(t), MaxResult: resultRoom + 200}
	rejected := m.shrink(&res, Message{Seq: 7, Source: "detector.eve", Payload: data})
	if len(rejected) == 0 || res.Counts.Fact != 3-len(rejected) || res.Counts.Matched != 0 {
		t.Errorf("%d rejected, counts %+v", len(rejected), res.Counts)
	}
	for _, f := range res.Facts {
		for _, r := range rejected {
			if f.Position.Index == r.Index {
				t.Errorf("event %d is set aside and a fact", r.Index)
			}
		}
	}
}
