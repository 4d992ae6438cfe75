package decide

import (
	"maps"
	"slices"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestStoredIsWhatRulesSee: each field of "case" made of a case's rows equals the one that the
// machine has.
func TestStoredIsWhatRulesSee(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-0", minutes(-100*60), 30, "subject ip:10.1.2.3"))
	stopped := sig("s-2", minutes(1), 20, "subject ip:10.1.2.3", "subject user:kim", "indicator url:http://bad.example/x")
	stopped.Stopped, stopped.Techniques, stopped.Source = ptr(true), []string{"T1105", "T1071"}, "detector.edr"
	f.signals(stopped)
	first := sig("s-1", minutes(0), 50, "subject ip:10.1.2.3", "indicator domain:bad.example", "ip:203.0.113.7")
	f.signals(first)
	inside := workstation("ws-17")
	inside.Answers[0].Details = []byte(`{"rack": 7}`)
	inside.Answers = append(inside.Answers, model.Answer{Identity: &model.Identity{Name: "kim", Mail: "kim@example.org", Privileged: ptr(true)}})
	inside.Found = []model.Found{{Observable: sdk.Observable{Kind: sdk.Host, Value: "ws-17"}, At: minutes(0)}}
	f.answer("enrichment.assets", "ip:10.1.2.3", inside)
	f.answer("enrichment.assets", "host:ws-17", workstation("ws-17"))
	f.answer("enrichment.assets", "ip:203.0.113.7", model.Reply{State: model.Unknown})
	f.answer("enrichment.reputation", "domain:bad.example", verdict(90, 90))
	outside := verdict(10, 20)
	outside.Answers = append(outside.Answers,
		model.Answer{Network: &model.Network{Country: "NL", ASN: 64496}}, model.Answer{Asset: &model.Asset{Name: "not-ours"}})
	f.answer("enrichment.reputation", "ip:203.0.113.7", outside)
	f.settle()

	var row model.Case
	var cs *caseState
	for _, one := range f.m.cases {
		if one.sum.severity == 50 {
			cs, row = one, f.tables.cases[one.id]
		}
	}
	stored := Stored{Case: row, Signals: []model.Signal{first, stopped}} // by time, as the store gives them
	for _, ask := range f.tables.asks {
		if reply, ok := f.tables.answers[ask.ID]; ok {
			stored.Lookups = append(stored.Lookups, StoredLookup{ask, &reply})
		}
	}
	got := stored.Value(f.m.settings)
	view := newView(f.m, cs)
	for _, name := range slices.Sorted(maps.Keys(caseFields)) {
		want := view.Field(name)
		if have := got.Attr(name); have.String() != want.String() {
			t.Errorf("case.%s:\n got %s\nwant %s", name, have, want)
		}
		if want.String() == "[]" {
			t.Errorf("case.%s is empty, so that nothing was compared", name)
		}
	}
}
